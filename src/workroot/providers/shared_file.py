"""One open file for all who use it in this process: opened by the first, kept open for the others.

People open a use of a provider for every call. Opening and closing the file each time would cost them milliseconds
and, of two at the same time, turn one away; so a task of its own holds it until the event loop ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from workroot.providers.contract import DEFAULT_TTL_SECONDS, checked_ttl
from workroot.providers.sqlite import SqliteProvider, SqliteValues

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from workroot.core.ports import Clock
    from workroot.providers.contract import Provider, ProviderFactory

__all__ = ["close_files", "factory"]


class _SharedFile:
    """A file that a task of the event loop which is running holds open.

    Args:
        path: of the file.
        clock: the machine's clocks.
        left: what others have left of it, to be taken back before it is opened.
    """

    def __init__(self, path: str, clock: Clock | None, left: Sequence[_SharedFile]) -> None:
        self._path, self._left = path, left
        self._values = SqliteValues(path, clock=clock, is_awaited=False)
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[SqliteValues] = self._loop.create_future()
        self._finish = asyncio.Event()
        # In a context of its own: it outlives the request that happened to come first.
        self._task = self._loop.create_task(self._hold(), context=contextvars.Context())
        self._task.add_done_callback(self._forget)  # also when it is cancelled before it has begun

    @property
    def is_usable(self) -> bool:
        """Whether it is open, or about to be."""
        return not self._task.done() and not self._finish.is_set()

    async def values(self) -> SqliteValues:
        """Return the values as soon as the file is open; raise what opening it raised."""
        return await asyncio.shield(self._opened)  # one who is cancelled does not cancel it for the others

    @property
    def is_left(self) -> bool:
        """Whether its event loop was closed without ending its tasks, as `asyncio.run` would."""
        return self._loop.is_closed()

    async def take_back(self) -> None:
        """Close the file for an event loop that was closed; called in another."""
        await self._values.abandon()

    async def close(self) -> None:
        """Close the file, and return when it is closed."""
        self._finish.set()
        await asyncio.wait([self._task])

    async def _hold(self) -> None:
        try:
            for left in self._left:
                await left.take_back()
            async with self._values.opened() as values:
                self._opened.set_result(values)
                await self._finish.wait()
        except Exception as error:
            if self._opened.done():
                raise
            self._opened.set_exception(error)
            self._opened.exception()  # whoever asked may have been cancelled: then nobody else looks at it

    def _forget(self, _: object) -> None:
        self._opened.cancel()
        del _files[self._loop, self._path]


_files: dict[tuple[asyncio.AbstractEventLoop, str], _SharedFile] = {}


def factory(
    path: str | os.PathLike[str], *, default_ttl_seconds: float = DEFAULT_TTL_SECONDS, clock: Clock | None = None
) -> ProviderFactory:
    """Return what opens a use of the values in the file at *path*.

    The first use opens the file, in a directory that exists, and it stays open until the event loop ends or
    `close_files` is called. Opening it can raise what `SqliteValues.opened` says.

    Args:
        path: of the file.
        default_ttl_seconds: for how long `Provider.set` keeps a value.
        clock: the machine's clocks; what the first use of a file brings counts for all.

    Raises:
        TimeToLiveError: the default is no time to live.
    """
    checked_ttl(default_ttl_seconds)
    name = os.path.realpath(path)

    @asynccontextmanager
    async def open_sqlite_provider() -> AsyncIterator[Provider]:
        at = (asyncio.get_running_loop(), name)
        while (file := _files.get(at)) is not None and not file.is_usable:
            await file.close()
        if file is None:
            file = _files[at] = _SharedFile(name, clock, _left_of(name))
        yield SqliteProvider(await file.values(), default_ttl_seconds=default_ttl_seconds)

    return open_sqlite_provider


def _left_of(name: str) -> list[_SharedFile]:
    """Return what closed event loops have left of the file, to one caller only: that one has to take it back."""
    left = [at for at, file in tuple(_files.items()) if at[1] == name and file.is_left]
    return [file for at in left if (file := _files.pop(at, None)) is not None]


async def close_files() -> None:
    """Close all files that uses in this event loop have opened, so that another process can have them."""
    here = asyncio.get_running_loop()
    for file in [file for (loop, _), file in tuple(_files.items()) if loop is here]:
        await file.close()
