"""The store on disk: SQLite, off the event loop, one writer.

Memory serves the reads: `load` is for the start. An answer of `commit` means that the changes are in the file at the
store's path and would survive a power failure; or, where the store may keep them in memory because the file could
not be written from the start, `health` says since when and why.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

import anyio

from workroot.errors import StoreUnavailableError
from workroot.storage.commit_queue import CommitQueue
from workroot.storage.database import Database, HeldStateNeededError
from workroot.storage.schema import MIGRATIONS
from workroot.storage.writer_thread import WriterThread

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

    from workroot.core.changes import Change, StoredState
    from workroot.errors import StoreError
    from workroot.storage.backup import Backup
    from workroot.storage.health import StoreHealth, Trouble
    from workroot.storage.schema import Migration

__all__ = ["SqliteStore", "open_sqlite_store"]

_RETRY_SECONDS = 60.0


class _Holder(NamedTuple):
    """Whoever is attached."""

    snapshot: Callable[[], StoredState]
    adopt: Callable[[StoredState], None]


class SqliteStore:
    """A `SessionStore` in one SQLite file; made by `open_sqlite_store`."""

    def __init__(self, database: Database, thread: WriterThread, *, waiting_callers: int) -> None:
        self._database, self._thread = database, thread
        self._queue = CommitQueue(self._write, capacity=waiting_callers)
        self._holder: _Holder | None = None
        self._is_tidying = False
        self._in_trouble = anyio.Event()

    async def load(self) -> StoredState:
        """Return all that is kept.

        Raises:
            StoreUnavailableError: the file cannot be read, or is gone.
        """
        state = await self._thread.run(self._database.load)
        # The thread holds its last result until it has another: freed with the next commit, that of 100,000 sessions
        # would hold up the event loop for 7 ms.
        await self._thread.run(lambda: None)
        return state

    def commit(self, changes: Sequence[Change]) -> Coroutine[None, None, None]:
        """Keep *changes*, all or none; they are on disk when this returns.

        Raises:
            ChangeRefusedError: as the port says.
            StoreUnavailableError: as the port says; also when too many callers wait.
        """
        if self._is_tidying:
            self._database.tidying.make()
        return self._queue.put(changes)

    def attach(self, snapshot: Callable[[], StoredState], adopt: Callable[[StoredState], None]) -> None:
        """Take who holds all that is kept, as the port says."""
        self._holder = _Holder(snapshot, adopt)

    async def retry(self) -> None:
        """See whether the file can be written by now, if it could not.

        Raises:
            StoreUnavailableError: it cannot.
        """
        if self._database.trouble is not None:
            await self._queue.put(())

    async def back_up(self, directory: str, *, version: str) -> Backup:
        """Copy all that is kept into *directory*; changes wait meanwhile.

        Raises:
            StoreUnavailableError: there is no new copy; the text says why.
            RendezvousError: the directory is not this user's alone.
        """
        return await self._thread.run(lambda: self._database.back_up(directory, version))

    async def tidy(self) -> int:
        """Give back room on the disk, unless callers wait or come; return how many bytes what is kept takes.

        Raises:
            StoreUnavailableError: it cannot be done now; what is kept is as it was.
        """
        await self.retry()
        self._is_tidying = True
        self._database.tidying.expect()
        try:
            if self._queue.waiting:
                self._database.tidying.make()
            return await self._thread.run(self._database.tidy)
        finally:
            self._is_tidying = False

    @property
    def trouble(self) -> Trouble | None:
        """That nothing that is kept reaches the disk now, or None."""
        return self._database.trouble

    def health(self) -> StoreHealth:
        """Return how it is, without waiting."""
        return self._database.health(waiting=self._queue.waiting)

    @asynccontextmanager
    async def running(
        self, *, close_seconds: float, sleep: Callable[[float], Awaitable[object]]
    ) -> AsyncIterator[SqliteStore]:
        """Serve callers; at the end, finish what they wait for."""
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._queue.run)
            tasks.start_soon(self._keep_trying, retrying := anyio.CancelScope(), sleep)
            try:
                yield self
            except Exception as error:  # the task group is our own affair: callers see what they raised
                failure = error
            finally:
                retrying.cancel()
                self._queue.close(within_seconds=close_seconds)
        if failure is not None:
            raise failure

    async def try_once_more(self) -> None:
        """Do for a file that was lost or could not be written what the next commit would do, since there is none."""
        if not self._queue.was_given_up:
            await self._write([()])

    async def _keep_trying(self, until: anyio.CancelScope, sleep: Callable[[float], Awaitable[object]]) -> None:
        with until:
            while True:
                while self._database.trouble is None:
                    self._in_trouble = anyio.Event()
                    await self._in_trouble.wait()
                await sleep(_RETRY_SECONDS)
                with suppress(StoreUnavailableError):
                    await self.retry()

    async def _write(self, batch: list[Sequence[Change]]) -> Sequence[StoreError | None]:
        if not all(batch):  # somebody asks for nothing but another try
            await self._leave_memory()
        try:
            return await self._thread.run(lambda: self._database.write(batch))
        except HeldStateNeededError:
            # Whoever was answered has gone on by now and shows what was kept: their steps of the loop were due before
            # this one, which the thread asked for only after they were answered.
            held = self._holder and self._holder.snapshot()
            return await self._thread.run(lambda: self._database.mend_and_write(batch, held))
        finally:
            self._in_trouble.set()

    async def _leave_memory(self) -> None:
        unknown = await self._thread.run(self._database.leave_memory)
        if unknown is not None and self._holder is not None:
            self._holder.adopt(unknown)


@asynccontextmanager
async def open_sqlite_store(
    path: str | os.PathLike[str],
    *,
    waiting_callers: int = 1024,
    close_seconds: float = 5.0,
    may_keep_in_memory: bool = False,
    migrations: Sequence[Migration] = MIGRATIONS,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
    sleep: Callable[[float], Awaitable[object]] = anyio.sleep,
) -> AsyncIterator[SqliteStore]:
    """Open the store at *path*, in a directory that exists, for this process alone.

    At the end, what callers already wait for is finished, and the log is moved into the database.

    Args:
        path: the database; `-wal`, `-shm`, `.lock` and, after a migration, `.vN.bak` lie beside it.
        waiting_callers: callers that may wait for a commit; further ones are told to try again.
        close_seconds: how long the end waits for a disk that does not answer.
        may_keep_in_memory: where the file cannot be written now, keep changes in memory until it can, and say so
            in `SqliteStore.health`; else that is an error.
        migrations: the schema's steps, for tests of those to come.
        factory: what makes the connection, for tests with a disk that fails.
        sleep: waits between two looks whether a file that could not be written can be by now.

    Raises:
        StoreInUseError: another process has it, or this one has it open already.
        StoreTooNewError: a newer workroot wrote it; it was left untouched.
        StoreUnavailableError: it cannot be used; the message says why and what to do.
    """
    database = Database(path, migrations=migrations, factory=factory, may_keep_in_memory=may_keep_in_memory)
    thread = WriterThread(database.open)
    await thread.open()
    store = SqliteStore(database, thread, waiting_callers=waiting_callers)
    try:
        async with store.running(close_seconds=close_seconds, sleep=sleep):
            yield store
    finally:
        with anyio.move_on_after(close_seconds, shield=True):
            try:
                await store.try_once_more()
            finally:
                try:
                    await thread.run(database.close)
                finally:
                    await thread.close()
