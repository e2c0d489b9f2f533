"""Who is in use, who is not, and what is looked at twice before it ends."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.lowlevel import checkpoint

from fakes import DAY, HOUR, HeldStore, ManualClock
from workroot import sweeper as sweeper_module
from workroot.core.changes import AliasBound, SessionEnded, SessionSaved, SessionTouched
from workroot.core.projects import Directory
from workroot.core.sessions import Alias, Owner, SessionContext, SessionId
from workroot.counters import Counters
from workroot.errors import StoreUnavailableError
from workroot.live_connections import LiveConnections
from workroot.session_ledger import SessionLedger
from workroot.session_room import SessionRoom
from workroot.storage.memory import MemoryStore
from workroot.sweeper import SECOND_LOOK_SECONDS, Sweeper
from workroot.turns import Turns

ADA = Owner("uid:1000")
EDITOR = Alias("editor")


def session(name: str) -> SessionContext:
    return SessionContext(
        session_id=SessionId(name),
        owner=ADA,
        working_directory=Directory("/work"),
        given_directory="/work",
        set_at=1.0,
        last_used=1.0,
    )


@dataclass
class World:
    """A sweeper with all that it stands on."""

    clock: ManualClock = field(default_factory=ManualClock)
    memory: MemoryStore = field(default_factory=MemoryStore)
    turns: Turns = field(default_factory=Turns)

    def __post_init__(self) -> None:
        self.store = HeldStore(self.memory)
        self.ledger = SessionLedger(self.store, self.clock)
        self.live = LiveConnections(self.ledger)
        room = SessionRoom(
            self.ledger,
            self.store,
            self.turns,
            self.live.is_connected,
            Counters(),
            max_sessions=100_000,
            max_bytes=1e9,
        )
        self.sweeper = Sweeper(self.ledger, self.turns, self.live, room, idle_seconds=DAY, ended_seconds=DAY)

    async def hold(self, stale: int, used: int = 0) -> None:
        """Keep so many sessions that are stale, and so many that are not."""
        await self.store.commit([SessionSaved(session(f"s{number}"), -2 * DAY + number) for number in range(stale)])
        await self.store.commit([SessionSaved(session(f"u{number}"), 0.0) for number in range(used)])
        await self.store.commit([AliasBound(ADA, EDITOR, SessionId("s0"))] if stale else [])
        await self.ledger.load()
        self.store.commits.clear()

    def held(self) -> int:
        return len(self.ledger.sessions)

    def name(self, number: int) -> SessionId:
        return SessionId(f"s{number}")


@pytest.fixture
def world() -> World:
    return World()


# What is in use


async def test_the_effort_is_for_what_is_stale(world: World) -> None:
    await world.hold(600, used=50)

    assert world.sweeper.stale_count() == 600
    assert await world.sweeper.sweep() == [world.name(number) for number in range(600)]
    assert world.held() == 50
    assert world.sweeper.stale_count() == 0
    ended = [sum(isinstance(change, SessionEnded) for change in commit) for commit in world.store.commits]
    assert ended == [250, 250, 100]


async def test_a_live_connection_is_seen_by_the_sweep_and_not_walked_by_again(world: World) -> None:
    await world.hold(3)

    with world.live.connected(ADA, EDITOR):
        assert world.sweeper.stale_count() == 2
        assert await world.sweeper.sweep() == ["s1", "s2"]
        [left] = world.ledger.sessions.all()
        assert world.ledger.sessions.seen(left.key) == world.ledger.idle.now()
        assert list(world.ledger.sessions.idle(before=world.ledger.idle.now())) == []

    await world.ledger.behind.flush()
    assert (await world.memory.load()).seen == {left.key: world.ledger.idle.now()}


async def test_two_connections_of_one_session_count_once(world: World) -> None:
    await world.hold(2)
    await world.store.commit([AliasBound(ADA, Alias("terminal"), world.name(0))])
    world.ledger.sessions.apply([AliasBound(ADA, Alias("terminal"), world.name(0))], seen=0.0)

    with world.live.connected(ADA, EDITOR), world.live.connected(ADA, Alias("terminal")):
        assert world.sweeper.stale_count() == 1
        assert await world.sweeper.sweep() == ["s1"]


async def test_a_connection_that_comes_during_the_sweep_is_in_use(world: World) -> None:
    await world.hold(600)
    world.ledger.sessions.apply([AliasBound(ADA, Alias("late"), world.name(500))], seen=0.0)
    gate = world.store.hold()
    swept: list[SessionId] = []

    async def sweep() -> None:
        swept.extend(await world.sweeper.sweep())

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sweep)
            await gate.reached.wait()
            with world.live.connected(ADA, Alias("late")):
                gate.open()
                while len(swept) == 0:
                    await checkpoint()

    assert len(swept) == 599
    assert [each.session_id for each in world.ledger.sessions.all()] == ["s500"]


async def test_a_session_in_the_middle_of_a_change_is_seen(world: World) -> None:
    await world.hold(2)

    async with world.turns.take(session("s1").key):
        assert await world.sweeper.sweep() == ["s0"]

    assert world.sweeper.stale_count() == 0


async def test_others_go_on_between_two_slices(world: World) -> None:
    await world.hold(900)
    turns_of_others = 0

    async def count() -> None:
        nonlocal turns_of_others
        while True:
            turns_of_others += 1
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        await world.sweeper.sweep()
        tasks.cancel_scope.cancel()

    assert turns_of_others >= 4


async def test_others_go_on_while_very_many_with_a_live_connection_are_seen(world: World) -> None:
    await world.hold(1500)
    for number in range(1500):
        world.ledger.sessions.apply([AliasBound(ADA, Alias(f"c{number}"), world.name(number))], seen=0.0)
    turns_of_others = 0

    async def count() -> None:
        nonlocal turns_of_others
        while True:
            turns_of_others += 1
            await checkpoint()

    with ExitStack() as connections:
        for number in range(1500):
            connections.enter_context(world.live.connected(ADA, Alias(f"c{number}")))
        assert world.sweeper.stale_count() == 1500  # very many are not looked at for a count
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(count)
            assert await world.sweeper.sweep() == []
            tasks.cancel_scope.cancel()

        assert turns_of_others >= 6
        assert (world.sweeper.stale_count(), world.sweeper.postponed) == (0, None)
        assert world.held() == 1500


async def test_a_sweep_is_one_line_however_much_it_ends(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.hold(300, used=7)

    with caplog.at_level(logging.INFO):
        await world.sweeper.sweep()

    assert [record.message for record in caplog.records] == ["300 sessions expired, 7 are held"]


async def test_each_session_that_a_sweep_ends_has_a_line_where_somebody_looks_closely(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.hold(2)

    with caplog.at_level(logging.DEBUG, logger="workroot"):
        await world.sweeper.sweep()

    assert [record.message for record in caplog.records if record.levelno == logging.DEBUG] == [
        "session s0 expired",
        "session s1 expired",
    ]


async def test_a_sweep_with_nothing_to_do_writes_nothing(world: World) -> None:
    await world.hold(0)

    await world.sweeper.housekeep()
    await world.ledger.behind.flush()

    assert world.store.commits == []


async def test_an_idle_daemon_notes_the_idle_clock_once_an_hour_at_most(world: World) -> None:
    await world.hold(0, used=1)
    for _ in range(8):
        await world.sweeper.housekeep()
        await world.ledger.behind.flush()
        world.clock.advance(HOUR / 2)

    marks = [change for commit in world.store.commits for change in commit]
    assert len(marks) == 3  # at 0, 1.5 and 3 hours


async def test_housekeeping_forgets_connectors_that_do_not_come_back(world: World) -> None:
    await world.ledger.load()
    await world.ledger.connections.set_log_level(ADA, EDITOR, "info", is_resumable=False)

    await world.sweeper.housekeep()
    assert len(world.ledger.connections) == 1  # it may only have lost its connection
    world.clock.advance(60)
    await world.sweeper.housekeep()

    assert len(world.ledger.connections) == 0


# The second look


async def test_how_many_are_postponed_is_counted(world: World) -> None:
    await world.hold(1006)
    await world.sweeper.sweep()

    assert world.sweeper.postponed is not None
    assert world.sweeper.postponed.sessions == 1006


async def test_very_many_are_looked_at_twice(world: World, caplog: pytest.LogCaptureFixture) -> None:
    await world.hold(1001, used=100)

    with caplog.at_level(logging.INFO):
        assert await world.sweeper.sweep() == []

    assert (world.held(), world.store.commits) == (1101, [])
    assert world.sweeper.postponed is not None
    assert world.sweeper.postponed.sessions == 1001
    assert world.sweeper.postponed_seconds() == SECOND_LOOK_SECONDS
    assert caplog.messages == [
        "1001 of 1101 sessions are idle for over 86400 s: those that are still so in 60 s end then"
    ]

    world.clock.advance(59)
    assert await world.sweeper.sweep() == []
    assert world.sweeper.postponed_seconds() == 1

    world.clock.advance(1)
    assert len(await world.sweeper.sweep()) == 1001
    assert world.held() == 100
    assert world.sweeper.postponed_seconds() == 0


@pytest.mark.parametrize(("stale", "used"), [(1000, 0), (1001, 4004)], ids=["a thousand", "a fifth"])
async def test_many_that_are_not_very_many_end_at_once(world: World, stale: int, used: int) -> None:
    await world.hold(stale, used=used)

    assert len(await world.sweeper.sweep()) == stale


@pytest.mark.parametrize(("stale", "used"), [(1001, 0), (1001, 4003)], ids=["a thousand", "a fifth"])
async def test_one_more_is_very_many(world: World, stale: int, used: int) -> None:
    await world.hold(stale, used=used)

    assert await world.sweeper.sweep() == []
    assert world.sweeper.postponed is not None


async def test_the_second_look_spares_who_was_used_meanwhile_and_who_is_stale_only_since(world: World) -> None:
    await world.hold(1002)
    just_used = SessionSaved(session("young"), -DAY + 30)
    await world.store.commit([just_used])
    world.ledger.sessions.apply([just_used], seen=-DAY + 30)
    assert await world.sweeper.sweep() == []

    world.ledger.touch(session("s7"))
    world.clock.advance(SECOND_LOOK_SECONDS)
    swept = await world.sweeper.sweep()

    assert len(swept) == 1001
    assert sorted(each.session_id for each in world.ledger.sessions.all()) == ["s7", "young"]
    assert await world.sweeper.sweep() == ["young"]


async def test_a_longer_idle_time_set_meanwhile_counts_at_the_second_look(world: World) -> None:
    await world.hold(1001)
    assert await world.sweeper.sweep() == []

    world.sweeper.idle_seconds = 30 * DAY
    world.clock.advance(SECOND_LOOK_SECONDS)

    assert await world.sweeper.sweep() == []
    assert world.held() == 1001


async def test_live_connections_do_not_count_for_very_many(world: World) -> None:
    await world.hold(1001)

    with world.live.connected(ADA, EDITOR):
        assert len(await world.sweeper.sweep()) == 1000


async def test_whoever_waits_for_something_postponed_hears_of_it(world: World) -> None:
    await world.hold(1001)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.sweeper.wait_postponed)
            await checkpoint()
            await world.sweeper.sweep()

        await world.sweeper.wait_postponed()  # still so
    assert world.sweeper.postponed is not None


async def test_a_second_look_that_fails_is_followed_by_a_first(world: World) -> None:
    await world.hold(1001)
    await world.sweeper.sweep()
    world.clock.advance(SECOND_LOOK_SECONDS)
    world.store.fail(StoreUnavailableError("away"))

    with pytest.raises(StoreUnavailableError):
        await world.sweeper.sweep()

    assert world.held() == 1001
    assert await world.sweeper.sweep() == []
    assert world.sweeper.postponed is not None


async def test_what_was_seen_is_noted_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeper_module, "_BATCH", 2)
    await world.hold(5)

    with world.live.connected(ADA, EDITOR):
        assert await world.sweeper.sweep() == ["s1", "s2", "s3", "s4"]

        assert len(world.ledger.behind) == 1
    await world.ledger.behind.flush()
    assert [change for change in world.store.commits[-1] if isinstance(change, SessionTouched)] == [
        SessionTouched(session("s0").key, world.clock.wall(), 0.0)
    ]
