"""Which connections are live, and so which sessions are in use though nobody calls.

A session that a connection stands for is not stale, however long its user thinks.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workroot.core.sessions import Alias, Owner, SessionContext
    from workroot.session_ledger import SessionLedger

__all__ = ["LiveConnections"]


class LiveConnections:
    """The connections of now, by the names under which they stand for sessions."""

    def __init__(self, ledger: SessionLedger) -> None:
        self._ledger = ledger
        self._names: Counter[tuple[Owner, Alias]] = Counter()
        ledger.connections.is_live = self.is_live

    @contextmanager
    def connected(self, owner: Owner, alias: Alias) -> Iterator[None]:
        """A connection named *alias* is live; the session that it stands for is not stale meanwhile."""
        name = (owner, alias)
        self._names[name] += 1
        try:
            yield
        finally:
            self._names[name] -= 1
            if not self._names[name]:
                del self._names[name]
            if (session := self._ledger.sessions.of_alias(owner, alias)) is not None:
                self._ledger.touch(session)

    def is_live(self, owner: Owner, alias: Alias) -> bool:
        """Tell whether a connection of that name is live."""
        return (owner, alias) in self._names

    def is_connected(self, session: SessionContext) -> bool:
        """Tell whether a live connection stands for this session."""
        aliases = self._ledger.sessions.aliases_of(session.key)
        return any((session.owner, alias) in self._names for alias in aliases)

    def __len__(self) -> int:
        return len(self._names)

    def unseen(self, *, before: float) -> Iterator[SessionContext | None]:
        """Yield for each live connection of now its session, if that was not seen since *before* (idle clock), or None.

        Connections may come and go meanwhile, so that a caller may pause. A session comes as often as it has names,
        until it is seen.
        """
        sessions = self._ledger.sessions
        for name in tuple(self._names):
            session = sessions.of_alias(*name)
            yield session if session is not None and sessions.seen(session.key) < before else None
