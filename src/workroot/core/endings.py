"""How sessions ended, so that none comes back to life: kept for a while, and then forgotten, the first one first."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING

from workroot.core.changes import EndedForgotten, EndingForgotten
from workroot.core.sessions import EndedSession, SessionKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Endings"]


class Endings:
    """The endings that are remembered, in the order of their time."""

    def __init__(self) -> None:
        self._kept: dict[SessionKey, EndedSession] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[EndedSession]:
        return iter(self._kept.values())

    def __contains__(self, key: SessionKey) -> bool:
        return key in self._kept

    def load(self, ended: Iterable[EndedSession]) -> None:
        """Take over what a store kept; what is known here already stays."""
        for each in ended:
            self.add(each)
        self._kept = {each.key: each for each in sorted(self._kept.values(), key=lambda each: each.seen)}

    def get(self, key: SessionKey) -> EndedSession | None:
        """Return how the session under *key* ended, or None if it did not, or that is forgotten."""
        return self._kept.get(key)

    def add(self, ended: EndedSession) -> None:
        """Remember an ending; of one session, the first stays."""
        self._kept.setdefault(ended.key, ended)

    def apply(self, forgotten: EndedForgotten | EndingForgotten) -> None:
        """Forget what the store has forgotten."""
        if isinstance(forgotten, EndingForgotten):
            self._kept.pop(forgotten.key, None)
            return
        for key in [ended.key for ended in self._before(forgotten.before)]:
            del self._kept[key]

    def oldest(self, count: int) -> list[SessionKey]:
        """Return which to forget, so that *count* fewer are kept."""
        return list(islice(self._kept, max(0, count)))

    def forgettable(self, *, before: float, most: int) -> float | None:
        """Return before which time (idle clock) to forget, so that about *most* go; None if there are none.

        Args:
            before: later endings stay.
        """
        ended_at = [ended.seen for ended in islice(self._kept.values(), most)]
        if not ended_at or ended_at[0] >= before:
            return None
        return min(before, math.nextafter(ended_at[-1], math.inf))

    def _before(self, before: float) -> Iterator[EndedSession]:
        for ended in self._kept.values():
            if ended.seen >= before:
                return
            yield ended
