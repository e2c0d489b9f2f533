"""The last decisions of each session."""

from __future__ import annotations

from workroot.core.projects import Directory
from workroot.core.resolution import Resolution
from workroot.core.sessions import Owner, SessionContext, SessionId
from workroot.core.signs import Source
from workroot.decisions import Decision, DecisionLog

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
    resolution = Resolution(session=context, place=None, source=Source.UNKNOWN, detail="nothing")
    return Decision(at=at, owner=owner, client=client, tool="get_working_directory", resolution=resolution)


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
