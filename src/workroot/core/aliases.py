"""By which names sessions are known beside their ids: each name stands for one session of its owner's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.core.changes import AliasBound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workroot.core.sessions import Alias, Owner, SessionContext

__all__ = ["Aliases", "SessionEntry"]


@dataclass(slots=True, eq=False)
class SessionEntry:
    """A session as the table holds it.

    Attributes:
        seen: when it was used last, on the clock that counts idle time.
        is_passed: somebody has passed its handle.
        alias: stands for it; most have one at most, for which a tuple would be long.
        more_aliases: stand for it, too.
    """

    session: SessionContext
    seen: float
    is_passed: bool = False
    alias: Alias | None = None
    more_aliases: tuple[Alias, ...] = ()

    @property
    def aliases(self) -> tuple[Alias, ...]:
        """All aliases that stand for it."""
        return self.more_aliases if self.alias is None else (self.alias, *self.more_aliases)


class Aliases:
    """The sessions by owner and alias."""

    def __init__(self) -> None:
        self._bound: dict[Owner, dict[Alias, SessionEntry]] = {}

    def get(self, owner: Owner, alias: Alias) -> SessionEntry | None:
        """Return what *alias* stands for, or None."""
        of_owner = self._bound.get(owner)
        return of_owner.get(alias) if of_owner is not None else None

    def all(self) -> tuple[AliasBound, ...]:
        """Return which aliases stand for which sessions."""
        return tuple(self.as_of_now())

    def as_of_now(self) -> Iterator[AliasBound]:
        """Yield which aliases stand for which sessions at the moment of this call, whatever changes meanwhile."""
        bound = [(owner, of_owner.copy()) for owner, of_owner in self._bound.items()]
        return (
            AliasBound(owner, alias, entry.session.session_id)  # an entry stays that of its session
            for owner, of_owner in bound
            for alias, entry in of_owner.items()
        )

    def bind(self, owner: Owner, alias: Alias, entry: SessionEntry) -> None:
        """Let *alias* stand for a session from now on, and for no other."""
        if (before := self.get(owner, alias)) is not None:
            self._unbind(before, alias)
        self._bound.setdefault(owner, {})[alias] = entry
        entry.alias, entry.more_aliases = alias, entry.aliases

    def forget(self, entry: SessionEntry) -> None:
        """Let nothing stand for a session any more."""
        for alias in entry.aliases:
            self._unbind(entry, alias)

    def _unbind(self, entry: SessionEntry, alias: Alias) -> None:
        left = tuple(each for each in entry.aliases if each != alias)
        entry.alias, entry.more_aliases = (left[0], left[1:]) if left else (None, ())
        owner = entry.session.owner
        del self._bound[owner][alias]
        if not self._bound[owner]:
            del self._bound[owner]
