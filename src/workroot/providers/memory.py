"""Values in the memory of this process: shared by all who use the provider in it, bounded, gone when it ends.

A value whose time is over takes no room after a few further calls: each call sweeps some, so that no thread or timer
is needed. When there is no room, the values that would be over first give way to the new one, like entries of a cache.

Time counts while the machine is awake, as it does for sessions; no step of the wall clock reaches it.
"""

from __future__ import annotations

import threading
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from workroot.errors import ProviderFullError
from workroot.providers.contract import DEFAULT_TTL_SECONDS, as_plain_text, checked_entry, checked_key, checked_ttl
from workroot.providers.timed_values import TimedValues

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from workroot.core.ports import Clock
    from workroot.providers.contract import Provider, ProviderFactory

__all__ = ["MAX_BYTES", "MAX_VALUES", "MemoryProvider", "MemoryValues", "factory", "forget_all"]

MAX_VALUES = 100_000
"""How many values there are at most, where nothing else is said."""

MAX_BYTES = 64 * 1024 * 1024
"""How many bytes they and their keys take together at most, where nothing else is said."""

_SWEPT_AT_ONCE = 64
"""Values that one call sweeps at most: a hundred thousand that are over at once hold up nobody."""


class MemoryValues:
    """Values that several providers, threads and event loops share.

    Args:
        clock: the machine's clocks.
        max_values: how many there may be.
        max_bytes: how many bytes they and their keys may take together.

    Attributes:
        given_way: how many values had to go before their time.
    """

    def __init__(self, *, clock: Clock | None = None, max_values: int = MAX_VALUES, max_bytes: int = MAX_BYTES) -> None:
        self._now = clock.awake if clock is not None else time.monotonic  # what `SystemClock` reads, at half its price
        self._max_values, self._max_bytes = max_values, max_bytes
        self._values = TimedValues(swept_at_once=_SWEPT_AT_ONCE)
        self._lock = threading.Lock()  # held for a moment; nobody waits for anything with it
        self.given_way = 0

    def __len__(self) -> int:
        """Return how many values take room, after all that are over were swept."""
        with self._lock:
            self._values.sweep(self._now(), most=len(self._values))
            return len(self._values)

    @property
    def size(self) -> int:
        """How many bytes they and their keys take, what is over and not swept yet included."""
        return self._values.size

    def put(self, key: str, ttl_seconds: float, value: str) -> None:
        """Keep *value*, as `Provider.setex` says.

        Raises:
            ProviderFullError: it alone takes more room than there is.
        """
        size = checked_entry(key, ttl_seconds, value)
        if not key.__class__ is value.__class__ is str:
            key, value = as_plain_text(key), as_plain_text(value)
        with self._lock:
            values, now = self._values, self._now()
            if values.size + size > self._max_bytes or len(values.by_key) >= self._max_values:
                self._make_room(key, size, now)
            values.put(key, value, now + ttl_seconds, size, now)

    def get(self, key: str) -> str | None:
        """Return the value, as `Provider.get` says."""
        checked_key(key)
        with self._lock:
            return self._values.get(key, self._now())

    def remove(self, key: str) -> bool:
        """Remove the value, as `Provider.delete` says."""
        checked_key(key)
        with self._lock:
            return self._values.remove(key, self._now())

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._values = TimedValues(swept_at_once=_SWEPT_AT_ONCE)

    def _make_room(self, key: str, size: int, now: float) -> None:
        """Let those go that are over first, until a value of *size* bytes under *key* fits."""
        if size > self._max_bytes:
            raise ProviderFullError("memory", self._max_values, self._max_bytes)
        values = self._values
        values.remove(key, now)  # it gives its own room to the new one, before anybody else's
        while (first := values.first()) is not None and (
            len(values) >= self._max_values or values.size + size > self._max_bytes
        ):
            self.given_way += values.remove(first, now)


class MemoryProvider:
    """A `Provider` in front of *values*."""

    def __init__(self, values: MemoryValues, *, default_ttl_seconds: float = DEFAULT_TTL_SECONDS) -> None:
        self._put, self._get, self._remove = values.put, values.get, values.remove
        self._default_ttl_seconds = checked_ttl(default_ttl_seconds)

    async def setex(self, key: str, ttl_seconds: float, value: str, /) -> None:
        """Keep *value* for a time; `Provider` says the rest.

        Raises:
            NotTextError, ValueRefusedError, TimeToLiveError: it cannot be kept; nothing changed.
        """
        self._put(key, ttl_seconds, value)

    async def set(self, key: str, value: str, /) -> None:
        """Keep *value* for the default time to live."""
        self._put(key, self._default_ttl_seconds, value)

    async def get(self, key: str, /) -> str | None:
        """Return the value or None."""
        return self._get(key)

    async def delete(self, key: str, /) -> bool:
        """Remove the value; return whether there was one."""
        return self._remove(key)

    async def close(self) -> None:
        """Nothing is open that would have to be closed; the values stay for the others."""


_of_this_process = MemoryValues()


def factory(
    *, default_ttl_seconds: float = DEFAULT_TTL_SECONDS, values: MemoryValues = _of_this_process
) -> ProviderFactory:
    """Return what opens a use of this process's values.

    Args:
        default_ttl_seconds: for how long `Provider.set` keeps a value.
        values: others than those that the whole process shares.

    Raises:
        TimeToLiveError: the default is no time to live.
    """
    checked_ttl(default_ttl_seconds)

    @asynccontextmanager
    async def open_memory_provider() -> AsyncIterator[Provider]:
        yield MemoryProvider(values, default_ttl_seconds=default_ttl_seconds)

    return open_memory_provider


def forget_all() -> None:
    """Forget all values that this process shares: a test begins with none."""
    _of_this_process.clear()
