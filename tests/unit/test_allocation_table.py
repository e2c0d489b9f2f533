"""The table of allocated sessions: plain state, changed by what a store has kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from workroot.core.allocation_table import AllocationTable, ended_as
from workroot.core.allocations import AllocatedSession, SessionStatus
from workroot.core.changes import AllocationSaved, AllocationsForgotten, AllocationTouched
from workroot.core.sessions import Owner, SessionId, SessionKey
from workroot.errors import SessionEndedError, UnknownSessionError

ADA, EVE = Owner("ada", "shop"), Owner("eve", "shop")


def session(name: str, *, deadline: float = 100.0, owner: Owner = ADA) -> AllocatedSession:
    return AllocatedSession(
        session_id=SessionId(name), owner=owner, user_id=None, created_at=5.0, deadline=deadline, last_accessed=5.0
    )


def over(name: str, *, seen: float, status: SessionStatus = SessionStatus.TERMINATED) -> AllocatedSession:
    return ended_as(session(name), status, ended_at=seen, seen=seen)


def table_of(*sessions: AllocatedSession) -> AllocationTable:
    table = AllocationTable()
    table.apply([AllocationSaved(each) for each in sessions])
    return table


def names_over(table: AllocationTable, *, now: float, sandbox: str | None = None) -> list[str]:
    slices = table.over(now=now, sandbox=sandbox, most=2)
    return [key.session_id for keys in slices for key in keys]


def test_what_is_over_comes_in_the_order_of_deadlines_and_the_very_moment_counts() -> None:
    table = table_of(session("late", deadline=9.0), session("soon", deadline=3.0), session("now", deadline=5.0))

    assert names_over(table, now=4.9) == ["soon"]
    assert names_over(table, now=5.0) == ["soon", "now"]
    assert names_over(table, now=100.0) == ["soon", "now", "late"]
    assert names_over(table, now=100.0, sandbox="other") == []


def test_an_extended_session_is_over_at_its_new_deadline_alone() -> None:
    table = table_of(session("a", deadline=3.0), session("b", deadline=4.0))

    table.apply([AllocationSaved(replace(session("a", deadline=6.0), revision=2))])

    assert names_over(table, now=5.0) == ["b"]
    assert names_over(table, now=6.0) == ["b", "a"]
    assert len(table) == 2


def test_an_ended_session_leaves_the_active_ones_and_the_first_end_stays() -> None:
    table = table_of(session("a"), session("b"))

    table.apply([AllocationSaved(over("a", seen=7.0))])
    table.apply([AllocationSaved(over("a", seen=8.0, status=SessionStatus.EXPIRED))])

    assert (len(table), table.active_count("shop"), table.ended_count()) == (1, 1, 1)
    found = table.get(SessionKey("shop", SessionId("a")))
    assert found is not None
    assert (found.status, found.seen, found.metadata) == (SessionStatus.TERMINATED, 7.0, "{}")
    assert (table.counts.of("shop").ended, table.counts.of("shop").expired) == (1, 0)


def test_a_change_that_was_worked_out_before_a_use_does_not_take_the_use_back() -> None:
    table = table_of(session("a"))
    entry = table.entry("shop", SessionId("a"))
    assert entry is not None
    assert table.touch(entry, now=9.0) == AllocationTouched(SessionKey("shop", SessionId("a")), 9.0)

    table.apply([AllocationSaved(replace(session("a"), metadata='{"n":1}', revision=2))])

    assert (entry.session.metadata, entry.session.last_accessed) == ('{"n":1}', 9.0)
    assert table.touch(entry, now=2.0).last_accessed == 9.0, "a clock that was set back takes none back either"


def test_a_window_notes_each_use_anew_and_an_end_takes_it_out_of_the_window() -> None:
    table = table_of(session("a"), session("b"))
    for name in ("a", "b"):
        entry = table.entry("shop", SessionId(name))
        assert entry is not None
        table.touch(entry, now=6.0)

    table.apply([AllocationSaved(over("a", seen=7.0))])
    assert list(table.recent) == ["b"]
    table.end_window()
    assert table.recent == {}


def test_ends_are_forgotten_first_ended_first_and_about_so_many_at_a_time() -> None:
    table = table_of(*(over(f"s{n}", seen=float(n)) for n in range(5)))

    until = table.forgettable(before=4.0, most=2)
    assert until is not None
    table.apply([AllocationsForgotten(until)])
    assert {each.session_id for each in table.all()} == {"s2", "s3", "s4"}
    assert table.forgettable(before=4.0, most=10) == 4.0
    table.apply([AllocationsForgotten(4.0)])
    assert table.forgettable(before=4.0, most=10) is None
    assert [each.session_id for each in table.all()] == ["s4"]


def test_what_is_loaded_is_ordered_and_what_is_known_stays() -> None:
    table = table_of(session("a", deadline=50.0))

    table.load(
        [
            over("y", seen=9.0),
            over("x", seen=3.0),
            session("c", deadline=2.0),
            session("b", deadline=1.0),
            session("a", deadline=7.0),
        ],
        ahead=10.0,
    )

    assert names_over(table, now=1000.0) == ["b", "c", "a"]
    assert names_over(table, now=11.9) == ["b"]
    until = table.forgettable(before=14.0, most=1)
    assert until == pytest.approx(13.0), "of x, which ended at 3 there"
    assert (table.counts.of("shop").ended, len(table)) == (0, 3), "what ended before the start is not counted"


def test_an_id_is_open_to_its_owner_alone_and_while_it_is_active() -> None:
    table = table_of(session("a", deadline=10.0), over("b", seen=1.0))

    table.check_open(EVE, SessionId("never-allocated"), now=0.0)
    table.check_open(ADA, SessionId("a"), now=9.9)
    with pytest.raises(SessionEndedError, match="expired"):
        table.check_open(ADA, SessionId("a"), now=10.0)
    with pytest.raises(SessionEndedError, match="terminated"):
        table.check_open(ADA, SessionId("b"), now=0.0)
    for name in ("a", "b"):
        with pytest.raises(UnknownSessionError):
            table.check_open(EVE, SessionId(name), now=0.0)


def test_the_counts_of_no_more_sandboxes_than_a_thousand_are_kept() -> None:
    table = AllocationTable()
    for number in range(1500):
        table.counts.of(f"sandbox-{number}").misses += 1

    assert len(table.counts) == 1000
    assert table.counts.of("sandbox-1499").misses == 1
    assert table.counts.of("sandbox-0").misses == 0


def test_of_sandboxes_whose_sessions_have_all_ended_nothing_is_left_but_the_ends() -> None:
    table = AllocationTable()
    for number in range(1500):
        made = session("a", owner=Owner("ada", f"sandbox-{number}"))
        table.apply([AllocationSaved(made)])
        table.apply([AllocationSaved(ended_as(made, SessionStatus.EXPIRED, ended_at=1.0, seen=1.0))])

    assert (len(table), table.ended_count(), len(table.counts)) == (0, 1500, 1000)


def test_a_session_is_over_from_its_deadline_or_its_end_on_and_one_that_never_was_is_not() -> None:
    table = table_of(session("active", deadline=10.0), session("ended", deadline=10.0))
    table.apply([AllocationSaved(ended_as(session("ended"), SessionStatus.TERMINATED, ended_at=1.0, seen=1.0))])

    def is_over(name: str, now: float) -> bool:
        return table.is_over(SessionKey("shop", SessionId(name)), now=now)

    assert [is_over("active", now) for now in (9.9, 10.0)] == [False, True]
    assert is_over("ended", 2.0)
    assert not is_over("nobody", 1e9)


def test_what_is_over_in_one_sandbox_is_not_counted_in_another() -> None:
    table = table_of(session("a", deadline=1.0), session("b", deadline=9.0))
    assert [table.over_count(name, now=5.0) for name in ("shop", "library")] == [1, 0]

    table.apply([AllocationSaved(session("c", deadline=2.0, owner=Owner("ada", "library")))])

    assert [table.over_count(name, now=5.0) for name in ("shop", "library", "nowhere")] == [1, 1, 0]


def test_the_counts_of_a_sandbox_with_sessions_are_those_of_its_sessions() -> None:
    table = table_of(session("a"))
    for number in range(1500):
        table.counts.of(f"sandbox-{number}")
    entry = table.entry("shop", SessionId("a"))
    assert entry is not None

    entry.counts.hits += 1

    assert table.counts.of("shop").hits == 1
