"""Callers that wait together share one commit, and each is answered after it.

There is one writer. A caller that is cancelled stops waiting and nothing else: what it asked for
is written or refused with the rest of its batch.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import anyio

from workroot.errors import StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

__all__ = ["CommitQueue"]

_Request = TypeVar("_Request")
"""What one caller asks for."""

_Caller: TypeAlias = "tuple[_Request, asyncio.Future[StoreError | None]]"
"""What one caller asks for, and what answers it."""

_BATCH_CALLERS = 256
"""More gain little (a commit is a twentieth of what 256 callers' rows take) and delay the first."""


class CommitQueue(Generic[_Request]):
    """Callers in, batches out.

    Args:
        write: keeps a batch, one item a caller, and returns each caller's error or None.
        capacity: callers that may wait; further ones are turned away.

    Attributes:
        was_given_up: the writer did not come back, or failed for a reason of its own.
    """

    def __init__(
        self,
        write: Callable[[list[_Request]], Awaitable[Sequence[StoreError | None]]],
        *,
        capacity: int,
    ) -> None:
        self._write, self._capacity = write, capacity
        self._waiting: deque[_Caller[_Request]] = deque()
        self._noted: asyncio.Future[None] | None = None  # what the writer waits for while nobody waits for it
        self._is_closed, self.was_given_up = False, False
        # Whoever ends the program cancels everything; what was accepted is finished all the same.
        self._life = anyio.CancelScope(shield=True)

    async def put(self, request: _Request) -> None:
        """Wait until what *request* asks for is kept.

        Raises:
            StoreError: what the writer answered.
            StoreUnavailableError: too many wait, or the queue is closed; nothing was kept.
        """
        if self._is_closed:
            raise StoreUnavailableError("the store is closed: connect again and repeat the call")
        if len(self._waiting) >= self._capacity:
            raise StoreUnavailableError("the store is busy, too many changes wait: repeat the call")
        # A plain future: an event of anyio's costs four times as much, a third of all that a caller costs.
        answer: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        self._wake()
        if (error := await answer) is not None:
            raise error

    @property
    def waiting(self) -> int:
        """How many callers wait and are in no batch yet."""
        return len(self._waiting)

    async def run(self) -> None:
        """Write batch after batch until the queue is closed and empty."""
        batch: list[_Caller[_Request]] = []
        try:
            with self._life:
                while await self._wait_for_callers():
                    batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH_CALLERS))]
                    self._answer(batch, await self._write([request for request, _ in batch]))
                    batch = []
        finally:  # given up, or a fault of our own: nobody is left waiting
            self._is_closed, self.was_given_up = True, bool(batch)
            left = [*batch, *self._waiting]
            self._waiting.clear()
            self._answer(left, [StoreUnavailableError("the store was closed before it could answer") for _ in left])

    def close(self, *, within_seconds: float) -> None:
        """Take no more callers; those who wait are served for as long as *within_seconds*."""
        self._is_closed = True
        self._life.deadline = anyio.current_time() + within_seconds
        self._wake()

    def _wake(self) -> None:
        if self._noted is not None and not self._noted.done():
            self._noted.set_result(None)

    async def _wait_for_callers(self) -> bool:
        """Return when somebody waits; False: nobody does, nor will."""
        while not self._waiting:
            if self._is_closed:
                return False
            self._noted = asyncio.get_running_loop().create_future()
            await self._noted
        return True

    def _answer(self, batch: Sequence[_Caller[_Request]], errors: Sequence[StoreError | None]) -> None:
        for (_, answer), error in zip(batch, errors, strict=True):
            if not answer.done():  # else its caller was cancelled
                answer.set_result(error)
