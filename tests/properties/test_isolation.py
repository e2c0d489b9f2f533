"""Whatever the interleaving: a client's session shows what that client did to it, and nothing of anybody else's.

Several clients run at the same time, in two sandboxes with the same ids and connection names. Each
knows what it did; how often a look at a directory and a commit yield to the others is drawn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import HOUR, FakePlaces, ManualClock, place
from workroot.core.changes import Change, StoredState
from workroot.core.projects import Place
from workroot.core.sessions import Alias, Owner, SessionContext
from workroot.core.signs import Hint, Signs, Source
from workroot.errors import ClosedSessionError, ExpiredSessionError, UnknownSessionError
from workroot.session_context import SessionContextManager
from workroot.storage.memory import MemoryStore

ADA, EVE, ADA_ELSEWHERE = Owner("uid:1000"), Owner("uid:1001"), Owner("uid:1000", "other")
CLIENTS = [
    (ADA, "one", "editor", "/a1"),
    (ADA, "two", "terminal", "/a2"),
    (EVE, "three", "editor", "/e3"),
    (ADA_ELSEWHERE, "one", "editor", "/o1"),
    (ADA_ELSEWHERE, "three", "terminal", "/o3"),
]
ACTIONS = ["set", "get", "resolve", "enter", "resolve default", "enter default", "resolve signs", "pry", "close"]


class Yielding:
    """Yields to other tasks as often as was drawn, over and over."""

    def __init__(self, steps: Sequence[int]) -> None:
        self._steps = self._again(steps)

    @staticmethod
    def _again(steps: Sequence[int]) -> Iterator[int]:
        while True:
            yield from steps

    async def __call__(self) -> None:
        for _ in range(next(self._steps)):
            await checkpoint()


class YieldingPlaces(FakePlaces):
    """Places that answer after some steps."""

    def __init__(self, pause: Yielding) -> None:
        directories = [f"{top}/{name}" for _, _, _, top in CLIENTS for name in "xyz"]
        super().__init__({each: place(each, project=each) for each in directories})
        self._pause = pause

    async def find(self, directory: str) -> Place:
        await self._pause()
        return await super().find(directory)


class YieldingStore(MemoryStore):
    """A store that keeps after some steps, and answers after some more."""

    def __init__(self, pause: Yielding) -> None:
        super().__init__()
        self._pause = pause

    async def load(self) -> StoredState:
        await self._pause()
        return await super().load()

    async def commit(self, changes: Sequence[Change]) -> None:
        await self._pause()
        await super().commit(changes)
        await self._pause()


@dataclass
class Client:
    """One client, and what it did so far."""

    manager: SessionContextManager
    owner: Owner
    session_id: str
    alias: Alias
    top: str
    directory: str | None = None
    revision: int = 0
    ended: type[Exception] | None = None
    default_directory: str | None = None
    default_ids: list[str] = field(default_factory=list)

    async def run(self, actions: list[tuple[str, str]]) -> None:
        for action, name in actions:
            directory = f"{self.top}/{name}"
            if action == "pry":
                await self.pry(name)
            elif action == "resolve signs":
                hint = Hint(Source.CONNECTOR, "PWD", directory)
                resolution = await self.manager.resolve(self.owner, Signs(hints=(hint,)))
                assert resolution.session is None
                assert resolution.place is not None
                assert resolution.place.directory == directory
            elif "default" in action:
                await self.act_by_alias(action, directory)
            else:
                await self.act_by_handle(action, directory)

    async def act_by_handle(self, action: str, directory: str) -> None:
        if self.directory is None and action != "set":
            return
        ended: ClosedSessionError | ExpiredSessionError | None = None
        try:
            await self.try_by_handle(action, directory)
        except (ClosedSessionError, ExpiredSessionError) as error:
            ended = error
        if ended is not None:
            # Nobody but this client closes it; the sweeper may have ended it at any time.
            assert self.ended is type(ended) or (self.ended is None and isinstance(ended, ExpiredSessionError))
            assert ended.last_directory == self.directory
            self.ended = type(ended)
        elif action == "close":
            self.ended = ClosedSessionError

    async def try_by_handle(self, action: str, directory: str) -> None:
        manager, owner, session_id = self.manager, self.owner, self.session_id
        if action == "set":
            session = await manager.set_working_directory(session_id, directory, owner=owner)
            self.directory = directory
        elif action == "enter":
            entered = await manager.enter(owner, Signs(session_id=session_id), directory)
            assert entered.before is not None
            assert entered.before.working_directory == self.directory
            assert entered.resolution.session is not None
            session, self.directory = entered.resolution.session, directory
        elif action == "close":
            ended = await manager.close_session(session_id, owner=owner)
            assert ended.last_directory == self.directory
            return
        elif action == "get":
            session = manager.get_session(session_id, owner=owner)
            assert session.revision == self.revision
        else:
            resolution = await manager.resolve(owner, Signs(session_id=session_id))
            assert resolution.session is not None
            session = resolution.session
            assert resolution.place is not None
            assert resolution.place.directory == session.working_directory
            assert session.revision == self.revision
        assert self.ended is None
        self.revision += action in ("set", "enter")
        assert session.owner == owner
        assert session.revision == self.revision
        assert session.working_directory == session.project_root == self.directory
        assert session.project_id == f"id-of-{self.directory}"

    async def act_by_alias(self, action: str, directory: str) -> None:
        signs = Signs(alias=self.alias)
        if action == "resolve default":
            session = (await self.manager.resolve(self.owner, signs)).session
            if session is not None:
                assert session.session_id == self.default_ids[-1]
                assert session.working_directory == self.default_directory
            return
        entered = await self.manager.enter(self.owner, signs, directory)
        session = entered.resolution.session
        assert session is not None
        if entered.before is None:
            assert session.session_id not in self.default_ids
            self.default_ids.append(session.session_id)
        else:
            assert session.session_id == self.default_ids[-1]
            assert entered.before.working_directory == self.default_directory
        assert session.working_directory == directory
        self.default_directory = directory

    async def pry(self, name: str) -> None:
        """Try somebody else's handle in every way that opens nothing."""
        strangers = {theirs for owner, theirs, _, _ in CLIENTS if owner != self.owner} - {
            ours for owner, ours, _, _ in CLIENTS if owner == self.owner
        }
        for theirs in strangers:
            for call in (
                self.manager.resolve(self.owner, Signs(meta_session=theirs)),
                self.manager.enter(self.owner, Signs(session_id=theirs), f"{self.top}/{name}"),
                self.manager.close_session(theirs, owner=self.owner),
            ):
                try:
                    await call
                except UnknownSessionError:
                    continue
                raise AssertionError(f"{self.owner} could use {theirs}")
            assert await self.manager.get_working_directory(theirs, owner=self.owner) is None


