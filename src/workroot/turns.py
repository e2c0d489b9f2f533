"""One turn per key: who changes the same thing waits, everybody else goes on.

Of a turn there is something only while somebody holds it or waits for it, so memory does not grow with the keys.
"""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator

__all__ = ["Turns"]


class Turns:
    """Locks by key, first come first served."""

    def __init__(self) -> None:
        self._held: dict[Hashable, deque[anyio.Event]] = {}  # who waits for each, in the order of coming

    def __len__(self) -> int:
        return len(self._held)

    def waiting(self, key: Hashable) -> int:
        """Return how many wait for the turn of *key*."""
        return len(self._held.get(key, ()))

    def is_free(self, key: Hashable) -> bool:
        """Tell whether nobody holds the turn of *key*."""
        return key not in self._held

    def take(self, key: Hashable) -> _Turn:
        """Return what waits for the turn of *key* at the start of its context, and holds it until the end."""
        return _Turn(self, key)

    @contextmanager
    def take_free_nowait(self, keys: Iterable[Hashable]) -> Iterator[frozenset[Hashable]]:
        """Hold the turns of those *keys* that nobody holds, and yield which."""
        free = frozenset(key for key in keys if key not in self._held)
        self._held.update((key, deque()) for key in free)
        try:
            yield free
        finally:
            for key in free:
                self._pass_on(key)

    async def _wait(self, key: Hashable) -> None:
        if (waiting := self._held.get(key)) is None:
            self._held[key] = deque()
            return
        has_come = anyio.Event()
        waiting.append(has_come)
        try:
            await has_come.wait()
        except BaseException:
            if has_come.is_set():  # the turn came, and nobody takes it
                self._pass_on(key)
            else:
                waiting.remove(has_come)
            raise

    def _pass_on(self, key: Hashable) -> None:
        """Give the turn to who has waited longest; it is never free in between, so that nobody gets past."""
        if waiting := self._held[key]:
            waiting.popleft().set()
        else:
            del self._held[key]


class _Turn:
    """One holding of a turn. A class, since a generator's context costs a change of directory 5 us."""

    __slots__ = ("_key", "_turns")

    def __init__(self, turns: Turns, key: Hashable) -> None:
        self._turns, self._key = turns, key

    async def __aenter__(self) -> None:
        await self._turns._wait(self._key)

    async def __aexit__(self, *_: object) -> None:
        self._turns._pass_on(self._key)
