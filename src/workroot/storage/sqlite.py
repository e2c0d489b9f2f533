"""The store on disk: SQLite, off the event loop, one writer.

Memory serves the reads: `load` is for the start. An answer of `commit` means that the changes
are in the file at the store's path and would survive a power failure.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar, cast

import aiosqlite
import anyio

from workroot.errors import StoreUnavailableError
from workroot.storage.commit_queue import CommitQueue
from workroot.storage.database import Database
from workroot.storage.schema import MIGRATIONS

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Sequence

    from workroot.core.changes import Change, StoredState
    from workroot.storage.backup import Backup
    from workroot.storage.health import StoreHealth
    from workroot.storage.schema import Migration

__all__ = ["SqliteStore", "open_sqlite_store"]

_T = TypeVar("_T")


class _DatabaseThread(aiosqlite.Connection):
    """aiosqlite's thread, given whole transactions.

    Statement by statement, a transaction of n statements costs n + 2 trips to the thread and back
    (60 us each), and a cancellation between two of them leaves it open.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection]) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._stopping: list[asyncio.Future[object]] = []

    async def open(self) -> None:
        """Start the thread and open the database in it; neither is left behind if that fails."""
        with anyio.CancelScope(shield=True):  # cancelled half-way, the connection would be nobody's
            try:
                await self
            except BaseException:
                # aiosqlite does not wait for the thread, which would then speak to a loop that is closed.
                await asyncio.gather(*self._stopping)
                raise

    def stop(self) -> asyncio.Future[object] | None:
        """Ask the thread to end; the future is done when it does."""
        stopping = super().stop()
        self._stopping += filter(None, [stopping])
        return stopping

    async def run(self, function: Callable[[], _T]) -> _T:
        """Call *function* in the thread. Cancelling stops the waiting, not the function.

        Raises:
            StoreUnavailableError: the thread has ended.
        """
        if self._connection is None:
            raise StoreUnavailableError("the store is closed: connect again and repeat the call")
        execute = cast("Callable[[Callable[[], _T]], Awaitable[_T]]", self._execute)
        return await execute(function)


class SqliteStore:
    """A `SessionStore` in one SQLite file; made by `open_sqlite_store`."""

    def __init__(self, database: Database, thread: _DatabaseThread, queue: CommitQueue) -> None:
        self._database, self._thread, self._queue = database, thread, queue

    async def load(self) -> StoredState:
        """Return all that is kept.

        Raises:
            StoreUnavailableError: the file cannot be read, or is gone.
        """
        return await self._thread.run(self._database.load)

    async def back_up(self, directory: str, *, version: str) -> Backup:
        """Copy all that is kept into *directory*; changes wait meanwhile.

        Raises:
            StoreUnavailableError: there is no new copy; the text says why.
            RendezvousError: the directory is not this user's alone.
        """
        return await self._thread.run(lambda: self._database.back_up(directory, version))

    async def commit(self, changes: Sequence[Change]) -> None:
        """Keep *changes*, all or none; they are on disk when this returns.

        Raises:
            ChangeRefusedError: as the port says.
            StoreUnavailableError: as the port says; also when too many callers wait.
        """
        await self._queue.put(changes)

    def health(self) -> StoreHealth:
        """Return how it is, without waiting."""
        return self._database.health(waiting=self._queue.waiting)


@asynccontextmanager
async def open_sqlite_store(
    path: str | os.PathLike[str],
    *,
    waiting_callers: int = 1024,
    close_seconds: float = 5.0,
    migrations: Sequence[Migration] = MIGRATIONS,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
) -> AsyncIterator[SqliteStore]:
    """Open the store at *path*, in a directory that exists, for this process alone.

    At the end, what callers already wait for is finished, and the log is moved into the database.

    Args:
        path: the database; `-wal`, `-shm`, `.lock` and, after a migration, `.vN.bak` lie beside it.
        waiting_callers: callers that may wait for a commit; further ones are told to try again.
        close_seconds: how long the end waits for a disk that does not answer.
        migrations: the schema's steps, for tests of those to come.
        factory: what makes the connection, for tests with a disk that fails.

    Raises:
        StoreInUseError: another process has it, or this one has it open already.
        StoreTooNewError: a newer workroot wrote it; it was left untouched.
        StoreUnavailableError: it cannot be used; the message says why and what to do.
    """
    database = Database(path, migrations=migrations, factory=factory)
    thread = _DatabaseThread(database.open)
    await thread.open()
    try:
        queue = CommitQueue(lambda batch: thread.run(lambda: database.write(batch)), capacity=waiting_callers)
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(queue.run)
            try:
                yield SqliteStore(database, thread, queue)
            except Exception as error:  # the task group is our own affair: callers see what they raised
                failure = error
            finally:
                queue.close(within_seconds=close_seconds)
        if failure is not None:
            raise failure
    finally:
        with anyio.move_on_after(close_seconds, shield=True):
            try:
                await thread.run(database.close)
            finally:
                await thread.close()