actions = st.lists(st.tuples(st.sampled_from(ACTIONS), st.sampled_from("xyz")), max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    scripts=st.tuples(*[actions for _ in CLIENTS]),
    sweeps=st.lists(st.integers(0, 30), max_size=4),
    steps=st.lists(st.integers(0, 4), min_size=1, max_size=12),
)
@pytest.mark.row("S15")
def test_nobody_ever_sees_or_moves_anybody_elses_session(
    scripts: tuple[list[tuple[str, str]], ...], sweeps: list[int], steps: list[int]
) -> None:
    async def run() -> None:
        pause, clock = Yielding(steps), ManualClock()
        store, places = YieldingStore(pause), YieldingPlaces(pause)
        manager = SessionContextManager(store, places, clock=clock)
        await manager.start()
        clients = [Client(manager, owner, name, Alias(alias), top) for owner, name, alias, top in CLIENTS]

        async def sweep() -> None:
            for hours in sweeps:
                clock.advance(hours * HOUR)
                await manager.sweep()

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for client, script in zip(clients, scripts, strict=True):
                    tasks.start_soon(client.run, script)
                tasks.start_soon(sweep)
        await manager.stop()
        assert len(manager._turns) == 0

        after_restart = SessionContextManager(store, places, clock=clock)
        await after_restart.start()
        for client in clients:
            client.manager = after_restart
            await client.run([("get", "x"), ("resolve", "x"), ("resolve default", "x"), ("pry", "x")])
        await after_restart.stop()

    asyncio.run(run())


@settings(max_examples=100, deadline=None)
@given(
    moves=st.lists(st.tuples(st.booleans(), st.sampled_from("xyz")), min_size=2, max_size=6),
    close_after=st.none() | st.integers(0, 10),
    steps=st.lists(st.integers(0, 4), min_size=1, max_size=12),
)
def test_changes_of_one_session_at_the_same_time_each_make_a_revision_of_their_own(
    moves: list[tuple[bool, str]], close_after: int | None, steps: list[int]
) -> None:
    """By its handle and by the client's own id of the conversation: it is one session all the same, until it ends."""

    async def run() -> None:
        pause = Yielding(steps)
        store = YieldingStore(pause)
        manager = SessionContextManager(
            store, YieldingPlaces(pause), clock=ManualClock(), state=StoredState(namespace="n")
        )
        await manager.start()
        here = Alias("threadId:1")
        first = (await manager.enter(ADA, Signs(conversation=here), "/a1/x")).resolution.session
        assert first is not None
        acknowledged: list[SessionContext] = []

        async def move(by_handle: bool, name: str) -> None:
            signs = Signs(session_id=first.session_id) if by_handle else Signs(conversation=here)
            with suppress(ClosedSessionError):
                session = (await manager.enter(ADA, signs, f"/a1/{name}")).resolution.session
                assert session is not None
                assert session.working_directory == session.project_root == f"/a1/{name}"
                acknowledged.append(session)

        async def close() -> None:
            if close_after is not None:
                for _ in range(close_after):
                    await checkpoint()
                await manager.close_session(first.session_id, owner=ADA)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                for by_handle, name in moves:
                    tasks.start_soon(move, by_handle, name)
                tasks.start_soon(close)

        for session_id in {session.session_id for session in acknowledged}:
            revisions = [each.revision for each in acknowledged if each.session_id == session_id]
            assert revisions == list(range(first.revision + 1, 100))[: len(revisions)] or (
                session_id != first.session_id and revisions == list(range(1, len(revisions) + 1))
            )
        assert len({session.session_id for session in acknowledged} - {first.session_id}) <= 1
        shown = manager.all_sessions()
        assert list((await store.load()).sessions) == shown
        assert len(shown) <= 1
        if shown and acknowledged:
            assert shown[0] == max(acknowledged, key=lambda each: (each.session_id != first.session_id, each.revision))
        await manager.stop()

    asyncio.run(run())
