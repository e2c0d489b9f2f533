"""Above a bound the longest idle go: who is connected last, and nobody in the middle of a change."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.lowlevel import checkpoint

from fakes import HOUR, HeldStore, ManualClock, place
from workroot.core.changes import AliasBound, EndingForgotten, ProjectForgotten, SessionEnded, SessionSaved
from workroot.core.projects import Directory
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, SessionContext, SessionId
from workroot.counters import Counters
from workroot.errors import ExpiredSessionError, StoreUnavailableError
from workroot.events import Event
from workroot.live_connections import LiveConnections
from workroot.session_ledger import SessionLedger
from workroot.session_room import SessionRoom
from workroot.storage.memory import MemoryStore
from workroot.turns import Turns

ADA = Owner("uid:1000")
WORK = place("/work")


class WeighedStore(HeldStore):
    """A store that says how much it weighs: ten bytes a session, five an ending, and what others take."""

    def __init__(self, memory: MemoryStore) -> None:
        super().__init__(memory)
        self.memory, self.is_away, self.others = memory, False, 0

    async def tidy(self) -> int:
        await checkpoint()
        if self.is_away:
            raise StoreUnavailableError("away")
        state = await self.memory.load()
        return 10 * len(state.sessions) + 5 * len(state.ended) + self.others


@dataclass
class World:
    """Room for a few sessions, with all that it stands on."""

    clock: ManualClock = field(default_factory=ManualClock)
    memory: MemoryStore = field(default_factory=MemoryStore)
    turns: Turns = field(default_factory=Turns)
    counters: Counters = field(default_factory=Counters)

    def __post_init__(self) -> None:
        self.store = WeighedStore(self.memory)
        self.ledger = SessionLedger(self.store, self.clock)
        self.live = LiveConnections(self.ledger)
        self.room = SessionRoom(
            self.ledger,
            self.store,
            self.turns,
            self.live.is_connected,
            self.counters,
            max_sessions=3,
            max_bytes=1e9,
        )

    async def open(self, *names: str) -> None:
        """Open sessions, one after the other, each with an alias of its name."""
        for name in names:
            async with self.turns.take(session(name).key):
                await self.ledger.move(ADA, SessionId(name), WORK, signs=(), alias=Alias(f"of {name}"))
            self.clock.advance(1)

    def held(self) -> list[str]:
        return [each.session_id for each in self.ledger.sessions.all()]

    async def kept(self) -> tuple[set[str], set[str]]:
        """Return the ids that are kept, and those of which it is kept how they ended."""
        state = await self.memory.load()
        return {each.session_id for each in state.sessions}, {each.session_id for each in state.ended}


def session(name: str) -> SessionContext:
    return SessionContext(
        session_id=SessionId(name),
        owner=ADA,
        working_directory=Directory("/work"),
        given_directory="/work",
        set_at=1.0,
        last_used=1.0,
    )


@pytest.fixture
async def world() -> World:
    world = World()
    await world.ledger.load()
    return world


# Sessions


async def test_the_longest_idle_gives_way_to_a_new_one_in_the_same_commit(world: World) -> None:
    events: list[Event] = []
    await world.open("a", "b", "c")
    world.ledger.touch(session("a"))
    world.ledger.events.subscribe(events.append)
    world.store.commits.clear()

    await world.open("d")

    assert world.held() == ["c", "a", "d"]
    assert await world.kept() == ({"a", "c", "d"}, {"b"})
    [commit] = world.store.commits
    assert [type(change) for change in commit if isinstance(change, SessionSaved | SessionEnded)] == [
        SessionSaved,
        SessionEnded,
    ]
    assert [type(event).__name__ for event in events] == ["SessionEnded", "SessionMoved"]
    with pytest.raises(ExpiredSessionError):
        world.ledger.sessions.get(ADA, SessionId("b"))
    assert world.counters.counts() == {"session_limit": 1}


async def test_a_session_that_moves_needs_no_room(world: World) -> None:
    await world.open("a", "b", "c", "a")

    assert world.held() == ["b", "c", "a"]
    assert world.counters.counts() == {}


async def test_a_session_with_a_live_connection_stays_and_is_not_walked_by_again(world: World) -> None:
    await world.open("a", "b", "c")

    with world.live.connected(ADA, Alias("of a")):
        await world.open("d")
        assert world.held() == ["c", "a", "d"]


async def test_one_with_a_live_connection_gives_way_where_there_is_no_other(world: World) -> None:
    await world.open("a", "b", "c")

    with ExitStack() as connections:
        for name in ("a", "b", "c"):
            connections.enter_context(world.live.connected(ADA, Alias(f"of {name}")))
        await world.open("d")
        assert world.held() == ["b", "c", "d"]


async def test_one_that_is_used_all_the_time_stays_though_its_use_is_noted_once(world: World) -> None:
    await world.open("a", "b", "c")
    world.ledger.touch(session("a"))

    await world.open("d", "e", "f", "g")

    assert world.held() == ["a", "f", "g"]


async def test_one_without_a_connection_is_found_behind_however_many_with_one(world: World) -> None:
    world.room.max_sessions = 1000
    names = [f"s{number}" for number in range(300)]
    await world.open(*names, "unused")
    world.room.max_sessions = 301

    with ExitStack() as connections:
        for name in names:
            connections.enter_context(world.live.connected(ADA, Alias(f"of {name}")))
        looks = 0
        while "unused" in world.held():
            looks += 1
            await world.open(f"new{looks}")
        assert set(names) <= set(world.held())
    assert looks == 4  # and none of them came by all 300


async def test_housekeeping_looks_until_it_has_come_by_all(world: World) -> None:
    world.room.max_sessions = 1000
    names = [f"s{number}" for number in range(300)]
    await world.open(*names, "unused")
    world.room.max_sessions = 299

    with ExitStack() as connections:
        for name in names:
            connections.enter_context(world.live.connected(ADA, Alias(f"of {name}")))
        await world.room.end_excess()

    assert len(world.held()) == 299
    assert "unused" not in world.held()


async def test_many_that_come_at_once_end_one_each(world: World) -> None:
    world.room.max_sessions = 1000
    await world.open(*(f"s{number}" for number in range(100)))
    world.room.max_sessions = 100
    gates = [world.store.hold() for _ in range(30)]
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number, gate in enumerate(gates):
                tasks.start_soon(world.open, f"n{number}")
                await gate.reached.wait()
            for gate in gates:
                gate.open()

    assert len(world.held()) == 100
    assert world.counters.counts() == {"session_limit": 30}


async def test_in_the_middle_of_a_change_nobody_gives_way(world: World) -> None:
    await world.open("a", "b", "c")

    async with AsyncExitStack() as changes:
        await changes.enter_async_context(world.turns.take(session("a").key))
        await world.open("d")
        assert world.held() == ["a", "c", "d"]
        for name in ("c", "d"):
            await changes.enter_async_context(world.turns.take(session(name).key))
        await world.open("e")
        assert world.held() == ["a", "c", "d", "e"]

    await world.open("f")
    assert world.held() == ["d", "e", "f"]


async def test_who_gives_way_cannot_be_changed_meanwhile(world: World) -> None:
    await world.open("a", "b", "c")
    gate = world.store.hold()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.open, "d")
            await gate.reached.wait()
            assert not world.turns.is_free(session("a").key)
            gate.open()

    assert world.turns.is_free(session("a").key)


async def test_sessions_that_come_at_once_are_counted_before_they_are_there(world: World) -> None:
    await world.open("a", "b")
    gates = [world.store.hold() for _ in range(4)]
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for name, gate in zip("cdef", gates, strict=True):
                tasks.start_soon(world.open, name)
                await gate.reached.wait()
            for gate in gates:
                gate.open()

    assert sorted(world.held()) == ["c", "d", "e", "f"]  # nobody else was left to give way
    await world.room.housekeep()
    assert len(world.held()) == 3


async def test_nobody_gives_way_to_a_session_that_cannot_be_kept(world: World) -> None:
    await world.open("a", "b", "c")
    world.store.fail(StoreUnavailableError("away"))

    with pytest.raises(StoreUnavailableError):
        await world.open("d")

    assert world.held() == ["a", "b", "c"]
    assert world.counters.counts() == {}
    await world.open("d")
    assert world.held() == ["b", "c", "d"]


async def test_a_lower_bound_is_kept_at_the_next_housekeeping(world: World) -> None:
    await world.open("a", "b", "c")
    world.room.max_sessions = 1

    await world.room.housekeep()

    assert world.held() == ["c"]
    assert world.counters.counts() == {"session_limit": 2}


async def test_what_was_loaded_above_the_bound_goes_slice_by_slice() -> None:
    world = World()
    await world.memory.commit([SessionSaved(session(f"s{number}"), float(number)) for number in range(600)])
    await world.ledger.load()

    await world.room.housekeep()

    assert world.held() == ["s597", "s598", "s599"]
    assert [len(commit) for commit in world.store.commits] == [250, 250, 97]


async def test_housekeeping_waits_for_nobody_who_changes_something(world: World) -> None:
    await world.open("a", "b", "c")
    world.room.max_sessions = 1

    async with AsyncExitStack() as changes:
        for name in "abc":
            await changes.enter_async_context(world.turns.take(session(name).key))
        with anyio.fail_after(5):
            await world.room.housekeep()

    assert world.held() == ["a", "b", "c"]


# Endings


def ending(number: int) -> EndedSession:
    return EndedSession(
        session_id=SessionId(f"e{number}"),
        owner=ADA,
        last_directory=Directory("/work"),
        ending=Ending.CLOSED,
        ended_at=1.0,
        seen=float(number),
    )


async def test_of_many_endings_the_first_is_forgotten(world: World) -> None:
    world.ledger.max_ended = 2
    await world.open("a", "b", "c")
    for name in "abc":
        await world.ledger.end([session(name)], Ending.CLOSED)

    assert await world.kept() == (set(), {"b", "c"})
    assert [each.session_id for each in world.ledger.sessions.endings] == ["b", "c"]
    assert EndingForgotten(session("a").key) in world.store.commits[-1]


async def test_endings_that_were_loaded_above_the_bound_are_forgotten_slice_by_slice() -> None:
    world = World()
    world.ledger.max_ended = 10
    await world.memory.commit([SessionEnded(ending(number)) for number in range(1100)])
    await world.ledger.load()

    await world.room.housekeep()

    assert (await world.kept())[1] == {f"e{number}" for number in range(1090, 1100)}
    assert [len(commit) for commit in world.store.commits] == [500, 500, 90]


async def test_endings_are_forgotten_after_their_time_slice_by_slice() -> None:
    world = World()
    await world.memory.commit([SessionEnded(ending(number)) for number in range(1100)])
    await world.ledger.load()

    await world.ledger.forget_ended(before=1050.0)

    assert (await world.kept())[1] == {f"e{number}" for number in range(1050, 1100)}
    assert len(world.ledger.sessions.endings) == 50
    assert len(world.store.commits) == 3


# Bytes


async def weighed(sessions: int, endings: int) -> World:
    """Hold sessions that nobody has used for over an hour."""
    world = World()
    world.clock.advance(HOUR)
    world.room.max_sessions = 10_000
    await world.memory.commit([SessionSaved(session(f"s{number}"), number - 2 * HOUR) for number in range(sessions)])
    await world.memory.commit([SessionEnded(ending(number)) for number in range(endings)])
    await world.ledger.load()
    return world


async def test_a_store_that_is_small_enough_keeps_everything() -> None:
    world = await weighed(sessions=100, endings=100)
    world.room.max_bytes = 1500

    await world.room.housekeep()

    assert world.store.commits == []


async def test_endings_are_forgotten_before_a_session_ends() -> None:
    world = await weighed(sessions=100, endings=100)
    world.room.max_bytes = 1400

    await world.room.housekeep()

    sessions, endings = await world.kept()
    assert len(sessions) == 100
    assert 50 < len(endings) <= 80
    assert "e99" in endings
    assert "e0" not in endings


async def test_then_the_longest_idle_end_and_leave_nothing() -> None:
    world = await weighed(sessions=100, endings=10)
    world.room.max_bytes = 500

    await world.room.housekeep()

    sessions, endings = await world.kept()
    assert 10 * len(sessions) + 5 * len(endings) <= 500
    assert len(sessions) >= 40
    assert "s99" in sessions
    assert endings == set()  # nor do those take room that ended for it
    assert world.counters.counts() == {"session_limit": 100 - len(sessions)}


async def test_no_session_ends_where_something_else_takes_the_room(caplog: pytest.LogCaptureFixture) -> None:
    world = await weighed(sessions=100, endings=100)
    world.store.others, world.room.max_bytes = 1_000_000, 500_000

    await world.room.housekeep()

    assert world.store.commits == []
    assert caplog.messages == ["the store takes 1001500 bytes, and that is not for the sessions that are not in use"]


async def test_where_a_round_frees_nothing_no_other_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await weighed(sessions=100, endings=0)
    world.room.max_bytes = 900

    async def tidy() -> int:
        await checkpoint()
        return 1000

    monkeypatch.setattr(world.store, "tidy", tidy)
    await world.room.housekeep()

    assert 75 <= len(world.held()) < 100


async def test_for_the_sake_of_bytes_nothing_ends_that_is_in_use_or_was_lately() -> None:
    world = await weighed(sessions=100, endings=0)
    await world.open("connected", "young")
    world.ledger.sessions.apply([AliasBound(ADA, Alias("editor"), SessionId("s0"))], seen=0.0)
    world.ledger.sessions.recent["s1"] = world.ledger.sessions.get(ADA, SessionId("s1"))
    world.room.max_bytes = 300

    with world.live.connected(ADA, Alias("editor")):
        await world.room.housekeep()

        assert {"s0", "s1", "connected", "young"} <= set(world.held())
    assert len(world.held()) < 40


async def test_for_the_sake_of_bytes_the_young_do_not_end_instead_of_the_connected(world: World) -> None:
    world.room.max_sessions = 100
    old, young = [f"old{number}" for number in range(10)], [f"young{number}" for number in range(10)]
    await world.open(*old)
    world.clock.advance(HOUR)
    await world.open(*young)
    world.room.max_bytes = 190

    with ExitStack() as connections:
        for name in old:
            connections.enter_context(world.live.connected(ADA, Alias(f"of {name}")))
        await world.room.housekeep()
        assert len(world.held()) == 20


async def test_what_nothing_can_be_done_about_is_not_tried_for_ever() -> None:
    world = await weighed(sessions=1, endings=0)
    world.room.max_bytes = 1

    async with world.turns.take(session("s0").key):
        with anyio.fail_after(5):
            await world.room.housekeep()

    assert world.held() == ["s0"]


async def test_a_store_that_cannot_be_tidied_is_said(caplog: pytest.LogCaptureFixture) -> None:
    world = await weighed(sessions=1, endings=0)
    world.store.is_away, world.room.max_bytes = True, 1

    await world.room.housekeep()

    assert caplog.messages == ["the store's files stay as large as they are: away"]
    assert world.held() == ["s0"]


# Projects


async def test_a_new_project_lets_the_one_seen_longest_ago_be_forgotten_in_the_same_commit(world: World) -> None:
    world.ledger.projects.most = 2
    for name in ("one", "two", "three"):
        await world.ledger.note_project(ADA, place(f"/{name}", project=name))
        world.clock.advance(1)

    assert [known.name for known in world.ledger.projects.known(ADA)] == ["three", "two"]
    assert {seen.project.name for seen in (await world.memory.load()).projects} == {"two", "three"}
    assert ProjectForgotten(ADA, Directory("/one")) in world.store.commits[-1]
