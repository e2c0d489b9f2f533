"""No clock that is set, stops or begins anew ends a session that is in use: in one daemon, and between two."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

from fakes import DAY, HOUR, FakePlaces, ManualClock, place
from workroot.core.changes import SessionSaved, SessionTouched
from workroot.core.sessions import Alias, SessionId
from workroot.errors import ClosedSessionError, StoreUnavailableError, UnknownSessionError
from workroot.session_context import LOCAL_OWNER, SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore
from workroot.storage.sqlite import open_sqlite_store

if TYPE_CHECKING:
    from workroot.core.ports import SessionStore

NEVER = 100_000 * DAY
STEPS = {
    "two days on": lambda wall: wall + 2 * DAY,
    "ten years on": lambda wall: wall + 3650 * DAY,
    "two days back": lambda wall: wall - 2 * DAY,
    "to 1970": lambda _: 0.0,
}
OpenStore: TypeAlias = Callable[[], "AbstractAsyncContextManager[SessionStore]"]

each_step = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """What opens one store, again and again."""
    if request.param == "sqlite":
        return lambda: open_sqlite_store(tmp_path / "state.db")
    memory = MemoryStore()
    return lambda: nullcontext(memory)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@asynccontextmanager
async def daemon(open_store: OpenStore, clock: ManualClock) -> AsyncIterator[SessionContextManager]:
    """Run a manager that sweeps when it is told to."""
    places = FakePlaces({"/work": place("/work", project="app")})
    rules = SessionRules(sweep_seconds=NEVER, write_behind_seconds=NEVER)
    async with (
        open_store() as store,
        SessionContextManager(store, places, clock=clock, rules=rules) as manager,
    ):
        yield manager


def pass_time(manager: SessionContextManager, clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)
    manager._ledger.sessions.end_window()


@each_step
async def test_a_step_while_it_runs_ends_nothing_in_use(
    open_store: OpenStore, clock: ManualClock, step: Callable[[float], float]
) -> None:
    async with daemon(open_store, clock) as manager:
        await manager.set_working_directory("idle", "/work")
        pass_time(manager, clock, HOUR)
        await manager.set_working_directory("used", "/work")
        pass_time(manager, clock, 23 * HOUR - 1)
        clock.jump_wall_to(step(clock.wall()))

        assert await manager.sweep() == []
        pass_time(manager, clock, 2)
        assert await manager.sweep() == ["idle"]
        assert manager.get_session("used").working_directory == "/work"


@each_step
async def test_a_step_between_two_daemons_ends_nothing_in_use(
    open_store: OpenStore, clock: ManualClock, step: Callable[[float], float]
) -> None:
    async with daemon(open_store, clock) as manager:
        await manager.set_working_directory("used", "/work")
        pass_time(manager, clock, HOUR)
    clock.jump_wall_to(step(clock.wall()))

    async with daemon(open_store, clock) as manager:
        assert await manager.sweep() == []
        pass_time(manager, clock, 22 * HOUR)
        assert await manager.sweep() == []
        pass_time(manager, clock, 2 * HOUR)
        assert await manager.sweep() == ["used"]


@each_step
async def test_a_step_before_a_crash_ends_nothing_in_use(
    open_store: OpenStore, clock: ManualClock, step: Callable[[float], float]
) -> None:
    async with daemon(open_store, clock) as manager:
        await manager.set_working_directory("used", "/work")
    async with open_store() as store:
        await store.commit([SessionTouched((await store.load()).sessions[0].key, clock.wall(), 5.0)])
    clock.jump_wall_to(step(clock.wall()))

    async with daemon(open_store, clock) as manager:  # the mark of the first one is older than the use
        assert await manager.sweep() == []


async def test_a_machine_that_sleeps_ends_nothing_in_use(open_store: OpenStore, clock: ManualClock) -> None:
    async with daemon(open_store, clock) as manager:
        await manager.set_working_directory("used", "/work")
        clock.suspend(30 * DAY)
        assert await manager.sweep() == []
        pass_time(manager, clock, HOUR)
    clock.suspend(30 * DAY)

    async with daemon(open_store, clock) as manager:
        assert await manager.sweep() == []


async def test_a_machine_that_was_off_ends_nothing_in_use(open_store: OpenStore, clock: ManualClock) -> None:
    async with daemon(open_store, clock) as manager:
        await manager.set_working_directory("used", "/work")
        pass_time(manager, clock, HOUR)
    clock.reboot(off_seconds=30 * DAY)

    async with daemon(open_store, clock) as manager:
        assert await manager.sweep() == []
        pass_time(manager, clock, 23 * HOUR)
        assert await manager.sweep() == ["used"]  # 23 hours, the hour before, and half a minute since the boot


async def test_idle_time_goes_on_between_two_daemons(open_store: OpenStore, clock: ManualClock) -> None:
    async with daemon(open_store, clock) as manager:
        await manager.set_working_directory("idle", "/work")
        pass_time(manager, clock, 20 * HOUR)
        await manager.set_working_directory("used", "/work")
    clock.advance(5 * HOUR)

    async with daemon(open_store, clock) as manager:
        assert await manager.sweep() == ["idle"]


async def test_sessions_of_an_older_schema_are_placed_by_the_wall_clock_once(
    open_store: OpenStore, clock: ManualClock
) -> None:
    async with daemon(open_store, clock) as manager:
        session = await manager.set_working_directory("first", "/work")
    async with open_store() as store:
        await store.commit([SessionSaved(replace(session, session_id=SessionId("older"), last_used=clock.wall()))])
    clock.advance(20 * HOUR)

    async with daemon(open_store, clock) as manager:
        pass_time(manager, clock, 3 * HOUR)
        manager.get_session("older")
    clock.jump_wall_to(clock.wall() + 3650 * DAY)

    async with daemon(open_store, clock) as manager:
        assert await manager.sweep() == []
        pass_time(manager, clock, 2 * HOUR)
        assert await manager.sweep() == ["first"]


@each_step
async def test_a_step_forgets_no_ending(
    open_store: OpenStore, clock: ManualClock, step: Callable[[float], float]
) -> None:
    async with daemon(open_store, clock) as manager:
        await manager.set_working_directory("one", "/work")
        await manager.close_session("one")
        clock.jump_wall_to(step(clock.wall()))
        await manager._sweeper.housekeep()
        with pytest.raises(ClosedSessionError):
            manager.get_session("one")
    clock.jump_wall_to(step(clock.wall()))

    async with daemon(open_store, clock) as manager:
        await manager._sweeper.housekeep()
        with pytest.raises(ClosedSessionError):
            manager.get_session("one")
        pass_time(manager, clock, 30 * DAY + 1)
        await manager._sweeper.housekeep()
        with pytest.raises(UnknownSessionError):
            manager.get_session("one")


async def test_the_idle_clock_is_noted_at_an_orderly_stop_and_not_twice(
    open_store: OpenStore, clock: ManualClock
) -> None:
    async with daemon(open_store, clock) as manager:
        await manager.set_working_directory("one", "/work")
        pass_time(manager, clock, 7.0)
        await manager.stop()
        await manager.stop()

    async with open_store() as store:
        mark = (await store.load()).idle_mark
        assert mark is not None
        assert (mark.idle, mark.wall, mark.since_boot) == (7.0, clock.wall(), clock.since_boot())


async def test_a_manager_that_was_never_started_notes_nothing(open_store: OpenStore, clock: ManualClock) -> None:
    async with open_store() as store:
        await SessionContextManager(store, FakePlaces({}), clock=clock).stop()

        assert (await store.load()).idle_mark is None


async def test_the_idle_clock_is_noted_for_a_conversation_that_has_no_session(
    open_store: OpenStore, clock: ManualClock
) -> None:
    async with daemon(open_store, clock) as manager:
        clock.advance(7.0)
        await manager.connections.subscribe(LOCAL_OWNER, Alias("conn"), "workroot://projects", is_resumable=True)
        clock.advance(2.0)

    async with open_store() as store:
        mark = (await store.load()).idle_mark
        assert mark is not None
        assert mark.idle == 9.0


async def test_where_nothing_is_held_there_is_nothing_to_note(open_store: OpenStore, clock: ManualClock) -> None:
    async with daemon(open_store, clock):
        clock.advance(DAY)

    async with open_store() as store:
        assert (await store.load()).idle_mark is None


async def test_what_is_written_late_takes_the_idle_clock_along_once_a_minute(clock: ManualClock) -> None:
    memory = MemoryStore()
    async with daemon(lambda: nullcontext(memory), clock) as manager:
        await manager.set_working_directory("one", "/work")
        marks = []
        for _ in range(5):
            pass_time(manager, clock, 31.0)
            manager.get_session("one")
            await manager._ledger.behind.flush()
            mark = (await memory.load()).idle_mark
            assert mark is not None
            marks.append(mark.idle)

    assert marks == [31.0, 31.0, 93.0, 93.0, 155.0]


async def test_a_mark_that_cannot_be_written_waits(
    clock: ManualClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = MemoryStore()
    async with daemon(lambda: nullcontext(memory), clock) as manager:
        await manager.set_working_directory("one", "/work")
        pass_time(manager, clock, 5.0)

        async def refuse(changes: object) -> None:
            raise StoreUnavailableError("away")

        with monkeypatch.context() as away:
            away.setattr(memory, "commit", refuse)
            await manager.stop()
        assert (await memory.load()).idle_mark is None

    mark = (await memory.load()).idle_mark
    assert mark is not None
    assert mark.idle == 5.0
