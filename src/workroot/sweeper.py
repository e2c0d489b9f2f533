"""Ends the sessions that nobody uses: idle for too long, without a live connection, not in the middle of a change."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from workroot.core.sessions import Ending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workroot.core.ports import Clock
    from workroot.core.sessions import Alias, Owner, SessionContext, SessionId, SessionKey
    from workroot.session_ledger import SessionLedger
    from workroot.turns import Turns

__all__ = ["Sweeper"]

_BATCH = 500  # sessions ended in one commit


class Sweeper:
    """Knows which sessions are in use, and ends the others.

    Args:
        turns: a session whose turn is taken is in use.
        idle_seconds: a session idle for longer is stale.
        ended_seconds: how long it is remembered how a session ended.
    """

    def __init__(
        self, ledger: SessionLedger, turns: Turns, clock: Clock, *, idle_seconds: float, ended_seconds: float
    ) -> None:
        self._ledger, self._turns, self._clock = ledger, turns, clock
        self.idle_seconds, self.ended_seconds = idle_seconds, ended_seconds  # may be set later
        self._connected: Counter[tuple[Owner, Alias]] = Counter()
        ledger.connections.is_live = self._is_live

    def is_connected(self, session: SessionContext) -> bool:
        """Tell whether a live connection stands for this session."""
        aliases = self._ledger.sessions.aliases_of(session.key)
        return any((session.owner, alias) in self._connected for alias in aliases)

    @contextmanager
    def connected(self, owner: Owner, alias: Alias) -> Iterator[None]:
        """A connection named *alias* is live; the session that it stands for is not stale meanwhile."""
        name = (owner, alias)
        self._connected[name] += 1
        try:
            yield
        finally:
            self._connected[name] -= 1
            if not self._connected[name]:
                del self._connected[name]
            if (session := self._ledger.sessions.of_alias(owner, alias)) is not None:
                self._ledger.touch(session)

    def stale_count(self) -> int:
        """Return how many sessions the next sweep would end, as of now; the effort is for those."""
        idle = self._ledger.sessions.idle(before=self._clock.awake() - self.idle_seconds)
        return sum(not self.is_connected(session) for session in idle)

    async def sweep(self) -> list[SessionId]:
        """End what is stale, and return which sessions those were."""
        swept: list[SessionId] = []
        looked_at: set[SessionKey] = set()
        while batch := self._next_stale(looked_at):
            looked_at.update(session.key for session in batch)
            with self._turns.take_free_nowait(session.key for session in batch) as free:
                unused = [each for each in batch if each.key in free and not self.is_connected(each)]
                swept.extend(ended.session_id for ended in await self._ledger.end(unused, Ending.EXPIRED))
        return swept

    async def housekeep(self) -> None:
        """Sweep, and forget what ended long ago and who will not come back."""
        await self.sweep()
        await self._ledger.connections.housekeep()
        await self._ledger.forget_ended(before=self._clock.wall() - self.ended_seconds)

    def _is_live(self, owner: Owner, alias: Alias) -> bool:
        return (owner, alias) in self._connected

    def _next_stale(self, looked_at: set[SessionKey]) -> list[SessionContext]:
        idle = self._ledger.sessions.idle(before=self._clock.awake() - self.idle_seconds)
        return list(islice((session for session in idle if session.key not in looked_at), _BATCH))
