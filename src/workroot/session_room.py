"""Keeps what is held within bounds: the number of sessions, of endings, and the bytes that both take on the disk.

Above a bound the longest idle go first. A session with a live connection gives way only where there is no other,
and one in the middle of a change never does: there are a few more for a moment then.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from workroot.core.sessions import Ending
from workroot.errors import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from workroot.core.ports import SessionStore
    from workroot.core.sessions import SessionContext
    from workroot.counters import Counters
    from workroot.session_ledger import SessionLedger
    from workroot.turns import Turns

__all__ = ["SessionRoom"]

logger = logging.getLogger(__name__)

_BATCH = 250  # sessions ended in one commit
_ROOM_SHARE = 0.1  # of the bytes that may be used: freed at once, so that not every sweep has to
_MOST_ROUNDS = 10  # of ending and measuring; the next sweep goes on


class SessionRoom:
    """Sees to it that there is room for one session more.

    Args:
        store: knows how many bytes all of it takes.
        turns: a session whose turn is taken is in the middle of a change.
        is_connected: tells whether a live connection stands for a session.
        counters: count the sessions that gave way.
        max_sessions: may be held; may be set later.
        max_bytes: may be kept in the store; may be set later.
    """

    def __init__(
        self,
        ledger: SessionLedger,
        store: SessionStore,
        turns: Turns,
        is_connected: Callable[[SessionContext], bool],
        counters: Counters,
        *,
        max_sessions: int,
        max_bytes: float,
    ) -> None:
        self._ledger, self._store, self._turns = ledger, store, turns
        self._is_connected, self._counters = is_connected, counters
        self.max_sessions, self.max_bytes = max_sessions, max_bytes
        self._coming = 0
        ledger.room = self.for_one_more

    @contextmanager
    def for_one_more(self) -> Iterator[Sequence[SessionContext]]:
        """Yield who gives way to one session more, with their turns taken; the caller ends them."""
        self._coming += 1
        try:
            with self._giving_way(self._excess()) as sessions:
                yield sessions
                self._count(sessions)
        finally:
            self._coming -= 1

    async def housekeep(self) -> None:
        """End what is above the bounds, and let the store give back what it does not need.

        Raises:
            StoreUnavailableError: the next time goes on.
        """
        await self._ledger.forget_endings(len(self._ledger.sessions.endings) - self._ledger.max_ended)
        await self.end_excess()
        for _ in range(_MOST_ROUNDS):
            used = await self._tidy()
            if used <= self.max_bytes:
                return
            await self._free(1 - self.max_bytes * (1 - _ROOM_SHARE) / used)

    async def end_excess(self) -> None:
        """End so many sessions as are held above the limit.

        Raises:
            StoreUnavailableError: the next time goes on.
        """
        await self._end_longest_idle(self._excess())

    async def _tidy(self) -> int:
        try:
            return await self._store.tidy()
        except StoreUnavailableError as error:
            logger.warning("the store's files stay as large as they are: %s", error)
            return 0

    async def _free(self, share: float) -> None:
        """Free about this share of what is kept: endings first, since they serve nobody's work."""
        held, ended = len(self._ledger.sessions), len(self._ledger.sessions.endings)
        count = max(1, int((held + ended) * share))
        logger.info("the store is too large: %d endings are forgotten, and then sessions end", min(count, ended))
        await self._ledger.forget_endings(count)
        if count > ended:
            gone = await self._end_longest_idle(count - ended)
            await self._ledger.forget_endings(gone)  # else their endings would take the room that they leave

    async def _end_longest_idle(self, count: int) -> int:
        """End so many sessions, or as many as are in no change; return how many."""
        gone = 0
        while gone < count:
            with self._giving_way(count - gone) as sessions:
                if not sessions:
                    break
                await self._ledger.end(sessions, Ending.EXPIRED)
                self._count(sessions)
            gone += len(sessions)
            await checkpoint()
        return gone

    def _excess(self) -> int:
        return len(self._ledger.sessions) + self._coming - self.max_sessions

    @contextmanager
    def _giving_way(self, count: int) -> Iterator[Sequence[SessionContext]]:
        chosen = self._longest_idle(min(count, _BATCH)) if count > 0 else []
        with self._turns.take_free_nowait(session.key for session in chosen):
            yield chosen

    def _longest_idle(self, count: int) -> list[SessionContext]:
        unused: list[SessionContext] = []
        live: list[SessionContext] = []
        for session in self._ledger.sessions.idle(before=float("inf")):
            if len(unused) == count:
                break
            if self._turns.is_free(session.key):
                (live if self._is_connected(session) else unused).append(session)
        for session in live:  # the next look for room does not come by again
            self._ledger.see(session)
        return [*unused, *islice(live, count - len(unused))]

    def _count(self, sessions: Sequence[SessionContext]) -> None:
        if sessions:
            self._counters.add("session_limit", len(sessions))
