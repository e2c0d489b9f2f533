"""How often allocated sessions were found active, and how they ended: counted by sandbox since the start."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = ["AllocationCounts", "AllocationUse"]

_MOST_COUNTED = 1000  # sandboxes whose use is counted, and those beyond in which something is active
_LOOKS = 8  # at a time, for one that can be forgotten


@dataclass(slots=True)
class AllocationCounts:
    """What became of the sessions of one sandbox since the start.

    Attributes:
        hits: times that a session was found active.
        misses: times that one was not.
        expired: sessions whose time ran out.
        ended: sessions that were deleted or declared void.
    """

    hits: int = 0
    misses: int = 0
    expired: int = 0
    ended: int = 0


class AllocationUse:
    """The counts of each sandbox, of a bounded number of them.

    Args:
        active: the sandboxes in which something is active; theirs are never forgotten.
    """

    def __init__(self, active: Container[str]) -> None:
        self._active = active
        self._counts: dict[str, AllocationCounts] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def of(self, sandbox: str) -> AllocationCounts:
        """Return what became of the sessions of a sandbox, to be read or counted on."""
        if (counts := self._counts.get(sandbox)) is None:
            if len(self._counts) >= _MOST_COUNTED:
                self._forget_one()
            counts = self._counts[sandbox] = AllocationCounts()
        return counts

    def _forget_one(self) -> None:
        """Forget those of a sandbox in which nothing is active; whoever has active sessions moves to the end."""
        for sandbox in tuple(islice(self._counts, _LOOKS)):
            counts = self._counts.pop(sandbox)
            if sandbox not in self._active:
                return
            self._counts[sandbox] = counts
