"""Values and their deadlines as plain state: what is over takes no room for long, and nobody walks through the rest.

Nothing here waits, reads a clock or takes a lock: callers pass in the time.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["TimedValue", "TimedValues"]

_SPARE_ENTRIES = 64
"""Entries of the heap that may mean nothing any more, beside as many as there are values."""


class TimedValue(NamedTuple):
    """One value.

    Attributes:
        value: the text.
        deadline: the moment from which on it is over, in seconds of the owner's clock.
        size: of key and value, in bytes.
    """

    value: str
    deadline: float
    size: int


class TimedValues:
    """Values by key, with a heap of deadlines.

    Each value has an entry in the heap that is no later than its deadline. One that is earlier, because the value was
    set anew since, is corrected when it comes to the top: so setting one key again and again adds nothing.

    Args:
        swept_at_once: how many values that are over `get`, `put` and `remove` let go of beside what they do, at most.

    Attributes:
        by_key: all that is held, what is over and not swept yet included; only looked at from outside.
        size: of all values with their keys, in bytes.
    """

    def __init__(self, *, swept_at_once: int = 0) -> None:
        self.by_key: dict[str, tuple[str, float, int]] = {}  # as `TimedValue`, which costs ten times as much to make
        self._due: list[tuple[float, str]] = []
        self._swept_at_once = swept_at_once
        self.size = 0

    def __len__(self) -> int:
        return len(self.by_key)

    def items(self) -> Iterator[tuple[str, TimedValue]]:
        """Yield all that is held, what is over and not swept yet included."""
        return ((key, TimedValue(*found)) for key, found in self.by_key.items())

    def held(self, key: str) -> TimedValue | None:
        """Return what is held under *key*, whether its time is over or not."""
        found = self.by_key.get(key)
        return TimedValue(*found) if found is not None else None

    def get(self, key: str, now: float) -> str | None:
        """Return the value if its time is not over."""
        found = self.by_key.get(key)
        if self._swept_at_once and self._due and self._due[0][0] <= now:
            self.sweep(now, most=self._swept_at_once)
        return found[0] if found is not None and found[1] > now else None

    def put(self, key: str, value: str, deadline: float, size: int, now: float) -> None:
        """Hold *value*, which takes *size* bytes with its key, until *deadline* in place of what was there."""
        by_key = self.by_key
        before = by_key.get(key)
        by_key[key] = value, deadline, size
        self.size += size if before is None else size - before[2]
        if before is None or deadline < before[1]:
            heappush(self._due, (deadline, key))
            if len(self._due) > 2 * len(by_key) + _SPARE_ENTRIES:
                self._due = [(held[1], key) for key, held in by_key.items()]
                heapify(self._due)
        if self._swept_at_once and self._due[0][0] <= now:
            self.sweep(now, most=self._swept_at_once)

    def remove(self, key: str, now: float) -> bool:
        """Let go of a value; return whether there was one whose time was not over."""
        found = self.by_key.pop(key, None)
        if found is not None:
            self.size -= found[2]
        if self._swept_at_once and self._due and self._due[0][0] <= now:
            self.sweep(now, most=self._swept_at_once)
        return found is not None and found[1] > now

    def sweep(self, now: float, *, most: int) -> list[str]:
        """Let go of up to *most* values whose time is over, and return their keys."""
        swept: list[str] = []
        while len(swept) < most and self._due and self._due[0][0] <= now and (first := self.first()) is not None:
            found = self.by_key[first]
            if found[1] > now:
                break
            del self.by_key[first]
            self.size -= found[2]
            swept.append(first)
        return swept

    def first(self) -> str | None:
        """Return the key of the value whose time is over first; None: there is no value."""
        while self._due:
            due, key = self._due[0]
            held = self.by_key.get(key)
            if held is not None and held[1] <= due:
                return key
            if held is not None:
                heapreplace(self._due, (held[1], key))
            else:
                heappop(self._due)
        return None
