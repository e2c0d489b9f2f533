"""When the time of each session runs out: as plain a list as can be, and kept sorted at little cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from workroot.core.allocation_deadlines import Deadlines
from workroot.core.allocations import AllocatedSession
from workroot.core.sessions import Owner, SessionId

if TYPE_CHECKING:
    from collections.abc import Iterable


def session(number: int, *, deadline: float, sandbox: str = "shop") -> AllocatedSession:
    return AllocatedSession(
        session_id=SessionId(f"s{number:03}"),
        owner=Owner("ada", sandbox),
        user_id=None,
        created_at=0.0,
        deadline=deadline,
        last_accessed=0.0,
    )


def deadlines_of(sessions: Iterable[AllocatedSession]) -> Deadlines:
    deadlines = Deadlines()
    deadlines.load(sessions)
    return deadlines


def names(deadlines: Deadlines, *, now: float = 1e9, sandbox: str | None = None, most: int = 1000) -> list[str]:
    return [key.session_id for keys in deadlines.over(now, sandbox, most) for key in keys]


_MANY = st.lists(st.tuples(st.integers(0, 9), st.sampled_from(["shop", "library"])), max_size=60)


@given(made=_MANY, dropped=st.sets(st.integers(0, 59)), now=st.integers(-1, 10), most=st.integers(1, 70))
def test_what_is_over_is_what_is_in_and_due_in_order_however_it_came_and_went(
    made: list[tuple[int, str]], dropped: set[int], now: int, most: int
) -> None:
    sessions = [session(number, deadline=due, sandbox=there) for number, (due, there) in enumerate(made)]
    deadlines = deadlines_of(sessions[::2])
    for each in sessions[1::2]:
        deadlines.add(each)

    deadlines.drop([each for number, each in enumerate(sessions) if number in dropped])

    left = sorted(
        (each for number, each in enumerate(sessions) if number not in dropped),
        key=lambda each: (each.deadline, each.owner.sandbox, each.session_id),
    )
    assert len(deadlines) == len(left)
    for sandbox in (None, "shop", "library"):
        due = [each for each in left if each.deadline <= now and sandbox in (None, each.owner.sandbox)]
        assert names(deadlines, now=now, sandbox=sandbox, most=most) == [each.session_id for each in due]
        assert deadlines.over_count(now, sandbox) == len(due)


def test_a_slice_is_no_longer_than_was_asked_for() -> None:
    deadlines = deadlines_of(session(number, deadline=number) for number in range(10))

    assert [len(keys) for keys in deadlines.over(8.0, None, 4)] == [4, 4, 1]


def test_sessions_that_end_between_two_slices_hide_no_others() -> None:
    sessions = [session(number, deadline=number) for number in range(10)]
    deadlines = deadlines_of(sessions)
    slices = deadlines.over(1e9, None, 3)

    seen = [key.session_id for key in next(slices)]
    deadlines.drop(sessions[:5])
    deadlines.add(session(99, deadline=7.5))
    seen += [key.session_id for keys in slices for key in keys]

    assert seen == ["s000", "s001", "s002", "s005", "s006", "s007", "s099", "s008", "s009"]


def test_of_many_that_are_dropped_at_once_those_between_them_stay() -> None:
    sessions = [session(number, deadline=number) for number in range(100)]
    deadlines = deadlines_of(sessions)

    deadlines.drop(sessions[10:60:2])

    left = [*sessions[:10], *sessions[11:60:2], *sessions[60:]]
    assert names(deadlines) == [each.session_id for each in left]


def test_of_many_that_are_dropped_at_once_those_far_apart_are_all_gone() -> None:
    sessions = [session(number, deadline=number) for number in range(1000)]
    deadlines = deadlines_of(sessions)

    deadlines.drop(sessions[::50])

    assert len(deadlines) == 980
    assert not {each.session_id for each in sessions[::50]} & set(names(deadlines))
