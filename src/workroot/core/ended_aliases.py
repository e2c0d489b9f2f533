"""Which conversations their clients have ended, so that none comes back to life: bounded, the first forgotten first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.core.changes import AliasEnded, EndedAliasesForgotten

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from workroot.core.connection_table import ConversationName
    from workroot.core.connections import EndedAlias

__all__ = ["EndedAliases"]

_MOST = 10_000


class EndedAliases:
    """The ends that are remembered, in the order of their time on the idle clock."""

    def __init__(self) -> None:
        self._kept: dict[ConversationName, EndedAlias] = {}

    def __iter__(self) -> Iterator[EndedAlias]:
        return iter(self._kept.values())

    def __contains__(self, name: ConversationName) -> bool:
        return name in self._kept

    def load(self, ended: Iterable[EndedAlias]) -> None:
        """Take over what a store kept."""
        every = sorted([*self, *ended], key=lambda each: each.seen)
        self._kept = {(each.owner, each.alias): each for each in every}

    def planned(self, ended: EndedAlias) -> Sequence[AliasEnded | EndedAliasesForgotten]:
        """Return what to keep so that one end more is remembered, and not too many are."""
        too_many = len(self._kept) + 1 - _MOST
        if too_many <= 0:
            return [AliasEnded(ended)]
        kept = [*(each.seen for each in self), ended.seen]
        return [AliasEnded(ended), EndedAliasesForgotten(kept[too_many])]

    def add(self, ended: EndedAlias) -> None:
        """Remember an end that is kept."""
        self._kept[ended.owner, ended.alias] = ended
        while len(self._kept) > _MOST:
            del self._kept[next(iter(self._kept))]

    def has_any(self, *, before: float) -> bool:
        """Tell whether there is something to forget."""
        first = next(iter(self), None)
        return first is not None and first.seen < before

    def forget(self, *, before: float) -> None:
        """Forget what ended before this time, on the idle clock."""
        for name in [name for name, ended in self._kept.items() if ended.seen < before]:
            del self._kept[name]
