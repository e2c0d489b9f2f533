"""Callers that wait together share one commit, and each is answered after it.

There is one writer. A caller that is cancelled stops waiting and nothing else: what it asked for
is written or refused with the rest of its batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from workroot.errors import StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from workroot.core.changes import Change

__all__ = ["CommitQueue"]

_BATCH_CALLERS = 64
"""More gain little (57 and 73 times the single commit at 100 and 1,000 waiting) and delay the first."""


@dataclass(slots=True, eq=False)
class _Request:
    changes: Sequence[Change]
    answered: anyio.Event = field(default_factory=anyio.Event)
    error: StoreError | None = None

    def answer(self, error: StoreError | None) -> None:
        self.error = error
        self.answered.set()


class CommitQueue:
    """Callers in, batches out.

    Args:
        write: keeps a batch, one item a caller, and returns each caller's error or None.
        capacity: callers that may wait; further ones are turned away.
    """

    def __init__(
        self,
        write: Callable[[list[Sequence[Change]]], Awaitable[Sequence[StoreError | None]]],
        *,
        capacity: int,
    ) -> None:
        self._write = write
        self._incoming, self._waiting = anyio.create_memory_object_stream[_Request](capacity)
        # Whoever ends the program cancels everything; what was accepted is finished all the same.
        self._life = anyio.CancelScope(shield=True)

    async def put(self, changes: Sequence[Change]) -> None:
        """Wait until *changes* are kept.

        Raises:
            StoreError: what the writer answered.
            StoreUnavailableError: too many wait, or the queue is closed; nothing was kept.
        """
        request = _Request(changes)
        try:
            self._incoming.send_nowait(request)
        except anyio.WouldBlock:
            raise StoreUnavailableError("the store is busy, too many changes wait: repeat the call") from None
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise StoreUnavailableError("the store is closed: connect again and repeat the call") from None
        await request.answered.wait()
        if request.error is not None:
            raise request.error

    @property
    def waiting(self) -> int:
        """How many callers wait and are in no batch yet."""
        return self._waiting.statistics().current_buffer_used

    async def run(self) -> None:
        """Write batch after batch until the queue is closed and empty."""
        batch: list[_Request] = []
        try:
            with self._life:
                async for first in self._waiting:
                    batch = [first, *self._take_waiting(_BATCH_CALLERS - 1)]
                    errors = await self._write([request.changes for request in batch])
                    for request, error in zip(batch, errors, strict=True):
                        request.answer(error)
                    batch = []
        finally:  # given up, or a fault of our own: nobody is left waiting
            for request in (*batch, *self._take_waiting(math.inf)):
                request.answer(StoreUnavailableError("the store was closed before it could answer"))
            self._waiting.close()

    def close(self, *, within_seconds: float) -> None:
        """Take no more callers; those who wait are served for as long as *within_seconds*."""
        self._incoming.close()
        self._life.deadline = anyio.current_time() + within_seconds

    def _take_waiting(self, most: float) -> list[_Request]:
        taken: list[_Request] = []
        try:
            while len(taken) < most:
                taken.append(self._waiting.receive_nowait())
        except (anyio.WouldBlock, anyio.EndOfStream):
            pass
        return taken
