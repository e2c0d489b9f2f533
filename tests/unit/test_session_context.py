"""`SessionContextManager`: the interface that people know, and what it promises beyond."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint

from fakes import DAY, HOUR, FakePlaces, Gate, HeldStore, ManualClock, place
from workroot.core.changes import (
    EndedForgotten,
    ProjectSeen,
    SessionEnded,
    SessionSaved,
    StoredState,
)
from workroot.core.projects import Directory, ProjectId
from workroot.core.resolution import Alternative
from workroot.core.sessions import (
    Alias,
    Ending,
    Owner,
    PinnedSign,
    SessionContext,
    SessionId,
    SessionKey,
)
from workroot.core.signs import Hint, Roots, RootsAnswer, Signs, Source
from workroot.errors import (
    ClosedSessionError,
    DirectoryError,
    ExpiredSessionError,
    NotStartedError,
    SessionError,
    SignsDisagreeError,
    StoreUnavailableError,
    UnknownSessionError,
)
from workroot.events import Event, ProjectsChanged, SessionMoved
from workroot.events import SessionEnded as SessionEndedEvent
from workroot.session_context import LOCAL_OWNER, SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore

ADA, EVE, ADA_ELSEWHERE = Owner("uid:1000"), Owner("uid:1001"), Owner("uid:1000", "other")
EDITOR, TERMINAL = Alias("editor"), Alias("terminal")
NEVER = 10_000 * DAY


def known_places() -> FakePlaces:
    return FakePlaces(
        {
            "/work/app": place("/work/app", project="app"),
            "/work/app/src": place("/work/app/src", project="app", root="/work/app"),
            "/work/link": place("/work/app", project="app", given="/work/link"),
            "/work/tool": place("/work/tool", project="tool"),
            "/work/bare": place("/work/bare"),
            "/home/ada": place("/home/ada"),
        }
    )


@dataclass
class World:
    """A manager with all that it stands on."""

    clock: ManualClock
    places: FakePlaces
    store: HeldStore
    manager: SessionContextManager

    def another(self) -> SessionContextManager:
        """Return a second manager over the same store, as after a restart."""
        return SessionContextManager(self.store, self.places, clock=self.clock, home="/home/ada")

    async def settle(self) -> None:
        """Return when sweeper and late writes sleep again."""
        with anyio.fail_after(5):
            # The sweeper; and whoever writes late, if there is something to write.
            while len(self.clock.due_times()) != (2 if len(self.manager._ledger.behind) else 1):
                await checkpoint()

    def advance(self, seconds: float) -> None:
        """Let time pass in which no task runs; the window of late writes ends all the same."""
        self.clock.advance(seconds)
        self.manager._ledger.sessions.end_window()

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settle()

    def shown(self) -> list[SessionContext]:
        return sorted(self.manager.all_sessions(), key=lambda session: session.key)

    async def kept(self) -> StoredState:
        await self.store.wait_written()
        return await self.store.load()


def make_world(*, sweep_seconds: float = HOUR, idle_seconds: float = DAY, write_behind_seconds: float = 2) -> World:
    clock, places, store = ManualClock(), known_places(), HeldStore(MemoryStore())
    manager = SessionContextManager(
        store,
        places,
        clock=clock,
        home="/home/ada",
        rules=SessionRules(
            sweep_seconds=sweep_seconds, idle_seconds=idle_seconds, write_behind_seconds=write_behind_seconds
        ),
    )
    return World(clock, places, store, manager)


async def run_world(world: World) -> AsyncIterator[World]:
    await world.manager.start()
    await world.settle()
    yield world
    await world.manager.stop()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """A world in which nothing happens by itself."""
    async for world in run_world(make_world(sweep_seconds=NEVER, write_behind_seconds=NEVER)):
        yield world


@pytest.fixture
async def living_world() -> AsyncIterator[World]:
    """A world as it is by default: swept every hour, with late writes every two seconds."""
    async for world in run_world(make_world()):
        yield world


@pytest.fixture
def manager(world: World) -> SessionContextManager:
    return world.manager


@pytest.fixture
def events(world: World) -> list[Event]:
    events: list[Event] = []
    world.manager.events.subscribe(events.append)
    return events


def without_use(state: StoredState) -> tuple[object, ...]:
    """Return what a store keeps, apart from what is written behind."""
    sessions = {each.key: replace(each, last_used=0.0) for each in state.sessions}
    return sessions, set(state.ended), set(state.aliases)


async def shown_by(
    manager: SessionContextManager, owner: Owner, ids: set[str], aliases: set[Alias]
) -> dict[str, object]:
    """Return what a manager answers about these ids and aliases."""
    shown: dict[str, object] = {}
    for session_id in ids:
        try:
            shown[session_id] = replace(manager.get_session(session_id, owner=owner), last_used=0.0)
        except SessionError as error:
            shown[session_id] = (error.code, str(error))
    for alias in aliases:
        resolution = await manager.resolve(owner, Signs(alias=alias))
        shown[f"alias {alias}"] = resolution.session and replace(resolution.session, last_used=0.0)
    return shown


# The interface that people know


@pytest.mark.row("S4")
async def test_what_is_set_is_what_one_gets(manager: SessionContextManager) -> None:
    kept = await manager.set_working_directory("one", "/work/link")

    assert kept == SessionContext(
        session_id=kept.session_id,
        owner=LOCAL_OWNER,
        working_directory=Directory("/work/app"),
        given_directory="/work/link",
        config_path="/work/app/.workroot/config.toml",
        project_id=ProjectId("id-of-app"),
        project_root=Directory("/work/app"),
        project_name="app",
        set_at=1_700_000_000.0,
        last_used=1_700_000_000.0,
        revision=1,
    )
    assert await manager.get_working_directory("one") == "/work/app"
    assert manager.get_session("one") == kept
    assert await manager.get_session_count() == 1


@pytest.mark.row("S1", "B1")
async def test_directory_config_and_project_change_together(world: World, manager: SessionContextManager) -> None:
    await manager.set_working_directory("one", "/work/app/src")
    world.advance(5)

    moved = await manager.set_working_directory("one", "/work/bare")

    assert (moved.working_directory, moved.config_path, moved.project_id, moved.project_root) == (
        "/work/bare",
        None,
        None,
        None,
    )
    assert (moved.revision, moved.set_at, moved.last_used) == (2, 1_700_000_005.0, 1_700_000_005.0)
    assert await manager.get_session_count() == 1


@pytest.mark.row("S3")
async def test_of_what_was_never_set_there_is_nothing_and_asking_opens_nothing(manager: SessionContextManager) -> None:
    assert await manager.get_working_directory("one") is None
    assert await manager.get_working_directory("not an id") is None
    assert await manager.get_session_count() == 0
    with pytest.raises(UnknownSessionError):
        manager.get_session("one")


@pytest.mark.parametrize(
    ("session_id", "directory", "error"),
    [
        ("one", "relative", DirectoryError),
        ("one", "/gone", DirectoryError),
        ("", "/work/app", SessionError),
        ("a b", "/work/app", SessionError),
    ],
)
@pytest.mark.row("S2", "B2")
async def test_a_call_that_is_refused_changes_nothing(
    world: World, manager: SessionContextManager, session_id: str, directory: str, error: type[Exception]
) -> None:
    kept = await manager.set_working_directory("one", "/work/tool")
    world.store.commits.clear()

    with pytest.raises(error):
        await manager.set_working_directory(session_id, directory)

    assert world.shown() == [kept]
    assert world.store.commits == []


@pytest.mark.row("S5")
async def test_start_and_stop_may_be_called_twice_and_again(living_world: World) -> None:
    world, manager = living_world, living_world.manager
    await manager.start()
    await manager.set_working_directory("one", "/work/app")
    await manager.stop()
    await manager.stop()
    assert world.clock.due_times() == []
    assert await manager.get_working_directory("one") == "/work/app"

    await manager.start()
    await manager.start()
    await world.settle()

    assert world.clock.due_times() == [2.0, 60.0]
    assert await manager.get_working_directory("one") == "/work/app"


async def test_starting_twice_at_once_loads_once(world: World) -> None:
    await world.manager.set_working_directory("one", "/work/tool")
    second = world.another()
    gate, late = world.store.hold_load(), world.store.hold_load()
    late.open()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.start)
            await gate.reached.wait()

            async def start_and_change() -> None:
                await second.start()
                await second.set_working_directory("one", "/work/app")

            tasks.start_soon(start_and_change)
            for _ in range(10):
                await checkpoint()
            gate.open()
        await second.stop()

    assert second.get_session("one").revision == 2


async def test_a_start_that_fails_starts_nothing_and_can_be_repeated(world: World) -> None:
    class Broken(HeldStore):
        broken = True

        async def load(self) -> StoredState:
            if self.broken:
                raise StoreUnavailableError("disk gone")
            return await super().load()

    clock, store = ManualClock(), Broken(MemoryStore())
    manager = SessionContextManager(store, world.places, clock=clock)
    with pytest.raises(StoreUnavailableError):
        await manager.start()
    await checkpoint()
    assert clock.due_times() == []

    store.broken = False
    async with manager:
        with anyio.fail_after(5):
            await clock.wait_sleepers(1)
    assert clock.due_times() == []


async def test_without_a_clock_it_lives_by_the_machines() -> None:
    async with SessionContextManager(MemoryStore(), known_places()) as manager:
        session = await manager.set_working_directory("one", "/work/app")
        assert session.set_at > 1_700_000_000
        assert await manager.sweep() == []


@pytest.mark.row("S6")
async def test_leaving_writes_what_was_left_to_write_even_when_cancelled(world: World) -> None:
    with anyio.CancelScope() as scope:
        async with world.another() as manager:
            await manager.set_working_directory("one", "/work/app")
            world.advance(1)
            manager.get_session("one")
            scope.cancel()
            await checkpoint()

    assert scope.cancelled_caught
    assert (await world.kept()).sessions[0].last_used == world.clock.wall()


# Strangers, sandboxes, and what has ended


@pytest.mark.parametrize("ending", [None, Ending.CLOSED, Ending.EXPIRED])
@pytest.mark.parametrize("stranger", [EVE, ADA_ELSEWHERE])
async def test_a_stranger_reads_unknown_whatever_became_of_a_session(
    world: World, manager: SessionContextManager, ending: Ending | None, stranger: Owner
) -> None:
    await manager.set_working_directory("one", "/work/app", owner=ADA)
    if ending is Ending.CLOSED:
        await manager.close_session("one", owner=ADA)
    elif ending is Ending.EXPIRED:
        world.advance(2 * DAY)
        await manager.sweep()

    with pytest.raises(UnknownSessionError) as never_there:
        manager.get_session("two", owner=stranger)
    calls: list[Callable[[], Coroutine[Any, Any, object]]] = [
        lambda: manager.close_session("one", owner=stranger),
        lambda: manager.resolve(stranger, Signs(session_id="one")),
        lambda: manager.enter(stranger, Signs(session_id="one"), "/work/tool"),
    ]
    for call in calls:
        with pytest.raises(UnknownSessionError) as caught:
            await call()
        assert str(caught.value) == str(never_there.value).replace("two", "one")
    assert await manager.get_working_directory("one", owner=stranger) is None


async def test_somebody_elses_id_cannot_be_taken(manager: SessionContextManager) -> None:
    mine = await manager.set_working_directory("one", "/work/app", owner=ADA)

    with pytest.raises(UnknownSessionError):
        await manager.set_working_directory("one", "/work/tool", owner=EVE)

    assert manager.get_session("one", owner=ADA) == mine


async def test_the_same_id_in_another_sandbox_is_another_session(manager: SessionContextManager) -> None:
    await manager.set_working_directory("one", "/work/app", owner=ADA)
    await manager.set_working_directory("one", "/work/tool", owner=ADA_ELSEWHERE)
    await manager.close_session("one", owner=ADA)

    assert await manager.get_working_directory("one", owner=ADA_ELSEWHERE) == "/work/tool"
    with pytest.raises(ClosedSessionError):
        manager.get_session("one", owner=ADA)


async def test_what_was_closed_stays_closed_and_says_so(world: World, manager: SessionContextManager) -> None:
    await manager.set_working_directory("one", "/work/app", owner=ADA)

    ended = await manager.close_session("one", owner=ADA)

    assert (ended.ending, ended.last_directory, ended.ended_at) == (Ending.CLOSED, "/work/app", world.clock.wall())
    assert (await manager.get_session_count(), manager.ended_count()) == (0, 1)
    world.store.commits.clear()
    for call in (
        manager.close_session("one", owner=ADA),
        manager.set_working_directory("one", "/work/tool", owner=ADA),
        manager.resolve(ADA, Signs(session_id="one", directory="/work/tool")),
        manager.enter(ADA, Signs(meta_session="one"), "/work/tool"),
    ):
        with pytest.raises(ClosedSessionError, match="it worked in /work/app"):
            await call
    assert world.store.commits == []
    assert await manager.get_working_directory("one", owner=ADA) is None


# The sweeper


@pytest.mark.row("S7")
async def test_a_sweep_is_due_every_hour_and_ends_what_was_idle_for_more_than_a_day(living_world: World) -> None:
    world, manager = living_world, living_world.manager
    await manager.set_working_directory("old", "/work/app", owner=ADA)
    await world.pass_time(HOUR)
    await manager.set_working_directory("young", "/work/tool", owner=ADA)
    for _ in range(23):
        await world.pass_time(HOUR)
    assert await manager.get_session_count() == 2  # 24 hours to the second are not more
    events: list[Event] = []
    manager.events.subscribe(events.append)

    await world.pass_time(HOUR)

    assert [each.session_id for each in world.shown()] == ["young"]
    with pytest.raises(ExpiredSessionError, match="it worked in /work/app"):
        manager.get_session("old", owner=ADA)
    [event] = events
    assert isinstance(event, SessionEndedEvent)
    assert (event.ended.session_id, event.ended.ending, event.ended.ended_at) == (
        "old",
        Ending.EXPIRED,
        world.clock.wall(),
    )


async def test_both_times_are_settings() -> None:
    world = make_world(sweep_seconds=7, idle_seconds=20)
    async with world.manager as manager:
        await world.settle()
        await manager.set_working_directory("one", "/work/app")
        for seconds in (7, 7):
            await world.pass_time(seconds)
        assert await manager.get_session_count() == 1
        await world.pass_time(7)
        assert await manager.get_session_count() == 0


async def test_using_a_session_keeps_it(world: World, manager: SessionContextManager) -> None:
    uses: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "set": lambda: manager.set_working_directory("set", "/work/tool", owner=ADA),
        "get": lambda: manager.get_working_directory("get", owner=ADA),
        "resolve": lambda: manager.resolve(ADA, Signs(session_id="resolve")),
        "enter": lambda: manager.enter(ADA, Signs(session_id="enter"), "/work/bare"),
    }
    for session_id in (*uses, "unused"):
        await manager.set_working_directory(session_id, "/work/app", owner=ADA)
    world.advance(DAY)
    for use in uses.values():
        await use()
    world.advance(1)

    assert await manager.sweep() == ["unused"]
    assert {each.session_id for each in world.shown()} == set(uses)


async def test_a_session_with_a_live_connection_is_not_stale(world: World, manager: SessionContextManager) -> None:
    entered = await manager.enter(ADA, Signs(alias=EDITOR), "/work/app")
    session = entered.resolution.session
    assert session is not None
    with manager.connected(ADA, EDITOR):
        with manager.connected(ADA, EDITOR):
            assert manager.is_connected(session)
        world.advance(3 * DAY)
        assert await manager.sweep() == []
        assert await manager.sweep() == []
        [shown] = world.shown()
        assert shown == session  # it was not ended, and not used either
    assert not manager.is_connected(session)
    assert manager.get_session(session.session_id, owner=ADA).last_used == world.clock.wall()

    world.advance(DAY)
    assert await manager.sweep() == []
    world.advance(1)
    assert await manager.sweep() == [session.session_id]


async def test_a_connection_that_stands_for_nobody_may_come_and_go(manager: SessionContextManager) -> None:
    entered = await manager.enter(ADA, Signs(alias=EDITOR), "/work/app")
    assert entered.resolution.session is not None
    with manager.connected(ADA, TERMINAL), manager.connected(EVE, EDITOR), manager.connected(ADA_ELSEWHERE, EDITOR):
        assert not manager.is_connected(entered.resolution.session)


async def test_a_session_in_the_middle_of_a_change_is_not_stale(world: World, manager: SessionContextManager) -> None:
    for session_id in ("moving", "idle"):
        await manager.set_working_directory(session_id, "/work/app")
    world.advance(2 * DAY)
    gate = world.places.hold("/work/tool")
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(manager.set_working_directory, "moving", "/work/tool")
            await gate.reached.wait()
            assert await manager.sweep() == ["idle"]
            gate.open()

    assert manager.get_session("moving").revision == 2
    assert await manager.sweep() == []


async def test_two_sweeps_at_once_end_each_session_once_and_a_failure_spares_none(
    world: World, manager: SessionContextManager, events: list[Event]
) -> None:
    await manager.set_working_directory("one", "/work/app")
    world.advance(2 * DAY)
    events.clear()
    gate = world.store.hold()
    world.store.fail(StoreUnavailableError("disk full"))

    async def fail_to_sweep() -> None:
        with pytest.raises(StoreUnavailableError):
            await manager.sweep()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail_to_sweep)
            await gate.reached.wait()
            assert await manager.sweep() == []
            gate.open()
        assert events == []

        assert await manager.sweep() == ["one"]
    assert len(events) == 1


async def test_more_than_a_batch_is_swept_at_once(world: World) -> None:
    manager = world.manager
    for number in range(900):
        await manager.set_working_directory(f"s{number}", "/work/bare", owner=ADA)
        if number in (0, 700):
            await manager.enter(ADA, Signs(alias=Alias(f"c{number}")), "/work/app")
    world.advance(2 * DAY)
    world.store.commits.clear()

    with manager.connected(ADA, Alias("c0")), manager.connected(ADA, Alias("c700")):
        swept = await manager.sweep()

    assert swept == [f"s{number}" for number in range(900)]
    assert await manager.get_session_count() == 2
    assert len(world.store.commits) == 4


async def test_a_sweep_that_fails_is_tried_again_an_hour_later(
    living_world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world, manager = living_world, living_world.manager
    await manager.set_working_directory("one", "/work/bare")
    await world.pass_time(DAY - 1)
    assert await manager.get_session_count() == 1

    # The idle clock was noted at the last sweep, and that is to be written too.
    world.store.fail(StoreUnavailableError("disk full"), StoreUnavailableError("disk full"))
    with caplog.at_level(logging.ERROR):
        await world.pass_time(HOUR)
    assert await manager.get_session_count() == 1
    assert "housekeeping failed; it is tried again in 3600.0 seconds" in caplog.text

    await world.pass_time(HOUR - 1)
    assert await manager.get_session_count() == 1
    await world.pass_time(1)
    assert await manager.get_session_count() == 0


@pytest.mark.parametrize("jump", [2 * DAY, -2 * DAY, 400 * DAY, None])
@pytest.mark.row("B3")
async def test_a_wall_clock_that_is_set_ends_nothing_in_use(
    world: World, manager: SessionContextManager, jump: float | None
) -> None:
    await manager.set_working_directory("one", "/work/app")
    world.clock.jump_wall_to(0.0 if jump is None else world.clock.wall() + jump)
    await manager.set_working_directory("two", "/work/app")
    world.advance(DAY)
    assert await manager.sweep() == []

    world.clock.jump_wall_to(1_700_000_000.0 + DAY)
    assert manager.get_session("two").revision == 1
    world.advance(1)
    assert await manager.sweep() == ["one"]


async def test_how_sessions_ended_is_forgotten_after_thirty_days(living_world: World) -> None:
    world, manager = living_world, living_world.manager
    await manager.set_working_directory("one", "/work/app")
    await manager.close_session("one")
    await world.pass_time(30 * DAY)
    with pytest.raises(ClosedSessionError):
        manager.get_session("one")

    await world.pass_time(HOUR)

    with pytest.raises(UnknownSessionError):
        manager.get_session("one")
    assert manager.ended_count() == 0
    assert (await world.kept()).ended == ()
    [forgotten] = [change for commit in world.store.commits for change in commit if isinstance(change, EndedForgotten)]
    assert 0 < forgotten.before <= HOUR  # on the idle clock, which began at 0


# Turns


async def test_two_changes_of_one_session_overlap_and_both_end_whole(
    world: World, manager: SessionContextManager, events: list[Event]
) -> None:
    await manager.set_working_directory("one", "/work/bare")
    events.clear()
    first_look, second_look = world.places.hold("/work/app/src"), world.places.hold("/work/tool")
    commit = world.store.hold()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(manager.set_working_directory, "one", "/work/app/src")
            await first_look.reached.wait()
            tasks.start_soon(manager.set_working_directory, "one", "/work/tool")
            for _ in range(10):
                await checkpoint()
            assert len(manager._turns) == 1  # one turn,
            assert manager._turns.waiting(SessionKey("default", SessionId("one"))) == 1  # two tasks: they overlap
            assert not second_look.reached.is_set()

            first_look.open()
            await commit.reached.wait()
            assert manager.get_session("one").working_directory == "/work/bare"  # planned, not yet kept
            assert not second_look.reached.is_set()

            commit.open()
            await second_look.reached.wait()
            assert manager.get_session("one").working_directory == "/work/app/src"
            second_look.open()

    session = manager.get_session("one")
    assert (session.working_directory, session.project_root, session.config_path, session.project_id) == (
        "/work/tool",
        "/work/tool",
        "/work/tool/.workroot/config.toml",
        "id-of-tool",
    )
    assert session.revision == 3
    moves = [event for event in events if isinstance(event, SessionMoved)]
    assert [(move.before and move.before.revision, move.session.revision) for move in moves] == [(1, 2), (2, 3)]
    assert (moves[0].session.project_id, moves[0].session.working_directory) == ("id-of-app", "/work/app/src")


@pytest.mark.parametrize("where", ["places", "store"])
@pytest.mark.row("S8")
async def test_changes_of_other_sessions_and_readers_do_not_wait(
    world: World, manager: SessionContextManager, where: str
) -> None:
    await manager.set_working_directory("slow", "/work/bare")
    await manager.set_working_directory("quick", "/work/bare")
    gate = world.places.hold("/work/tool") if where == "places" else world.store.hold()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(manager.set_working_directory, "slow", "/work/tool")
            await gate.reached.wait()

            await manager.set_working_directory("quick", "/work/app")
            await manager.set_working_directory("new", "/work/app")
            await manager.enter(LOCAL_OWNER, Signs(alias=EDITOR), "/work/app")
            assert await manager.get_working_directory("slow") == "/work/bare"
            assert (await manager.resolve(LOCAL_OWNER, Signs(session_id="slow"))).source is Source.PIN
            await manager.close_session("quick")
            assert await manager.get_session_count() == 3
            gate.open()
    assert await manager.get_working_directory("slow") == "/work/tool"


@pytest.mark.parametrize("ending", list(Ending))
async def test_a_change_that_waited_for_the_end_of_its_session_learns_of_it(
    world: World, manager: SessionContextManager, ending: Ending
) -> None:
    await manager.set_working_directory("one", "/work/app")
    world.advance(2 * DAY)
    gate = world.store.hold()
    errors: list[SessionError] = []

    async def expect_its_end(call: Coroutine[Any, Any, object]) -> None:
        try:
            await call
        except (ClosedSessionError, ExpiredSessionError) as error:
            errors.append(error)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(manager.sweep if ending is Ending.EXPIRED else lambda: manager.close_session("one"))
            await gate.reached.wait()
            tasks.start_soon(expect_its_end, manager.set_working_directory("one", "/work/tool"))
            tasks.start_soon(expect_its_end, manager.enter(LOCAL_OWNER, Signs(session_id="one"), "/work/tool"))
            tasks.start_soon(expect_its_end, manager.close_session("one"))
            for _ in range(10):
                await checkpoint()
            assert errors == []
            gate.open()

    assert [error.code for error in errors] == [f"{ending}_session"] * 3
    assert await manager.get_session_count() == 0


async def test_what_is_done_leaves_no_turn_behind(world: World, manager: SessionContextManager) -> None:
    await manager.enter(ADA, Signs(alias=EDITOR), "/work/app")
    await manager.set_working_directory("one", "/work/app")
    with pytest.raises(DirectoryError):
        await manager.set_working_directory("one", "/gone")
    await manager.close_session("one")
    await manager.sweep()

    assert len(manager._turns) == 0


# Plan, persist, publish


def changes_of(world: World) -> dict[str, Callable[[], Coroutine[Any, Any, object]]]:
    manager = world.manager

    async def sweep() -> None:
        world.advance(2 * DAY)
        await manager.sweep()

    return {
        "open": lambda: manager.set_working_directory("new", "/work/tool", owner=ADA),
        "move": lambda: manager.set_working_directory("one", "/work/tool", owner=ADA),
        "close": lambda: manager.close_session("one", owner=ADA),
        "sweep": sweep,
        "enter by handle": lambda: manager.enter(ADA, Signs(session_id="one"), "/work/tool"),
        "enter by alias": lambda: manager.enter(ADA, Signs(alias=EDITOR), "/work/tool"),
        "enter by new alias": lambda: manager.enter(ADA, Signs(alias=TERMINAL), "/work/tool"),
    }


CHANGES = ["open", "move", "close", "sweep", "enter by handle", "enter by alias", "enter by new alias"]


@pytest.fixture
async def prepared(world: World, events: list[Event]) -> World:
    await world.manager.set_working_directory("one", "/work/app", owner=ADA)
    await world.manager.enter(ADA, Signs(alias=EDITOR), "/work/app")
    events.clear()
    return world


async def check_shown_is_kept(world: World, events: list[Event], before: StoredState) -> None:
    """Compare with a fresh manager over the same store, and with what listeners were told."""
    kept = await world.kept()
    ids = {str(each.session_id) for each in (*kept.sessions, *before.sessions, *world.shown())}
    ids |= {str(each.session_id) for each in kept.ended} | {"new"}
    fresh = world.another()
    await fresh.start()
    try:
        aliases = {EDITOR, TERMINAL}
        assert await shown_by(world.manager, ADA, ids, aliases) == await shown_by(fresh, ADA, ids, aliases)
    finally:
        await fresh.stop()
    old, new = (
        {each.key: each.revision for each in before.sessions},
        {each.key: each.revision for each in kept.sessions},
    )
    moved = {event.session.key for event in events if isinstance(event, SessionMoved)}
    gone = {event.ended.key for event in events if isinstance(event, SessionEndedEvent)}
    assert moved == {key for key, revision in new.items() if old.get(key) != revision}
    assert gone == {each.key for each in kept.ended} == old.keys() - new.keys()
    assert len(world.manager._turns) == 0


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.row("B8")
async def test_a_store_that_fails_leaves_everything_as_it_was(
    prepared: World, events: list[Event], change: str
) -> None:
    before = await prepared.kept()
    shown = prepared.shown()
    prepared.store.fail(StoreUnavailableError("disk full"))

    with pytest.raises(StoreUnavailableError):
        await changes_of(prepared)[change]()

    assert [replace(each, last_used=0) for each in prepared.shown()] == [replace(each, last_used=0) for each in shown]
    assert without_use(await prepared.kept()) == without_use(before)
    assert events == []
    await check_shown_is_kept(prepared, events, before)

    await changes_of(prepared)[change]()
    assert without_use(await prepared.kept()) != without_use(before)
    await check_shown_is_kept(prepared, events, before)


@pytest.mark.parametrize("steps", range(12))
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("cancelled_by", ["scope", "task"])
async def test_a_caller_cancelled_at_any_step_leaves_shown_what_is_kept(
    prepared: World, events: list[Event], change: str, steps: int, cancelled_by: str
) -> None:
    before = await prepared.kept()

    async def run() -> None:
        if cancelled_by == "task":
            await changes_of(prepared)[change]()
        else:
            with scope:
                await changes_of(prepared)[change]()

    with anyio.fail_after(5):
        scope = anyio.CancelScope()
        task = asyncio.get_running_loop().create_task(run())
        for _ in range(steps):
            await checkpoint()
        if cancelled_by == "task":
            task.cancel()
        else:
            scope.cancel()
        with suppress(asyncio.CancelledError):
            await task

        await check_shown_is_kept(prepared, events, before)
        await prepared.manager.set_working_directory("after", "/work/bare", owner=ADA)


async def test_a_cancelled_task_is_cancelled_even_if_its_change_was_made(prepared: World, events: list[Event]) -> None:
    gate = prepared.store.hold()
    with anyio.fail_after(5):
        task = asyncio.get_running_loop().create_task(changes_of(prepared)["move"]())
        await gate.reached.wait()
        task.cancel()
        for _ in range(5):
            await checkpoint()
        assert not task.done()  # its turn lasts until it is known what became of the change
        task.cancel()
        gate.open()
        await asyncio.wait([task])

    assert task.cancelled()
    assert prepared.manager.get_session("one", owner=ADA).working_directory == "/work/tool"
    assert [type(event) for event in events] == [ProjectsChanged, SessionMoved]


# Restart


async def test_after_a_restart_all_is_as_it_was(prepared: World) -> None:
    world, manager = prepared, prepared.manager
    await manager.set_working_directory("gone", "/work/tool", owner=ADA)
    await manager.close_session("gone", owner=ADA)
    world.advance(1.5)
    manager.get_session("one", owner=ADA)
    await manager.stop()

    fresh = world.another()
    await fresh.start()
    world.advance(1)

    assert sorted(fresh.all_sessions(), key=lambda session: session.key) == world.shown()
    [one] = [session for session in fresh.all_sessions() if session.session_id == "one" and session.owner == ADA]
    assert one.last_used == 1_700_000_001.5
    assert fresh.get_session("one", owner=ADA).last_used == 1_700_000_002.5
    with pytest.raises(ClosedSessionError, match="it worked in /work/tool"):
        fresh.get_session("gone", owner=ADA)
    resolution = await fresh.resolve(ADA, Signs(alias=EDITOR))
    assert (resolution.is_default_session, resolution.place) == (True, world.places.known["/work/app"])
    assert [known.name for known in fresh.projects.known(ADA)] == [known.name for known in manager.projects.known(ADA)]
    moved = await fresh.set_working_directory("one", "/work/tool", owner=ADA)
    assert moved.revision == 2
    await fresh.stop()


async def test_the_time_of_last_use_is_written_behind(living_world: World) -> None:
    world, manager = living_world, living_world.manager
    await manager.set_working_directory("one", "/work/app", owner=ADA)
    set_at = world.clock.wall()
    await world.pass_time(1.0)
    world.store.commits.clear()
    await manager.get_working_directory("one", owner=ADA)
    assert manager.get_session("one", owner=ADA).last_used == set_at + 1
    assert world.store.commits == []
    kept = await world.kept()
    assert kept.sessions[0].last_used == set_at

    await world.settle()
    await world.pass_time(2.0)

    assert (await world.kept()).sessions[0].last_used == set_at + 1
    assert len(world.store.commits) == 1


# Reading again within a window of late writes


async def test_a_session_that_is_read_again_within_the_window_is_not_noted_again(living_world: World) -> None:
    world, manager = living_world, living_world.manager
    await manager.set_working_directory("one", "/work/app")
    await world.pass_time(1.0)
    first = manager.get_session("one")
    await world.settle()
    await world.pass_time(1.0)

    assert manager.get_session("one") is first
    assert await manager.get_working_directory("one") == "/work/app"

    await world.pass_time(1.0)  # the window ends
    assert manager.get_session("one").last_used == first.last_used + 2


@pytest.mark.parametrize("change", ["move", "follow", "close", "expire"])
async def test_what_was_read_just_now_is_not_read_again_after_a_change(
    world: World, manager: SessionContextManager, change: str
) -> None:
    signs = Signs(alias=EDITOR)
    session = (await manager.enter(ADA, signs, "/work/bare")).resolution.session
    assert session is not None
    assert await manager.get_working_directory(session.session_id, owner=ADA) == "/work/bare"

    match change:
        case "move":
            await manager.set_working_directory(session.session_id, "/work/tool", owner=ADA)
        case "follow":
            world.places.known["/work/bare"] = place("/work/bare", project="new")
            await manager.refresh(ADA, session.working_directory)
        case "close":
            await manager.close_session(session.session_id, owner=ADA)
        case "expire":
            world.advance(2 * DAY)
            await manager.sweep()

    now = manager.default_session(ADA, EDITOR)
    if now is None:
        assert await manager.get_working_directory(session.session_id, owner=ADA) is None
        with pytest.raises((ClosedSessionError, ExpiredSessionError)):
            manager.get_session(session.session_id, owner=ADA)
    else:
        assert now.revision == 2
        assert replace(manager.get_session(session.session_id, owner=ADA), last_used=0) == replace(now, last_used=0)
        assert await manager.get_working_directory(session.session_id, owner=ADA) == now.working_directory


async def test_a_stranger_does_not_see_what_its_owner_has_read_just_now(manager: SessionContextManager) -> None:
    elsewhere = Owner(ADA.principal, "elsewhere")
    await manager.set_working_directory("one", "/work/app", owner=ADA)
    assert await manager.get_working_directory("one", owner=ADA) == "/work/app"

    for stranger in (EVE, elsewhere):
        assert await manager.get_working_directory("one", owner=stranger) is None
        with pytest.raises(UnknownSessionError):
            manager.get_session("one", owner=stranger)

    await manager.set_working_directory("one", "/work/tool", owner=elsewhere)
    for _ in range(2):
        assert await manager.get_working_directory("one", owner=elsewhere) == "/work/tool"
        assert await manager.get_working_directory("one", owner=ADA) == "/work/app"
        assert await manager.get_working_directory("one", owner=Owner(*ADA)) == "/work/app"


async def test_a_session_that_is_read_all_the_time_does_not_expire() -> None:
    async for world in run_world(make_world(idle_seconds=10, sweep_seconds=5)):
        await world.manager.set_working_directory("one", "/work/app")
        for _ in range(40):
            await world.pass_time(1.0)
            assert await world.manager.get_working_directory("one") == "/work/app"


async def test_a_session_that_is_read_while_the_store_stalls_does_not_expire(living_world: World) -> None:
    """The window ends before its late writes are written; that of a store which hangs does not end."""
    world, manager = living_world, living_world.manager
    await manager.set_working_directory("one", "/work/app")
    manager.get_session("one")
    await world.settle()
    gate = world.store.hold()
    world.clock.advance(2)
    await gate.reached.wait()
    manager.get_session("one")
    world.clock.advance(2 * DAY)
    manager.get_session("one")

    assert await manager.sweep() == []
    assert await manager.get_session_count() == 1

    gate.open()


IN_TOOL = Signs(hints=(Hint(Source.CONNECTOR, "working directory", "/work/tool"),))


async def test_to_ask_about_a_directory_changes_nothing(world: World, manager: SessionContextManager) -> None:
    await manager.resolve(ADA, Signs(directory="/work/tool"))

    assert manager.projects.known(ADA) == []
    assert world.store.commits == []


async def test_a_new_project_is_kept_before_it_is_named(world: World, manager: SessionContextManager) -> None:
    await manager.set_working_directory("one", "/work/app", owner=ADA)
    assert [seen.project.name for seen in (await world.kept()).projects] == ["app"]

    await manager.resolve(ADA, IN_TOOL)
    assert [seen.project.name for seen in (await world.kept()).projects] == ["app", "tool"]

    commits = len(world.store.commits)
    await manager.resolve(ADA, IN_TOOL)
    assert len(world.store.commits) == commits, "known already, and just seen"


async def test_a_project_is_answered_though_the_store_is_away_and_kept_when_it_is_back(
    world: World, manager: SessionContextManager
) -> None:
    world.store.fail(StoreUnavailableError("the disk is full"))

    found = await manager.resolve(ADA, IN_TOOL)

    assert found.place is not None
    assert [project.name for project in manager.projects.known(ADA)] == ["tool"]
    assert (await world.kept()).projects == ()
    await manager.stop()
    assert [seen.project.name for seen in (await world.kept()).projects] == ["tool"]


async def test_a_caller_that_has_loaded_the_store_hands_on_what_it_saw(prepared: World) -> None:
    state = await prepared.kept()
    gate = prepared.store.hold_load()
    fresh = SessionContextManager(prepared.store, prepared.places, clock=prepared.clock, state=state)

    with anyio.fail_after(5):
        await fresh.start()
    await fresh.stop()

    assert not gate.reached.is_set()
    assert len(fresh.all_sessions()) == 2


async def test_idle_time_goes_on_over_a_restart(world: World, manager: SessionContextManager) -> None:
    await manager.set_working_directory("old", "/work/app")
    world.advance(20 * HOUR)
    await manager.set_working_directory("young", "/work/app")
    await manager.stop()

    fresh = SessionContextManager(
        world.store, world.places, clock=ManualClock(wall=world.clock.wall() + 5 * HOUR, awake=3.0)
    )
    await fresh.start()

    assert await fresh.sweep() == ["old"]
    await fresh.stop()


async def test_a_session_used_in_the_future_is_taken_for_one_used_now(
    world: World, manager: SessionContextManager
) -> None:
    await manager.set_working_directory("one", "/work/app")
    await manager.stop()

    clock = ManualClock(wall=0.0)
    fresh = SessionContextManager(world.store, world.places, clock=clock)
    await fresh.start()
    clock.advance(DAY)
    assert await fresh.sweep() == []
    clock.advance(1)
    assert await fresh.sweep() == ["one"]
    await fresh.stop()


# Resolving


HINTED = Signs(hints=(Hint(Source.CONNECTOR, "PWD", "/work/tool"), Hint(Source.CONNECTOR, "--directory", "/gone")))


async def test_a_call_without_a_session_is_resolved_from_its_signs_and_stores_no_session(
    world: World, manager: SessionContextManager
) -> None:
    resolution = await manager.resolve(ADA, HINTED)

    assert resolution.place == world.places.known["/work/tool"]
    assert [skipped.directory for skipped in resolution.skipped] == ["/gone"]
    assert resolution.session is None
    assert await manager.get_session_count() == 0
    assert (await world.kept()).sessions == ()


async def test_a_project_that_was_resolved_is_known_from_then_on(
    manager: SessionContextManager, events: list[Event]
) -> None:
    await manager.resolve(ADA, HINTED)
    await manager.resolve(ADA, HINTED)
    await manager.resolve(ADA, Signs(directory="/work/bare"))
    await manager.resolve(ADA, Signs())

    assert [known.root for known in manager.projects.known(ADA)] == ["/work/tool"]
    assert manager.projects.known(EVE) == []
    assert events == [ProjectsChanged(ADA, ProjectId("id-of-tool"))]


async def test_the_connections_default_session_is_used_only_where_nothing_better_is_said(
    manager: SessionContextManager,
) -> None:
    entered = await manager.enter(ADA, Signs(alias=EDITOR), "/work/app")
    await manager.set_working_directory("one", "/work/bare", owner=ADA)

    default = await manager.resolve(ADA, replace(HINTED, alias=EDITOR))
    assert (default.session, default.is_default_session) == (entered.resolution.session, True)
    assert default.alternatives == (Alternative("/work/tool", Source.CONNECTOR, "PWD", "tool"),)

    named = await manager.resolve(ADA, replace(HINTED, alias=EDITOR, session_id="one"))
    assert (named.place and named.place.directory, named.is_default_session) == ("/work/bare", False)

    modern = await manager.resolve(ADA, HINTED)
    assert (modern.session, modern.source) == (None, Source.CONNECTOR)

    with pytest.raises(UnknownSessionError):
        await manager.resolve(EVE, Signs(alias=EDITOR, meta_session="one"))
    assert (await manager.resolve(EVE, Signs(alias=EDITOR))).session is None


async def test_handles_of_equal_authority_that_disagree_are_an_error(manager: SessionContextManager) -> None:
    await manager.set_working_directory("one", "/work/app", owner=ADA)
    signs = Signs(meta_session="one", header_session="two")

    with pytest.raises(SignsDisagreeError):
        await manager.resolve(ADA, signs)
    with pytest.raises(SignsDisagreeError):
        await manager.enter(ADA, signs, "/work/tool")
    assert await manager.get_session_count() == 1


async def test_a_directory_that_vanished_is_an_error_of_the_call(world: World, manager: SessionContextManager) -> None:
    await manager.set_working_directory("one", "/work/app", owner=ADA)
    del world.places.known["/work/app"]

    with pytest.raises(DirectoryError, match="Directory does not exist: /work/app"):
        await manager.resolve(ADA, replace(HINTED, session_id="one"))
    with pytest.raises(DirectoryError, match="Directory does not exist: /gone"):
        await manager.resolve(ADA, replace(HINTED, directory="/gone"))


async def resolve_while(world: World, signs: Signs, meanwhile: Callable[[], Coroutine[Any, Any, object]]) -> Any:
    """Resolve *signs*, and do something while a directory is looked at."""
    gate, result = world.places.hold("/work/app"), []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def resolve() -> None:
                result.append(await world.manager.resolve(ADA, signs))

            tasks.start_soon(resolve)
            await gate.reached.wait()
            await meanwhile()
            gate.open()
    return result[0]


async def test_a_session_that_moves_while_it_is_looked_at_is_looked_at_again(prepared: World) -> None:
    resolution = await resolve_while(prepared, Signs(session_id="one"), changes_of(prepared)["move"])

    assert resolution.place.directory == "/work/tool"
    assert (resolution.session.working_directory, resolution.session.revision) == ("/work/tool", 2)


async def test_a_session_that_is_replaced_while_it_is_looked_at_is_not_answered_with(prepared: World) -> None:
    """The new session of a connection has the revision that the old one had."""
    manager = prepared.manager
    old = (await manager.resolve(ADA, Signs(alias=EDITOR))).session
    assert old is not None

    async def replace_it() -> None:
        await manager.close_session(old.session_id, owner=ADA)
        await manager.enter(ADA, Signs(alias=EDITOR), "/work/tool")

    resolution = await resolve_while(prepared, Signs(alias=EDITOR), replace_it)

    assert resolution.place.directory == "/work/tool"
    assert resolution.session.session_id != old.session_id


async def test_a_session_that_ends_while_it_is_looked_at_is_no_longer_answered_with(prepared: World) -> None:
    session = (await prepared.manager.resolve(ADA, Signs(alias=EDITOR))).session
    assert session is not None

    async def close() -> None:
        await prepared.manager.close_session(session.session_id, owner=ADA)

    resolution = await resolve_while(prepared, replace(HINTED, alias=EDITOR), close)

    assert (resolution.session, resolution.source) == (None, Source.CONNECTOR)


# Entering


async def test_without_anything_every_call_opens_a_session_of_its_own(manager: SessionContextManager) -> None:
    first = await manager.enter(ADA, HINTED, "/work/app")
    second = await manager.enter(ADA, HINTED, "/work/bare")

    assert first.resolution.session is not None
    assert second.resolution.session is not None
    assert first.resolution.session.session_id != second.resolution.session.session_id
    assert (first.before, first.resolution.is_default_session) == (None, False)
    assert await manager.get_working_directory(first.resolution.session.session_id, owner=ADA) == "/work/app"


async def test_the_answer_says_where_it_works_now_and_what_other_signs_name(manager: SessionContextManager) -> None:
    entered = await manager.enter(ADA, HINTED, "/work/app")

    resolution = entered.resolution
    assert (resolution.place and resolution.place.directory, resolution.source) == ("/work/app", Source.PIN)
    assert resolution.alternatives == (Alternative("/work/tool", Source.CONNECTOR, "PWD", "tool"),)
    assert [skipped.directory for skipped in resolution.skipped] == ["/gone"]

    agreeing = await manager.enter(ADA, HINTED, "/work/tool")
    assert agreeing.resolution.alternatives == ()


async def test_the_signs_seen_then_are_remembered(world: World, manager: SessionContextManager) -> None:
    signs = replace(
        HINTED, alias=EDITOR, roots=Roots(RootsAnswer.GIVEN, ("file:///work/app/src",)), directory="/work/bare"
    )

    entered = await manager.enter(ADA, signs, "/work/bare")

    assert entered.resolution.session is not None
    assert entered.resolution.session.signs == (
        PinnedSign("roots: root 1", "/work/app/src", agreed=False),
        PinnedSign("connector: PWD", "/work/tool", agreed=False),
    )
    assert (await world.kept()).sessions[0].signs == entered.resolution.session.signs


@pytest.mark.parametrize("signs", [Signs(session_id="one"), Signs(meta_session="one"), Signs(header_session="one")])
async def test_by_handle_that_session_moves(prepared: World, events: list[Event], signs: Signs) -> None:
    before = prepared.manager.get_session("one", owner=ADA)

    entered = await prepared.manager.enter(ADA, replace(signs, alias=EDITOR), "/work/tool")

    assert entered.before == before
    assert entered.resolution.session == prepared.manager.get_session("one", owner=ADA)
    assert not entered.resolution.is_default_session
    assert (await prepared.manager.resolve(ADA, Signs(alias=EDITOR))).place == prepared.places.known["/work/app"]


async def test_by_alias_the_connections_session_moves(prepared: World) -> None:
    entered = await prepared.manager.enter(ADA, Signs(alias=EDITOR), "/work/tool")

    assert entered.before is not None
    assert entered.before.working_directory == "/work/app"
    assert entered.resolution.is_default_session
    assert await prepared.manager.get_session_count() == 2


async def test_a_default_session_whose_handle_somebody_passes_is_replaced_and_stays_where_it_is(
    prepared: World,
) -> None:
    old = (await prepared.manager.resolve(ADA, Signs(alias=EDITOR))).session
    assert old is not None
    await prepared.manager.resolve(ADA, Signs(session_id=old.session_id, alias=EDITOR))

    entered = await prepared.manager.enter(ADA, Signs(alias=EDITOR), "/work/tool")

    now = entered.resolution.session
    assert now is not None
    assert now.session_id != old.session_id, "a subagent that shares the connection gets a session of its own"
    assert entered.before is not None
    assert entered.before.working_directory == "/work/app"
    assert entered.resolution.is_default_session
    assert (await prepared.manager.resolve(ADA, Signs(alias=EDITOR))).session == now
    assert prepared.manager.get_session(old.session_id, owner=ADA).working_directory == "/work/app"


async def test_by_the_clients_own_id_of_a_conversation_its_session_moves(manager: SessionContextManager) -> None:
    talk = Signs(conversation=EDITOR)
    first = (await manager.enter(ADA, talk, "/work/app")).resolution.session

    second = (await manager.enter(ADA, talk, "/work/tool")).resolution.session

    assert first is not None
    assert second is not None
    assert (second.session_id, second.revision) == (first.session_id, 2)


async def test_two_first_calls_of_one_conversation_open_one_session(
    world: World, manager: SessionContextManager
) -> None:
    gate = world.places.hold("/work/app")
    entered: list[Any] = []

    async def enter(owner: Owner, directory: str) -> None:
        entered.append(await manager.enter(owner, Signs(conversation=EDITOR), directory))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter, ADA, "/work/app")
            await gate.reached.wait()
            tasks.start_soon(enter, ADA, "/work/tool")
            await enter(EVE, "/work/bare")  # another owner's conversation of that name is another one
            for _ in range(10):
                await checkpoint()
            assert len(entered) == 1
            gate.open()

    assert len({each.resolution.session.session_id for each in entered[1:]}) == 1
    assert [each.resolution.session.revision for each in entered[1:]] == [1, 2]
    assert (entered[1].before, entered[2].before) == (None, entered[1].resolution.session)
    assert await manager.get_session_count() == 2


@pytest.mark.parametrize("ending", list(Ending))
async def test_a_conversation_whose_session_ends_while_it_waits_gets_a_new_one(prepared: World, ending: Ending) -> None:
    world, manager = prepared, prepared.manager
    old = (await manager.enter(ADA, Signs(conversation=EDITOR), "/work/app")).resolution.session
    assert old is not None
    world.advance(2 * DAY)
    gate = world.store.hold()
    entered: list[Any] = []

    async def end() -> None:
        if ending is Ending.CLOSED:
            await manager.close_session(old.session_id, owner=ADA)
        else:
            await manager.sweep()

    async def enter() -> None:
        entered.append(await manager.enter(ADA, Signs(conversation=EDITOR), "/work/tool"))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end)
            await gate.reached.wait()
            tasks.start_soon(enter)
            for _ in range(10):
                await checkpoint()
            gate.open()

    [each] = entered
    assert each.before is None
    assert each.resolution.session.session_id != old.session_id
    assert (await manager.resolve(ADA, Signs(conversation=EDITOR))).session == each.resolution.session
    with pytest.raises((ClosedSessionError, ExpiredSessionError)):
        manager.get_session(old.session_id, owner=ADA)


@pytest.mark.parametrize(
    ("handle", "code"),
    [
        ("nothing", "unknown_session"),
        ("closed", "closed_session"),
        ("expired", "expired_session"),
        ("not an id", "invalid_session"),
    ],
)
async def test_a_handle_that_cannot_be_used_opens_nothing(
    world: World, manager: SessionContextManager, handle: str, code: str
) -> None:
    await manager.set_working_directory("closed", "/work/app", owner=ADA)
    await manager.set_working_directory("expired", "/work/app", owner=ADA)
    await manager.close_session("closed", owner=ADA)
    world.advance(2 * DAY)
    await manager.sweep()
    world.store.commits.clear()

    with pytest.raises(SessionError) as caught:
        await manager.enter(ADA, Signs(session_id=handle, alias=EDITOR), "/work/tool")

    assert caught.value.code == code
    assert world.store.commits == []
    assert await manager.get_session_count() == 0


async def test_a_directory_that_cannot_be_worked_in_opens_nothing(world: World, manager: SessionContextManager) -> None:
    with pytest.raises(DirectoryError):
        await manager.enter(ADA, Signs(conversation=EDITOR), "/gone")

    assert world.store.commits == []
    assert (await manager.resolve(ADA, Signs(conversation=EDITOR))).session is None


# Events


async def test_listeners_are_told_of_each_change_after_it_was_kept(
    world: World, manager: SessionContextManager
) -> None:
    told: list[tuple[Event, int]] = []
    manager.events.subscribe(lambda event: told.append((event, len(world.store.commits))))

    opened = await manager.set_working_directory("one", "/work/app", owner=ADA)
    moved = await manager.set_working_directory("one", "/work/app/src", owner=ADA)
    ended = await manager.close_session("one", owner=ADA)

    assert told == [
        (ProjectsChanged(ADA, ProjectId("id-of-app")), 1),
        (SessionMoved(opened, None), 1),
        (SessionMoved(moved, opened), 2),
        (SessionEndedEvent(ended), 3),
    ]
    assert [type(change) for commit in world.store.commits for change in commit] == [
        SessionSaved,
        ProjectSeen,
        SessionSaved,
        SessionEnded,
    ]


async def test_a_listener_that_raises_harms_no_change(manager: SessionContextManager) -> None:
    def refuse(_: Event) -> None:
        raise ValueError("listener")

    manager.events.subscribe(refuse)

    await manager.set_working_directory("one", "/work/app")

    assert await manager.get_working_directory("one") == "/work/app"


async def test_of_a_held_gate_nothing_is_left(world: World) -> None:
    """The fakes themselves: a held look and a held commit go on when they are let go."""
    gates: list[Gate] = [world.places.hold("/work/app"), world.store.hold()]
    for gate in gates:
        gate.open()
    with anyio.fail_after(5):
        await world.manager.set_working_directory("one", "/work/app")
    assert all(gate.reached.is_set() for gate in gates)


async def test_a_manager_that_was_not_started_changes_nothing(world: World) -> None:
    idle = world.another()

    with pytest.raises(NotStartedError, match=r"call start\(\)"):
        await idle.set_working_directory("one", "/work/app", owner=ADA)

    assert await idle.get_session_count() == 0
    assert (await world.kept()).sessions == ()
