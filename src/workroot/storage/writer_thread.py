"""The one thread that talks to a database: aiosqlite's, given whole transactions.

Statement by statement, a transaction of n statements costs n + 2 trips to the thread and back (60 us each), and a
cancellation between two of them leaves it open.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar, cast

import aiosqlite
import anyio
import anyio.to_thread

from workroot.errors import StoreUnavailableError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Awaitable, Callable

__all__ = ["WriterThread"]

_T = TypeVar("_T")


class WriterThread(aiosqlite.Connection):
    """A thread, from `open` to `close`.

    Args:
        connector: opens the database; called in the thread.
        is_awaited: the program does not end before the thread. False for one that nobody may be left to end: the
            program then ends as if it were killed, and what was kept is kept.
    """

    def __init__(self, connector: Callable[[], sqlite3.Connection], *, is_awaited: bool = True) -> None:
        super().__init__(connector, iter_chunk_size=64)
        self._thread.daemon = not is_awaited
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

    async def end_with(self, function: Callable[[], object]) -> bool:
        """Call *function* in the thread and end it, from another event loop: its own ended without doing so.

        Returns:
            Whether *function* was called: not if the thread never ran, or died of an answer that it could not give to
            a closed event loop. It has ended then.
        """
        was_called = False

        def call() -> None:
            nonlocal was_called
            was_called = True
            function()

        if self._thread.ident is not None:
            self._tx.put_nowait((None, call))
            super().stop()
            await anyio.to_thread.run_sync(self._thread.join)
        return was_called

    async def run(self, function: Callable[[], _T]) -> _T:
        """Call *function* in the thread. Cancelling stops the waiting, not the function.

        Raises:
            StoreUnavailableError: the thread has ended.
        """
        if self._connection is None:
            raise StoreUnavailableError("the store is closed: connect again and repeat the call")
        execute = cast("Callable[[Callable[[], _T]], Awaitable[_T]]", self._execute)
        return await execute(function)
