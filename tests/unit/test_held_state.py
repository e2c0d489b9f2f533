"""All that is held, as a store that lost its file is told of it, and what such a store turns out to hold."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fakes import DAY, HOUR, HeldStore, ManualClock, place
from workroot.core.changes import AliasBound, IdleMark, ProjectSeen, StoredState
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.identities import Identities
from workroot.core.projects import Directory, KnownId, KnownProject, Place, ProjectId, ProjectKey
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, PinnedSign, SessionContext, SessionId
from workroot.errors import ClosedSessionError, StoreUnavailableError
from workroot.session_ledger import SessionLedger
from workroot.storage.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from workroot.core.changes import Change
    from workroot.core.ports import SessionStore

ADA, EVE = Owner("uid:1000"), Owner("uid:1001", "other")
ONE, TWO, THREE = SessionId("wr_one"), SessionId("wr_two"), SessionId("wr_three")
EDITOR, BROWSER = Alias("editor"), Alias("browser")


class AskingStore(HeldStore):
    """A store that can ask who holds what it keeps."""

    snapshot: Callable[[], StoredState] | None = None
    adopt: Callable[[StoredState], None] | None = None

    def attach(self, snapshot: Callable[[], StoredState], adopt: Callable[[StoredState], None]) -> None:
        self.snapshot, self.adopt = snapshot, adopt

    def held(self) -> StoredState:
        assert self.snapshot is not None
        return self.snapshot()


class LookingStore(AskingStore):
    """Looks at what is held when it answers, and when the one that it answers has taken its next step."""

    def __init__(self, store: SessionStore) -> None:
        super().__init__(store)
        self.sessions_held: list[int] = []

    async def commit(self, changes: Sequence[Change]) -> None:
        await super().commit(changes)
        self._look()
        asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        self.sessions_held.append(len(self.held().sessions))


@pytest.fixture
def store() -> AskingStore:
    return AskingStore(MemoryStore())


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def ledger(store: AskingStore, clock: ManualClock) -> SessionLedger:
    ledger = SessionLedger(store, clock, identities=Identities())
    await ledger.load()
    return ledger


def known_id(root: str) -> KnownId:
    return KnownId(key=ProjectKey("", root), project_id=ProjectId(f"id of {root}"), name="shop", root=Directory(root))


def shop(root: str) -> Place:
    seen = place(root, project="shop")
    assert seen.project is not None
    known = known_id(root)
    return replace(seen, project=replace(seen.project, project_id=known.project_id), key=known.key, known_id=known)


def session(session_id: SessionId, owner: Owner = ADA, *, directory: str = "/work/app") -> SessionContext:
    return SessionContext(
        session_id=session_id,
        owner=owner,
        working_directory=Directory(directory),
        given_directory=directory,
        set_at=1_600_000_000.0,
        last_used=1_600_000_000.0,
    )


def rows(state: StoredState) -> dict[str, Any]:
    """Return what a state says, in no order, without where the idle clock stands."""
    return {
        "namespace": state.namespace,
        "sessions": {each.key: each for each in state.sessions},
        "seen": dict(state.seen),
        "ended": {each.key: each for each in state.ended},
        "aliases": set(state.aliases),
        "projects": set(state.projects),
        "project_ids": set(state.project_ids),
        "connections": set(state.connections),
        "ended_aliases": set(state.ended_aliases),
    }


async def work(ledger: SessionLedger, clock: ManualClock) -> None:
    """Do a little of everything."""
    signs = (PinnedSign("roots: the first one", "/work/app", agreed=True),)
    await ledger.move(ADA, ONE, shop("/work/app"), signs=signs, alias=EDITOR)
    clock.advance(1)
    await ledger.move(EVE, TWO, place("/work/bare"), signs=(), alias=EDITOR)
    clock.advance(1)
    await ledger.move(ADA, THREE, place("/work/bare"), signs=())
    await ledger.end([ledger.sessions.get(ADA, THREE)], Ending.CLOSED)
    await ledger.connections.subscribe(ADA, EDITOR, "workroot://projects", is_resumable=True)
    await ledger.connections.subscribe(ADA, BROWSER, "workroot://projects", is_resumable=True)
    await ledger.connections.end(ADA, BROWSER)
    clock.advance(1)
    ledger.touch(ledger.sessions.get(ADA, ONE))
    await ledger.end_window()


# What is held


async def test_what_is_held_is_what_is_kept(store: AskingStore, ledger: SessionLedger, clock: ManualClock) -> None:
    await work(ledger, clock)

    held, kept = store.held(), await store.load()

    assert rows(held) == rows(kept)
    assert all(rows(held).values())


async def test_what_is_held_is_all_that_another_needs_to_go_on(
    store: AskingStore, ledger: SessionLedger, clock: ManualClock
) -> None:
    await work(ledger, clock)

    after = SessionLedger(AskingStore(MemoryStore()), clock, store.held(), Identities())
    await after.load()

    assert rows(after.snapshot()) == rows(store.held())
    assert after.idle.now() == ledger.idle.now()


async def test_it_is_told_who_holds_what_is_kept_once_that_is_loaded(store: AskingStore, clock: ManualClock) -> None:
    ledger = SessionLedger(store, clock)
    assert store.snapshot is None

    await ledger.load()

    assert rows(store.held()) == rows(await store.load())


async def test_what_was_kept_is_held_in_the_step_in_which_the_store_answers(clock: ManualClock) -> None:
    """Whoever writes a lost file anew asks between two commits: nothing that was answered may be missing."""
    store = LookingStore(MemoryStore())
    ledger = SessionLedger(store, clock)
    await ledger.load()

    await ledger.move(ADA, ONE, place("/work/app"), signs=())

    assert store.sessions_held == [0, 1]


async def test_nothing_of_a_commit_that_failed_is_held(store: AskingStore, ledger: SessionLedger) -> None:
    before = rows(store.held())
    store.fail(StoreUnavailableError("the disk is full"))

    with pytest.raises(StoreUnavailableError):
        await ledger.move(ADA, ONE, shop("/work/app"), signs=(), alias=EDITOR)

    assert rows(store.held()) == before


# What a store turns out to hold


def mark_of(clock: ManualClock) -> IdleMark:
    """Return what a file says whose daemon ended a day ago, on an idle clock of its own."""
    return IdleMark(90_000.0, clock.wall() - DAY, clock.since_boot() - DAY)


async def test_what_is_found_in_a_file_is_held_beside_what_was_held(
    store: AskingStore, ledger: SessionLedger, clock: ManualClock
) -> None:
    await work(ledger, clock)
    clock.advance(2 * DAY)
    before = rows(store.held())
    theirs = session(SessionId("wr_theirs"), directory="/work/found")
    gone = EndedSession(
        session_id=SessionId("wr_gone"),
        owner=ADA,
        last_directory=Directory("/work/app"),
        ending=Ending.EXPIRED,
        ended_at=5.0,
        seen=88_000.0,
    )
    seen = ProjectSeen(
        ADA,
        KnownProject(
            project_id=ProjectId("found"), name="found", root=Directory("/work/found"), worktree_of=None, seen_at=5.0
        ),
    )
    connection = KeptConnection(
        owner=EVE, alias=EDITOR, subscriptions=frozenset({"x"}), is_resumable=True, last_used=5.0, seen=89_000.0
    )
    ended = EndedAlias(EVE, BROWSER, 5.0, 90_000.0)

    ledger.adopt(
        StoredState(
            namespace="theirs",
            idle_mark=mark_of(clock),
            sessions=(theirs,),
            seen={theirs.key: 89_000.0},
            ended=(gone,),
            aliases=(AliasBound(ADA, BROWSER, theirs.session_id),),
            projects=(seen,),
            project_ids=(known_id("/work/found"),),
            connections=(connection,),
            ended_aliases=(ended,),
        )
    )

    after = ledger.snapshot()
    assert theirs in after.sessions
    assert AliasBound(ADA, BROWSER, theirs.session_id) in after.aliases
    assert seen in after.projects
    assert known_id("/work/found") in after.project_ids
    now = ledger.idle.now()  # a day after what the file says that its daemon ended at
    assert replace(gone, seen=now - DAY - 2_000) in after.ended
    assert replace(connection, seen=now - DAY - 1_000) in after.connections
    assert replace(ended, seen=now - DAY) in after.ended_aliases
    for name in ("aliases", "projects", "project_ids", "connections", "ended_aliases"):
        assert before[name] < rows(after)[name]
    assert ledger.sessions.get(ADA, ONE) in after.sessions
    assert after.namespace == "theirs", "ids went on deriving from it, and it is what the file has"


async def test_a_session_that_is_found_is_as_long_idle_as_its_file_says(
    ledger: SessionLedger, clock: ManualClock
) -> None:
    clock.advance(2 * DAY)
    await ledger.move(ADA, ONE, place("/work/app"), signs=())
    theirs = session(TWO)

    ledger.adopt(
        StoredState(
            namespace="theirs", idle_mark=mark_of(clock), sessions=(theirs,), seen={theirs.key: 90_000.0 - HOUR}
        )
    )

    now = ledger.idle.now()
    assert ledger.sessions.seen(theirs.key) == pytest.approx(now - DAY - HOUR)
    assert list(ledger.sessions.idle(before=now - DAY)) == [theirs]
    assert ledger.sessions.all() == [theirs, ledger.sessions.get(ADA, ONE)]


async def test_what_is_held_stays_whatever_a_file_says_of_it(
    store: AskingStore, ledger: SessionLedger, clock: ManualClock
) -> None:
    await work(ledger, clock)
    before = rows(store.held())
    over = EndedSession(session_id=ONE, owner=ADA, last_directory=Directory("/x"), ending=Ending.EXPIRED, ended_at=5.0)

    ledger.adopt(
        StoredState(
            namespace="theirs",
            idle_mark=mark_of(clock),
            sessions=(session(ONE, directory="/x"), session(THREE)),
            seen={session(ONE).key: 1.0, session(THREE).key: 1.0},
            ended=(over,),
            aliases=(AliasBound(ADA, EDITOR, THREE), AliasBound(ADA, BROWSER, THREE)),
            projects=tuple(replace(each, project=replace(each.project, name="x")) for each in store.held().projects),
            project_ids=(replace(known_id("/work/app"), name="x"),),
            connections=tuple(replace(each, log_level="debug") for each in store.held().connections),
            ended_aliases=(EndedAlias(ADA, EDITOR, 5.0), EndedAlias(ADA, BROWSER, 5.0)),
        )
    )

    assert rows(store.held()) == before | {"namespace": "theirs"}
    with pytest.raises(ClosedSessionError):
        ledger.sessions.get(ADA, THREE)
