"""The last decisions of each session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import place
from workroot.core.answer import Alternative, Outcome, Resolution, Step, Verdict
from workroot.core.projects import Directory, ProjectConfig
from workroot.core.sessions import Owner, PinnedSign, SessionContext, SessionId
from workroot.core.signs import Source
from workroot.decisions import Decision, DecisionLog, SessionUnclearError, whole_session_id

ADA, EVE = Owner("uid:1000"), Owner("uid:1001")


def decision(at: float, session: str | None = "wr_a", *, owner: Owner = ADA, client: str | None = "editor") -> Decision:
    context = None
    if session is not None:
        context = SessionContext(
            session_id=SessionId(session),
            owner=owner,
            working_directory=Directory("/work"),
            given_directory="/work",
            set_at=at,
            last_used=at,
        )
    resolution = Resolution(
        session=context, place=None, outcome=Outcome.UNKNOWN, source=Source.UNKNOWN, detail="nothing"
    )
    return Decision(at=at, owner=owner, client=client, tool="get_working_directory", resolution=resolution)


def refused(at: float, claimed: str | None = None, text: str = "it is gone") -> Decision:
    return Decision(
        at=at, owner=ADA, client="editor", tool="get_working_directory", error=("invalid", text), claimed=claimed
    )


def log_of(*decisions: Decision) -> DecisionLog:
    log = DecisionLog()
    for each in decisions:
        log.record(each)
    return log


def times(decisions: list[Decision]) -> list[float]:
    return [each.at for each in decisions]


def test_twenty_are_kept_of_each_session() -> None:
    log = log_of(*(decision(n, "wr_a") for n in range(25)), *(decision(100 + n, "wr_b") for n in range(2)))

    assert times(log.of_owner(ADA)) == [*range(5, 25), 100, 101]


def test_calls_without_a_session_share_one_place() -> None:
    log = log_of(*(decision(n, None) for n in range(25)), decision(100, "wr_a"))

    assert times(log.of_owner(ADA)) == [*range(5, 25), 100]


def test_the_newest_comes_last_whichever_session_it_is_of() -> None:
    log = log_of(decision(1, "wr_a"), decision(2, "wr_b"), decision(3, "wr_a"))

    assert times(log.of_owner(ADA)) == [1, 2, 3]


def test_an_owner_sees_its_own_decisions_only() -> None:
    log = log_of(decision(1, None), decision(2, None, owner=EVE), decision(3, owner=Owner("uid:1000", "other")))

    assert times(log.of_owner(ADA)) == [1]
    assert times(log.of_owner(EVE)) == [2]


def test_they_can_be_narrowed_to_a_client_and_to_the_last() -> None:
    log = log_of(*(decision(n, client="editor" if n % 2 else None) for n in range(6)))

    assert times(log.of_owner(ADA, client="editor")) == [1, 3, 5]
    assert times(log.of_owner(ADA, client="editor", last=2)) == [3, 5]
    assert times(log.of_owner(ADA, last=100)) == [0, 1, 2, 3, 4, 5]
    assert log.of_owner(ADA, last=0) == []
    assert log.of_owner(ADA, last=-1) == []


def test_the_session_longest_unused_makes_room() -> None:
    log = log_of(*(decision(n, f"wr_{n}") for n in range(1000)), decision(2000, "wr_0"), decision(2001, "wr_new"))

    kept = times(log.of_owner(ADA))

    assert kept[:2] == [0, 2]
    assert kept[-2:] == [2000, 2001]
    assert len(kept) == 1001


# Refused calls


def test_a_refused_call_stands_among_the_decisions_of_the_session_that_it_claims() -> None:
    log = log_of(decision(1, "wr_a"), refused(2, "wr_a"), decision(3, "wr_b"), refused(4))

    assert times(log.of_owner(ADA)) == [1, 2, 3, 4]
    assert times(log.of_owner(ADA, session_id="wr_a")) == [1, 2]


def test_made_up_handles_push_no_session_out() -> None:
    log = log_of(decision(1, "wr_a"), *(refused(n, f"wr_made_up_{n}") for n in range(2, 3000)))

    assert times(log.of_owner(ADA, session_id="wr_a")) == [1]
    assert len(log.of_owner(ADA)) == 21
    assert log.sessions_of(ADA) == ["wr_a"]


def test_a_refusal_does_not_show_the_whole_handle() -> None:
    log = log_of(refused(1, "wr_1234567890123456", "unknown session 'wr_1234567890123456'"))

    (kept,) = log.of_owner(ADA)

    assert kept.error == ("invalid", "unknown session 'wr_12345678...'")
    assert kept.session_id == "wr_1234567890123456"


# How much is kept


def test_what_clients_send_without_end_is_cut() -> None:
    long = "x" * 100_000
    step = Step(Source.ROOTS, long, long, Verdict.SKIPPED, "no", long)
    resolution = Resolution(
        place=None,
        outcome=Outcome.UNKNOWN,
        source=Source.UNKNOWN,
        detail=long,
        warnings=(long,) * 100,
        alternatives=(Alternative(long, Source.ROOTS, long, long),) * 100,
        steps=(step,) * 100,
    )
    log = log_of(replace(decision(1), client=long, resolution=resolution), refused(2, long, long))

    kept = log.of_owner(ADA)

    assert len(repr(kept)) < 1_000_000


def test_a_project_s_config_and_a_pin_s_signs_are_not_kept() -> None:
    there = place("/work", project="shop")
    assert there.project is not None
    config = ProjectConfig(name="shop", instructions="secret text")
    there = replace(there, project=replace(there.project, config=config))
    made = decision(1)
    assert made.resolution is not None
    assert made.resolution.session is not None
    session = replace(made.resolution.session, signs=(PinnedSign("roots: root 1", "/secret sign"),))
    resolution = replace(made.resolution, place=there, session=session, previous=session)

    (kept,) = log_of(replace(made, resolution=resolution)).of_owner(ADA)

    assert "secret" not in repr(kept)
    assert kept.resolution is not None
    assert kept.resolution.place is not None
    assert kept.resolution.place.project is not None
    assert kept.resolution.place.project.name == "shop"


def test_the_session_longest_unused_makes_room_for_much_text() -> None:
    log = DecisionLog(max_characters=3000)
    for n, session in enumerate(("wr_a", "wr_b", "wr_a", "wr_c", "wr_d")):
        made = decision(n, session)
        assert made.resolution is not None
        log.record(replace(made, resolution=replace(made.resolution, detail="x" * 900)))

    assert times(log.of_owner(ADA)) == [3, 4]  # wr_a went with both of its decisions


def test_room_that_was_made_can_be_used_again() -> None:
    log = DecisionLog(max_characters=3000)
    for n in range(100):
        made = decision(n, "wr_a")
        assert made.resolution is not None
        log.record(replace(made, resolution=replace(made.resolution, detail="x" * 100)))
    log.record(decision(100, "wr_b"))

    assert times(log.of_owner(ADA)) == [*range(80, 100), 100]


# Which session is meant


KNOWN = ("wr_aaaaaaaa1", "wr_aaaaaaaa2", "wr_bbbbbbbb1", "wr_aaaaaaaa")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("wr_bbbbbbbb1", "wr_bbbbbbbb1"),
        ("wr_bbbbb", "wr_bbbbbbbb1"),
        ("wr_bbbbbbbb...", "wr_bbbbbbbb1"),
        ("wr_aaaaaaaa", "wr_aaaaaaaa"),
        ("wr_aaaaaaaa2", "wr_aaaaaaaa2"),
    ],
)
def test_a_session_is_meant_by_its_handle_or_a_beginning_of_it(given: str, meant: str) -> None:
    assert whole_session_id(given, KNOWN) == meant


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("wr_bbbb", "is too short"),
        ("wr_aaaaa", "begins several sessions"),
        ("wr_cccccccc", "is no session that is remembered"),
        ("wr_bbbbbbbb12", "is no session that is remembered"),
    ],
)
def test_what_does_not_mean_one_session_is_refused(given: str, problem: str) -> None:
    with pytest.raises(SessionUnclearError, match=problem):
        whole_session_id(given, KNOWN)
