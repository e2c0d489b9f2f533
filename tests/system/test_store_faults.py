"""Every call of the storage interface fails in turn, once and for ever; the answers have to be true all the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import anyio
import pytest
from failing_connections import Fault, Held

from workroot.core.allocations import AllocatedSession
from workroot.core.changes import (
    AliasBound,
    AllocationSaved,
    AllocationTouched,
    Change,
    ProjectSeen,
    SessionEnded,
    SessionSaved,
    SessionTouched,
    StoredState,
)
from workroot.core.projects import Directory, KnownProject, ProjectId
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, SessionContext, SessionId
from workroot.errors import StoreUnavailableError
from workroot.storage.sqlite import SqliteStore, open_sqlite_store

if TYPE_CHECKING:
    from pathlib import Path

ADA = Owner("uid:1000")
BEFORE = SessionContext(
    session_id=SessionId("wr_before"),
    owner=ADA,
    working_directory=Directory("/home/ada/app"),
    given_directory="/home/ada/app",
    set_at=1.0,
    last_used=1.0,
)
LENT = AllocatedSession(
    session_id=SessionId("lent"), owner=ADA, user_id="bob", created_at=1.0, deadline=9.0, last_accessed=1.0
)

FAULTS = {
    "EIO reading": sqlite3.SQLITE_IOERR_READ,
    "EIO writing": sqlite3.SQLITE_IOERR_WRITE,
    "EIO syncing": sqlite3.SQLITE_IOERR_FSYNC,
    "EFBIG": sqlite3.SQLITE_IOERR_TRUNCATE,
    "ENOSPC": sqlite3.SQLITE_FULL,
    "BUSY": sqlite3.SQLITE_BUSY,
    "IOERR": sqlite3.SQLITE_IOERR,
    "CORRUPT": sqlite3.SQLITE_CORRUPT,
    "NOTADB": sqlite3.SQLITE_NOTADB,
    "READONLY": sqlite3.SQLITE_READONLY,
    "CANTOPEN": sqlite3.SQLITE_CANTOPEN,
}
NEVER_LATE = ("ENOSPC", "BUSY")  # both are noticed before the frame that makes a commit is in the log
SPOILT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def named(name: str) -> SessionContext:
    return replace(BEFORE, session_id=SessionId(f"wr_{name}"))


def ended(session: SessionContext) -> EndedSession:
    return EndedSession(
        session_id=session.session_id,
        owner=session.owner,
        last_directory=session.working_directory,
        ending=Ending.CLOSED,
        ended_at=2.0,
    )


@dataclass
class Run:
    """What came of a scenario.

    Attributes:
        held: what was acknowledged.
        refused: calls that were not.
        aside: files that were moved out of the way.
    """

    held: StoredState | None = None
    refused: list[StoreUnavailableError] = field(default_factory=list)
    aside: tuple[str, ...] = ()

    async def attempt(self, store: SqliteStore, held: Held, *changes: Change) -> None:
        try:
            await store.commit(changes)
        except StoreUnavailableError as error:
            self.refused.append(error)
            assert store.health().is_refusing
            assert store.health().memory_only_because
        else:
            held.apply(changes)


async def scenario(path: Path, fault: Fault) -> Run:
    """Live through a daemon's life with *fault* in it; it is over before the last change and the end."""
    run = Run()
    with closing(Held()) as held:
        async with open_sqlite_store(
            path, factory=fault.factory(), may_keep_in_memory=True, sleep=lambda _: anyio.sleep_forever()
        ) as store:
            held.load(await loaded(store))
            store.attach(held.snapshot, held.adopt)
            first, second = named("first"), named("second")
            await run.attempt(store, held, SessionSaved(first, 1.0), AliasBound(ADA, Alias("one"), first.session_id))
            await run.attempt(store, held, SessionSaved(replace(first, given_directory="/moved", revision=1)))
            await run.attempt(store, held, SessionTouched(BEFORE.key, 5.0, 5.0))
            await run.attempt(store, held, SessionSaved(second), AllocationSaved(LENT))
            async with anyio.create_task_group() as together:
                for number in range(5):
                    together.start_soon(run.attempt, store, held, SessionSaved(named(f"together_{number}")))
            await run.attempt(
                store,
                held,
                ProjectSeen(
                    ADA,
                    KnownProject(
                        project_id=ProjectId("p"), name="p", root=Directory("/p"), worktree_of=None, seen_at=1.0
                    ),
                ),
            )
            await run.attempt(store, held, SessionEnded(ended(BEFORE)), AllocationTouched(LENT.key, 5.0))
            try:
                await store.back_up(str(path.parent / "backups"), version="1")
                await store.tidy()
            except StoreUnavailableError as error:
                run.refused.append(error)

            fault.is_over = True
            await store.retry()
            assert store.health().memory_only_since is None
            assert store.health().problem is None
            await store.commit(last := [SessionSaved(named("last"))])
            held.apply(last)
            run.held, run.aside = held.snapshot(), store.health().moved_aside
    return run


async def loaded(store: SqliteStore) -> StoredState:
    """Load, and once more if that failed: a daemon that cannot load does not start, and the next one can."""
    try:
        return await store.load()
    except StoreUnavailableError:
        return await store.load()


def canonical(state: StoredState) -> StoredState:
    """Return *state* with everything in one order."""
    return replace(
        state,
        sessions=tuple(sorted(state.sessions, key=lambda each: each.key)),
        ended=tuple(sorted(state.ended, key=lambda each: each.key)),
    )


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        (kind, mode)
        for kind in FAULTS
        for mode in ("once", "for ever", "late")
        if mode != "late" or kind not in NEVER_LATE
    ],
)
async def test_whichever_call_fails_the_answers_are_true_and_it_heals(
    tmp_path: Path, kind: str, mode: str, *, is_full: bool
) -> None:
    code = FAULTS[kind]
    step, start = (1, 1) if is_full else (10, 1 + list(FAULTS).index(kind) % 10)
    runs = 0
    for nth in range(start, 2_000, step):
        path = tmp_path / f"{nth}" / "state.db"
        path.parent.mkdir(mode=0o700)
        async with open_sqlite_store(path) as store:
            await store.commit([SessionSaved(BEFORE)])
        fault = Fault(nth, code, for_ever=mode == "for ever", is_late=mode == "late")

        with anyio.fail_after(30):
            run = await scenario(path, fault)

        where = f"call {nth}, {kind}, {mode}: {fault.hits[:3]}"
        async with open_sqlite_store(path) as store:
            assert run.held is not None, where
            assert canonical(await store.load()) == canonical(run.held), where
            assert not run.aside or code in SPOILT, where
        names = {each.session_id for each in run.held.sessions} | {each.session_id for each in run.held.ended}
        assert BEFORE.session_id in names or run.aside, where
        if not fault.hits:
            assert not run.refused
            assert runs
            return
        runs = nth
    pytest.fail("every run met its fault: the loop has not seen the last call")
