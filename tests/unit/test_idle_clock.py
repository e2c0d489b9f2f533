"""The clock that idle time is counted on: only ever too slow, whatever becomes of the machine's clocks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import DAY, HOUR, ManualClock
from workroot.core.allocations import AllocatedSession, SessionStatus
from workroot.core.changes import IdleMark, StoredState
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.projects import Directory
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, SessionContext, SessionId, SessionKey
from workroot.idle_clock import IdleClock

ADA = Owner("uid:1000")
ONE, TWO = SessionKey("default", SessionId("one")), SessionKey("default", SessionId("two"))

LENT = AllocatedSession(
    session_id=ONE.session_id, owner=ADA, user_id=None, created_at=1.0, deadline=99 * DAY, last_accessed=1.0
)


def session(key: SessionKey, *, last_used: float) -> SessionContext:
    return SessionContext(
        session_id=key.session_id,
        owner=Owner("uid:1000", key.sandbox),
        working_directory=Directory("/work"),
        given_directory="/work",
        set_at=1.0,
        last_used=last_used,
    )


def after(clock: ManualClock, mark: IdleMark | None) -> float:
    """Return what the clock of the next daemon shows at its start."""
    idle = IdleClock(clock)
    idle.load(StoredState(namespace="n", idle_mark=mark))
    return idle.now()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def mark(clock: ManualClock) -> IdleMark:
    """A mark that a daemon has left after ten days."""
    idle = IdleClock(clock)
    idle.load(StoredState(namespace="n"))
    clock.advance(10 * DAY)
    return idle.mark()


def test_it_begins_at_nought_and_goes_on_while_the_machine_is_awake(clock: ManualClock) -> None:
    idle = IdleClock(clock)
    assert idle.now() == 0.0

    clock.advance(HOUR)
    clock.suspend(7 * DAY)
    clock.jump_wall_to(0.0)

    assert idle.now() == HOUR


def test_a_mark_holds_all_clocks(clock: ManualClock, mark: IdleMark) -> None:
    assert mark == IdleMark(10 * DAY, clock.wall(), clock.since_boot())


def test_it_goes_on_between_two_daemons(clock: ManualClock, mark: IdleMark) -> None:
    clock.advance(HOUR)

    assert after(clock, mark) == 10 * DAY + HOUR


@pytest.mark.parametrize("step", [2 * DAY, 3650 * DAY, -2 * DAY, -20_000 * DAY])
def test_a_wall_clock_that_is_set_between_two_daemons_ages_nothing(
    clock: ManualClock, mark: IdleMark, step: float
) -> None:
    clock.advance(HOUR)
    clock.jump_wall_to(max(0.0, clock.wall() + step))

    assert 10 * DAY <= after(clock, mark) <= 10 * DAY + HOUR


def test_a_machine_that_sleeps_between_two_daemons_ages_nothing(clock: ManualClock, mark: IdleMark) -> None:
    clock.suspend(30 * DAY)

    assert after(clock, mark) == 10 * DAY


def test_after_a_reboot_it_counts_since_then(clock: ManualClock, mark: IdleMark) -> None:
    clock.reboot(off_seconds=30 * DAY, awake_seconds=90.0)

    assert after(clock, mark) == 10 * DAY + 90.0


def test_after_a_reboot_that_cannot_be_told_it_counts_too_little(clock: ManualClock, mark: IdleMark) -> None:
    clock.reboot(off_seconds=30 * DAY, awake_seconds=mark.since_boot + HOUR)

    assert after(clock, mark) == 10 * DAY + HOUR


def test_a_machine_whose_wall_clock_forgot_the_time_counts_from_the_mark(clock: ManualClock, mark: IdleMark) -> None:
    clock.reboot(awake_seconds=HOUR)
    clock.jump_wall_to(HOUR)

    assert after(clock, mark) == 10 * DAY


def test_it_is_never_before_what_was_seen_since_the_mark(clock: ManualClock, mark: IdleMark) -> None:
    state = StoredState(
        namespace="n", idle_mark=mark, sessions=(session(ONE, last_used=0.0),), seen={ONE: 11 * DAY, TWO: 1.0}
    )
    idle = IdleClock(clock)

    assert idle.load(state)[ONE] == 11 * DAY
    assert idle.now() == 11 * DAY


@pytest.mark.parametrize(
    "state",
    [
        StoredState(
            namespace="n",
            connections=(
                KeptConnection(owner=ADA, alias=Alias("old"), last_used=1.0),
                KeptConnection(owner=ADA, alias=Alias("new"), last_used=1.0, seen=11 * DAY),
            ),
        ),
        StoredState(
            namespace="n",
            ended=(
                EndedSession(
                    session_id=ONE.session_id,
                    owner=ADA,
                    last_directory=Directory("/work"),
                    ending=Ending.CLOSED,
                    ended_at=1.0,
                    seen=11 * DAY,
                ),
            ),
        ),
        StoredState(namespace="n", ended_aliases=(EndedAlias(ADA, Alias("over"), 1.0, 11 * DAY),)),
        StoredState(
            namespace="n",
            allocations=(
                LENT,
                replace(LENT, session_id=TWO.session_id, status=SessionStatus.EXPIRED, ended_at=1.0, seen=11 * DAY),
            ),
        ),
    ],
    ids=["kept", "ended", "ended alias", "allocated"],
)
def test_it_is_never_before_the_last_use_or_an_end_that_is_remembered(
    clock: ManualClock, mark: IdleMark, state: StoredState
) -> None:
    for each in (state, replace(state, idle_mark=mark)):
        idle = IdleClock(clock)
        idle.load(each)

        assert idle.now() == 11 * DAY


def test_sessions_keep_when_they_were_seen(clock: ManualClock, mark: IdleMark) -> None:
    state = StoredState(
        namespace="n",
        idle_mark=mark,
        sessions=(session(ONE, last_used=0.0), session(TWO, last_used=0.0)),
        seen={ONE: 5 * DAY, TWO: -DAY},
    )

    assert IdleClock(clock).load(state) == {ONE: 5 * DAY, TWO: -DAY}


@pytest.mark.parametrize(
    ("used_ago", "since_boot", "age"),
    [(HOUR, 90 * DAY, HOUR), (30 * DAY, HOUR, HOUR), (-DAY, 90 * DAY, 0.0)],
    ids=["a while ago", "before the boot", "in the future"],
)
def test_sessions_of_an_older_schema_are_as_old_as_the_clocks_agree_on(
    used_ago: float, since_boot: float, age: float
) -> None:
    clock = ManualClock(since_boot=since_boot)
    state = StoredState(
        namespace="n",
        sessions=(session(ONE, last_used=clock.wall() - used_ago), session(TWO, last_used=clock.wall())),
        seen={TWO: 7.0},
    )
    idle = IdleClock(clock)

    assert idle.load(state) == {ONE: idle.now() - age, TWO: 7.0}


def test_it_says_for_how_long_it_was_not_marked(clock: ManualClock, mark: IdleMark) -> None:
    idle = IdleClock(clock)
    assert idle.seconds_since_mark() == float("inf")
    idle.mark()
    clock.advance(HOUR)
    assert idle.seconds_since_mark() == HOUR

    idle.load(StoredState(namespace="n", idle_mark=mark))

    assert idle.seconds_since_mark() == float("inf")
