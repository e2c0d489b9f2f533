"""The table of sessions: plain state, two clocks."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from fakes import place
from workroot.core.changes import (
    AliasBound,
    Change,
    EndedForgotten,
    ProjectSeen,
    SessionEnded,
    SessionSaved,
    SessionTouched,
    StoredState,
)
from workroot.core.projects import Directory, KnownProject, ProjectId
from workroot.core.session_table import SessionTable
from workroot.core.sessions import (
    Alias,
    EndedSession,
    Ending,
    Owner,
    PinnedSign,
    SessionContext,
    SessionId,
    check_session_id,
    mint_session_id,
)
from workroot.errors import ClosedSessionError, ExpiredSessionError, SessionError, UnknownSessionError

ADA, EVE, ADA_ELSEWHERE = Owner("uid:1000"), Owner("uid:1001"), Owner("uid:1000", "other")
A, B, C = SessionId("wr_a"), SessionId("wr_b"), SessionId("wr_c")


def session(
    session_id: SessionId, owner: Owner = ADA, *, last_used: float = 100.0, revision: int = 1
) -> SessionContext:
    return SessionContext(
        session_id=session_id,
        owner=owner,
        working_directory=Directory(f"/work/{session_id}"),
        given_directory=f"/work/{session_id}",
        set_at=last_used,
        last_used=last_used,
        revision=revision,
    )


def ended(
    session_id: SessionId, ending: Ending = Ending.CLOSED, *, owner: Owner = ADA, at: float = 200.0
) -> EndedSession:
    return EndedSession(
        session_id=session_id,
        owner=owner,
        last_directory=Directory(f"/work/{session_id}"),
        ending=ending,
        ended_at=at,
        seen=at,
    )


def table_of(*changes: Change, seen: float = 10.0) -> SessionTable:
    table = SessionTable()
    table.apply(changes, seen=seen)
    return table


def idle_ids(table: SessionTable, before: float) -> list[str]:
    return [each.session_id for each in table.idle(before=before)]


# Handles


def test_handles_are_long_random_and_usable() -> None:
    handles = {mint_session_id() for _ in range(100)}

    assert len(handles) == 100
    for handle in handles:
        assert handle.startswith("wr_")
        assert len(handle) == 3 + 24  # 18 bytes, six bits a letter
        assert check_session_id(handle) == handle


@pytest.mark.parametrize("good", ["a", "A1", "0", "wr_x-y.z", "a" * 128, "550e8400-e29b-41d4-a716-446655440000"])
def test_an_id_may_be_letters_digits_and_marks(good: str) -> None:
    assert check_session_id(good) == good


@pytest.mark.parametrize("bad", ["", "a" * 129, "_a", ".a", "-a", "a b", "a/b", "a\n", "é", "a\x00", "\ud800"])
def test_anything_else_cannot_be_an_id(bad: str) -> None:
    with pytest.raises(SessionError, match="cannot be a session id") as caught:
        check_session_id(bad)
    assert caught.value.code == "invalid_session"
    assert caught.value.session_id == bad[:200]
    assert len(str(caught.value)) < 1000


def test_of_a_huge_id_only_the_beginning_is_repeated() -> None:
    with pytest.raises(SessionError) as caught:
        check_session_id("x" * 1_000_000)
    assert len(str(caught.value)) < 1000


# Who sees what


def test_a_session_is_seen_by_its_owner_alone() -> None:
    table = table_of(SessionSaved(session(A)))

    assert table.get(ADA, A) == session(A)
    for stranger in (EVE, ADA_ELSEWHERE):
        with pytest.raises(UnknownSessionError, match="unknown session 'wr_a'"):
            table.get(stranger, A)


def test_the_same_id_in_two_sandboxes_is_two_sessions() -> None:
    table = table_of(SessionSaved(session(A)), SessionSaved(session(A, ADA_ELSEWHERE)))

    assert len(table) == 2
    table.apply([SessionEnded(ended(A))], seen=11.0)
    assert table.get(ADA_ELSEWHERE, A).owner == ADA_ELSEWHERE


@pytest.mark.parametrize(
    ("ending", "error"), [(Ending.CLOSED, ClosedSessionError), (Ending.EXPIRED, ExpiredSessionError)]
)
def test_an_ended_session_says_to_its_owner_how_and_where_it_was(
    ending: Ending, error: type[ClosedSessionError | ExpiredSessionError]
) -> None:
    table = table_of(SessionSaved(session(A)), SessionEnded(ended(A, ending)))

    with pytest.raises(error, match=r"set_working_directory\(directory='/work/wr_a'\) without session_id"):
        table.get(ADA, A)
    for stranger in (EVE, ADA_ELSEWHERE):
        with pytest.raises(UnknownSessionError):
            table.get(stranger, A)
    assert (len(table), len(table.endings)) == (0, 1)


def test_an_id_is_taken_while_anything_of_it_is_kept() -> None:
    table = table_of(SessionSaved(session(A)), SessionSaved(session(B)), SessionEnded(ended(B)))

    for taken in (A, B):
        with pytest.raises(UnknownSessionError):
            table.opened(EVE, taken)
    assert table.opened(EVE, C) is None
    assert table.opened(ADA_ELSEWHERE, A) is None
    assert table.opened(ADA, A) == session(A)


def test_how_a_session_ended_is_forgotten_after_its_time() -> None:
    table = table_of(SessionEnded(ended(A, at=199.9)), SessionEnded(ended(B, at=200.0)), EndedForgotten(200.0))

    assert table.opened(ADA, A) is None
    with pytest.raises(UnknownSessionError):
        table.get(ADA, A)
    with pytest.raises(ClosedSessionError):
        table.get(ADA, B)


def test_sessions_of_several_sandboxes_are_in_one_order() -> None:
    table = SessionTable()
    owners = (ADA, ADA_ELSEWHERE, EVE, ADA_ELSEWHERE)
    ids = [SessionId(f"wr_{number}") for number in range(len(owners))]
    for seen, (owner, session_id) in enumerate(zip(owners, ids, strict=True)):
        table.apply([SessionSaved(session(session_id, owner))], seen=float(seen))

    assert [each.session_id for each in table.all()] == ids
    assert [each.session_id for each in table.latest()] == ids[::-1]
    assert idle_ids(table, before=3.0) == ids[:3]
    assert list(table.seen_at().values()) == [0.0, 1.0, 2.0, 3.0]
    table.touch(session(ids[0], ADA).key, now=200.0, seen=9.0)
    assert [each.session_id for each in table.all()] == [*ids[1:], ids[0]]


# Aliases


def test_an_alias_stands_for_a_session_of_its_owner() -> None:
    table = table_of(SessionSaved(session(A)), AliasBound(ADA, Alias("one"), A), AliasBound(ADA, Alias("two"), A))

    assert table.of_alias(ADA, Alias("one")) == session(A)
    assert table.of_alias(EVE, Alias("one")) is None
    assert table.of_alias(ADA_ELSEWHERE, Alias("one")) is None
    assert set(table.aliases_of(session(A).key)) == {"one", "two"}
    assert table.aliases_of(session(B).key) == ()


def test_an_alias_never_stands_for_a_session_of_somebody_else_s() -> None:
    state = StoredState(
        namespace="",
        sessions=(session(A),),
        aliases=(AliasBound(EVE, Alias("one"), A), AliasBound(EVE, Alias("two"), B)),
    )
    table = SessionTable()

    table.load(state, seen={session(A).key: 1.0})

    assert table.of_alias(EVE, Alias("one")) is None
    assert table.of_alias(EVE, Alias("two")) is None
    assert table.aliases_of(session(A).key) == ()


def test_an_alias_bound_again_stands_for_the_newer_session() -> None:
    table = table_of(
        SessionSaved(session(A)),
        SessionSaved(session(B)),
        AliasBound(ADA, Alias("one"), A),
        AliasBound(ADA, Alias("one"), B),
    )

    assert table.of_alias(ADA, Alias("one")) == session(B)
    assert table.aliases_of(session(A).key) == ()

    table.apply([SessionEnded(ended(A))], seen=11.0)
    assert table.of_alias(ADA, Alias("one")) == session(B)


def test_with_a_session_its_aliases_end() -> None:
    table = table_of(SessionSaved(session(A)), AliasBound(ADA, Alias("one"), A), SessionEnded(ended(A)))

    assert table.of_alias(ADA, Alias("one")) is None
    assert table.aliases_of(session(A).key) == ()


# Changes


def test_a_plan_changes_nothing() -> None:
    table = table_of(SessionSaved(session(A)))

    planned, before = table.planned(ADA, A, place("/work/app", project="app"), now=300.0)
    new, nothing = table.planned(ADA, B, place("/work/app", project="app"), now=300.0)

    assert before == session(A)
    assert nothing is None
    assert (planned.revision, new.revision) == (2, 1)
    assert table.all() == [session(A)]


def test_a_plan_holds_all_that_the_place_says() -> None:
    seen = place("/work/app/src", project="app", root="/work/app", given="/link/src")

    planned, _ = SessionTable().planned(
        ADA, A, seen, now=300.0, signs=(PinnedSign("roots: root 1", "/work/app", agreed=True),)
    )

    assert planned == SessionContext(
        session_id=A,
        owner=ADA,
        working_directory=Directory("/work/app/src"),
        given_directory="/link/src",
        config_path="/work/app/.workroot/config.toml",
        project_id=ProjectId("id-of-app"),
        project_root=Directory("/work/app"),
        project_name="app",
        signs=(PinnedSign("roots: root 1", "/work/app", agreed=True),),
        set_at=300.0,
        last_used=300.0,
        revision=1,
    )


def test_a_move_out_of_a_project_leaves_nothing_of_it() -> None:
    table = SessionTable()
    inside, _ = table.planned(ADA, A, place("/work/app", project="app"), now=300.0)
    table.apply([SessionSaved(inside)], seen=10.0)

    outside, _ = table.planned(ADA, A, place("/tmp"), now=301.0)

    assert (outside.project_id, outside.project_root, outside.config_path) == (None, None, None)


def test_a_published_session_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        session(A).revision = 2  # type: ignore[misc]  # that this is refused is the test


def test_what_is_written_behind_changes_nothing_that_is_shown() -> None:
    table = table_of(SessionSaved(session(A)))
    known = KnownProject(project_id=ProjectId("p"), name="p", root=Directory("/p"), worktree_of=None, seen_at=1.0)

    table.apply([SessionTouched(session(A).key, 900.0), ProjectSeen(ADA, known)], seen=90.0)

    assert table.all() == [session(A)]
    assert idle_ids(table, before=11.0) == [A]


# Time


def test_a_use_moves_both_clocks_and_says_what_to_write() -> None:
    table = table_of(SessionSaved(session(A)))

    assert table.touch(session(A).key, now=150.0, seen=20.0) == SessionTouched(session(A).key, 150.0, 20.0)
    assert table.get(ADA, A).last_used == 150.0
    assert table.get(ADA, A).revision == 1
    assert idle_ids(table, before=20.0) == []


def test_a_wall_clock_set_back_does_not_make_a_use_older() -> None:
    table = table_of(SessionSaved(session(A)))

    assert table.touch(session(A).key, now=0.0, seen=20.0) == SessionTouched(session(A).key, 100.0, 20.0)
    assert idle_ids(table, before=20.0) == []


def test_idle_are_those_not_seen_for_longer_longest_first() -> None:
    table = SessionTable()
    for number, each in enumerate((A, B, C)):
        table.apply([SessionSaved(session(each))], seen=10.0 + number)
    table.touch(session(A).key, now=150.0, seen=13.0)

    assert idle_ids(table, before=11.0) == []
    assert idle_ids(table, before=12.0) == [B]
    assert idle_ids(table, before=14.0) == [B, C, A]
    assert [each.session_id for each in table.all()] == [B, C, A]


@pytest.mark.parametrize("before", [5.0, 10.0, 10.5, 11.0, 12.0, 13.0, float("inf")])
def test_as_many_are_idle_as_are_found_one_by_one(before: float) -> None:
    table = SessionTable()
    for number, each in enumerate((A, B, C)):
        table.apply([SessionSaved(session(each)), SessionSaved(session(each, ADA_ELSEWHERE))], seen=10.0 + number)

    assert table.idle_count(before=before) == len(idle_ids(table, before=before))


def test_a_change_counts_as_being_seen() -> None:
    table = table_of(SessionSaved(session(A)), SessionSaved(session(B)))

    table.apply([SessionSaved(session(A, revision=2))], seen=50.0)

    assert idle_ids(table, before=50.0) == [B]


# Taking over


def test_what_a_store_kept_is_taken_over_longest_idle_first() -> None:
    state = StoredState(
        namespace="n",
        sessions=(session(A, last_used=300.0), session(B, last_used=200.0)),
        ended=(ended(C, Ending.EXPIRED),),
        aliases=(AliasBound(ADA, Alias("one"), B),),
    )
    table = SessionTable()

    table.load(state, seen={session(A).key: -5.0, session(B).key: -105.0})

    assert [each.session_id for each in table.all()] == [B, A]
    assert idle_ids(table, before=-5.0) == [B]
    assert table.of_alias(ADA, Alias("one")) == state.sessions[1]
    with pytest.raises(ExpiredSessionError):
        table.get(ADA, C)
