"""Values in a file of their own: on the disk when they are acknowledged, there again after a restart.

Memory serves the reads. Callers that write at the same time share a commit, each is answered after it, and a value is
shown only then. When there is no room, a new value is refused: what was acknowledged is kept until its time is over.

Deadlines are counted on the idle clock (`workroot.idle_clock`), as those of sessions are: on through a restart by as
much as every clock of the machine agrees has passed. So no wrong clock ends a value early; what it costs is that time
in which the machine was off or asleep does not count.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from workroot.clock import SystemClock
from workroot.core.changes import StoredState
from workroot.errors import ProviderFullError, StoreError, StoreUnavailableError
from workroot.idle_clock import IdleClock
from workroot.providers.contract import DEFAULT_TTL_SECONDS, as_plain_text, checked_entry, checked_key, checked_ttl
from workroot.providers.memory import MAX_BYTES, MAX_VALUES
from workroot.providers.sqlite_file import ValuesFile
from workroot.providers.timed_values import TimedValue, TimedValues
from workroot.storage.commit_queue import CommitQueue
from workroot.storage.writer_thread import WriterThread

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Sequence

    from workroot.core.ports import Clock

__all__ = ["SqliteProvider", "SqliteValues"]

_SWEPT_AT_ONCE = 1024
_WAITING_CALLERS = 1024


@dataclass(slots=True)
class _Request:
    """What one caller asks for.

    Attributes:
        key: of the value.
        value: that is kept from now on; None: it is removed.
        was_live: the answer: there was a value whose time was not over.
    """

    key: str
    value: TimedValue | None
    was_live: bool = False


class SqliteValues:
    """The values of one file, which nobody touches before `opened` is entered.

    Args:
        path: the file, in a directory that exists; `-wal`, `-shm` and `.lock` lie beside it.
        clock: the machine's clocks.
        max_values: how many values there may be.
        max_bytes: how many bytes they and their keys may take together.
        is_awaited: the program does not end before the file is closed.
        factory: what makes the connection, for tests with a disk that fails.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock | None = None,
        max_values: int = MAX_VALUES,
        max_bytes: int = MAX_BYTES,
        is_awaited: bool = True,
        factory: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self._file = ValuesFile(path, factory=factory)
        self._thread = WriterThread(self._file.open, is_awaited=is_awaited)
        self._clock = IdleClock(clock or SystemClock())
        self._max_values, self._max_bytes = max_values, max_bytes
        self._values = TimedValues()
        self._forgotten: set[str] = set()  # over, gone from memory, and still in the file
        self._queue = CommitQueue(self._write, capacity=_WAITING_CALLERS)
        self._is_open = True

    def __len__(self) -> int:
        """Return how many values take room, after all that are over were swept."""
        self._forgotten.update(self._values.sweep(self._clock.now(), most=len(self._values)))
        return len(self._values)

    async def put(self, key: str, ttl_seconds: float, value: str) -> None:
        """Keep *value*, as `Provider.setex` says; it is on the disk when this returns.

        Raises:
            ProviderFullError: there is no room.
            StoreUnavailableError: the disk does not take it; the call may be repeated.
        """
        size = checked_entry(key, ttl_seconds, value)
        deadline = self._clock.now() + ttl_seconds
        await self._queue.put(_Request(as_plain_text(key), TimedValue(as_plain_text(value), deadline, size)))

    def get(self, key: str) -> str | None:
        """Return the value, as `Provider.get` says.

        Raises:
            StoreUnavailableError: the file was closed.
        """
        checked_key(key)
        if not self._is_open:
            raise StoreUnavailableError("the file of values is closed: open the provider again")
        return self._values.get(key, self._clock.now())

    async def remove(self, key: str) -> bool:
        """Remove the value, as `Provider.delete` says.

        Raises:
            StoreUnavailableError: the disk does not take it; the call may be repeated.
        """
        checked_key(key)
        await self._queue.put(request := _Request(as_plain_text(key), None))
        return request.was_live

    @asynccontextmanager
    async def opened(self, *, close_seconds: float = 5.0) -> AsyncIterator[SqliteValues]:
        """Have the file for this process and this event loop alone, once.

        Args:
            close_seconds: how long the end waits for a disk that does not answer.

        Raises:
            ProviderInUseError: somebody else has it.
            StoreTooNewError, StoreUnavailableError: it cannot be used and is as it was; the message says why.
        """
        await self._thread.open()
        try:
            async with self._running(close_seconds=close_seconds):
                yield self
        finally:
            with anyio.move_on_after(close_seconds, shield=True):
                try:
                    await self._thread.run(lambda: self._file.close(self._clock.mark()))
                finally:
                    await self._thread.close()

    async def abandon(self) -> None:
        """Let go of the file, from another event loop: the one that served it has ended without doing so."""
        self._is_open = False
        if not await self._thread.end_with(self._file.close):
            self._file.let_go()

    @asynccontextmanager
    async def _running(self, *, close_seconds: float) -> AsyncIterator[None]:
        """Read what is kept and serve callers; at the end, finish what they wait for."""
        kept = await self._thread.run(self._file.load)
        self._clock.load(StoredState(namespace="", idle_mark=kept.mark))
        for key, value in kept.values.items():
            self._show(key, value)
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._queue.run)
            try:
                yield
            except Exception as error:  # the task group is our own affair: callers see what they raised
                failure = error
            finally:
                self._is_open = False
                self._queue.close(within_seconds=close_seconds)
        if failure is not None:
            raise failure

    async def _write(self, batch: list[_Request]) -> Sequence[StoreError | None]:
        self._forgotten.update(self._values.sweep(self._clock.now(), most=_SWEPT_AT_ONCE))
        changes, answers = self._planned(batch)
        if not changes and not self._forgotten:
            return answers
        forgotten = self._forgotten.copy()
        held = dict(self._values.items()) if self._file.is_suspect else None
        mark = self._clock.mark()
        try:
            await self._thread.run(lambda: self._file.write(changes, forgotten, mark, held))
        except StoreError as error:
            return [error] * len(batch)
        self._forgotten.difference_update(forgotten, changes)
        for key, value in changes.items():
            self._show(key, value)
        return answers

    def _show(self, key: str, value: TimedValue | None) -> None:
        now = self._clock.now()
        if value is None:
            self._values.remove(key, now)
        else:
            self._values.put(key, *value, now)

    def _planned(self, batch: list[_Request]) -> tuple[dict[str, TimedValue | None], list[StoreError | None]]:
        """Return what changes, by key, and each caller's error or None; what was live is noted in the requests."""
        changes: dict[str, TimedValue | None] = {}
        answers: list[StoreError | None] = []
        now, count, size = self._clock.now(), len(self._values), self._values.size
        for request in batch:
            key, value = request.key, request.value
            before = changes[key] if key in changes else self._values.held(key)
            request.was_live = before is not None and before.deadline > now
            count_after = count + (value is not None) - (before is not None)
            size_after = size + (value.size if value is not None else 0) - (before.size if before is not None else 0)
            if value is not None and (count_after > self._max_values or size_after > self._max_bytes):
                answers.append(ProviderFullError(self._file.path, self._max_values, self._max_bytes))
                continue
            answers.append(None)
            if value is not None or before is not None:
                changes[key] = value
                count, size = count_after, size_after
        return changes, answers


class SqliteProvider:
    """A `Provider` in front of the values of one file."""

    def __init__(self, values: SqliteValues, *, default_ttl_seconds: float = DEFAULT_TTL_SECONDS) -> None:
        self._values, self._default_ttl_seconds = values, checked_ttl(default_ttl_seconds)

    async def setex(self, key: str, ttl_seconds: float, value: str, /) -> None:
        """Keep *value* for a time; it is on the disk when this returns. `Provider` says the rest.

        Raises:
            NotTextError, ValueRefusedError, TimeToLiveError: it cannot be kept; nothing changed.
            ProviderFullError, StoreUnavailableError: it is not kept now; nothing changed.
        """
        await self._values.put(key, ttl_seconds, value)

    async def set(self, key: str, value: str, /) -> None:
        """Keep *value* for the default time to live."""
        await self._values.put(key, self._default_ttl_seconds, value)

    async def get(self, key: str, /) -> str | None:
        """Return the value or None."""
        return self._values.get(key)

    async def delete(self, key: str, /) -> bool:
        """Remove the value; return whether there was one. It does not come back after that."""
        return await self._values.remove(key)

    async def close(self) -> None:
        """End this use; the file stays open for the others."""
