"""One turn per key: who changes the same thing waits, everybody else goes on.

A lock exists only while somebody holds it or waits for it, so memory does not grow with the keys.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Hashable, Iterable, Iterator

__all__ = ["Turns"]


@dataclass(slots=True)
class _Turn:
    lock: anyio.Lock = field(default_factory=lambda: anyio.Lock(fast_acquire=True))
    users: int = 0


class Turns:
    """Locks by key, first come first served."""

    def __init__(self) -> None:
        self._turns: dict[Hashable, _Turn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    @asynccontextmanager
    async def take(self, key: Hashable) -> AsyncIterator[None]:
        """Wait for the turn of *key* and hold it."""
        turn = self._turns.setdefault(key, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[key]

    @contextmanager
    def take_free_nowait(self, keys: Iterable[Hashable]) -> Iterator[frozenset[Hashable]]:
        """Hold the turns of those *keys* that nobody holds or waits for, and yield which."""
        free = frozenset(key for key in keys if key not in self._turns)
        for key in free:
            turn = self._turns[key] = _Turn(users=1)
            turn.lock.acquire_nowait()
        try:
            yield free
        finally:
            for key in free:
                turn = self._turns[key]
                turn.lock.release()
                turn.users -= 1
                if not turn.users:
                    del self._turns[key]
