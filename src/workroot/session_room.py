"""Keeps what is held within bounds: the number of sessions, of endings, and the bytes that both take on the disk.

Above a bound the longest idle go first. A session that is in use gives way only where there is no other, one with a
live connection last, and one in the middle of a change never does: there are a few more for a moment then. For the
sake of bytes nothing that is in use ends at all, and nothing where that would not help.
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
    from collections.abc import Callable, Iterable, Iterator, Sequence

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
_MOST_IN_USE = 100  # sessions in use that one look comes by: each is seen, which takes a few us
_SPARED_SECONDS = 600.0  # of idle time: what was used since does not end for the sake of bytes
_SAMPLE = 100
_BYTES_PER_LETTER = 2  # of a session's texts: its aliases, their index, and pages that are not full take as much again


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
        self._coming = self._leaving = 0
        self._passed_by = 0  # sessions in use that were looked at since one was found that is not
        self._is_looking = False  # the last look did not come by all sessions
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
        used_before = float("inf")
        for _ in range(_MOST_ROUNDS):
            used = await self._tidy()
            if used <= self.max_bytes:
                return
            too_much, freeable = used - self.max_bytes * (1 - _ROOM_SHARE), min(used, self._freeable())
            if used >= used_before or too_much > freeable:
                logger.warning("the store takes %d bytes, and that is not for the sessions that are not in use", used)
                return
            used_before = used
            await self._free(too_much / freeable)

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
        """Free about this share of what may end: endings first, since they serve nobody's work."""
        ended = len(self._ledger.sessions.endings)
        held = self._ledger.sessions.idle_count(before=self._spared_since())
        count = max(1, int((held + ended) * share))
        logger.info("the store is too large: %d endings are forgotten, and then sessions end", min(count, ended))
        await self._ledger.forget_endings(count)
        if count > ended:
            gone = await self._end_longest_idle(count - ended, before=self._spared_since())
            await self._ledger.forget_endings(gone)  # else their endings would take the room that they leave

    def _freeable(self) -> float:
        """Return about how many bytes all endings take, and the sessions that may end for the sake of bytes."""
        sessions, before = self._ledger.sessions, self._spared_since()
        of_session = _mean(_letters(session) for session in islice(sessions.idle(before=before), _SAMPLE))
        of_ending = _mean(
            len(ended.session_id) + len(ended.last_directory) for ended in islice(sessions.endings, _SAMPLE)
        )
        letters = sessions.idle_count(before=before) * of_session + len(sessions.endings) * of_ending
        return letters * _BYTES_PER_LETTER

    def _spared_since(self) -> float:
        return self._ledger.idle.now() - _SPARED_SECONDS

    async def _end_longest_idle(self, count: int, *, before: float | None = None) -> int:
        """End so many sessions, or as many as are in no change; return how many.

        Args:
            before: only of those that were not seen since (idle clock), and are not in use.
        """
        gone = 0
        while gone < count:
            with self._giving_way(count - gone, before) as sessions:
                if sessions:
                    await self._ledger.end(sessions, Ending.EXPIRED)
                    self._count(sessions)
                elif not self._is_looking:
                    break
            gone += len(sessions)
            await checkpoint()
        return gone

    def _excess(self) -> int:
        return len(self._ledger.sessions) + self._coming - self._leaving - self.max_sessions

    @contextmanager
    def _giving_way(self, count: int, before: float | None = None) -> Iterator[Sequence[SessionContext]]:
        chosen = self._longest_idle(min(count, _BATCH), before) if count > 0 else []
        with self._turns.take_free_nowait(session.key for session in chosen):
            self._leaving += len(chosen)
            try:
                yield chosen
            finally:
                self._leaving -= len(chosen)

    def _longest_idle(self, count: int, before: float | None) -> list[SessionContext]:
        """Return who gives way, or nobody where those that come first are in use: the next look goes on behind them."""
        unused: list[SessionContext] = []
        in_use: list[SessionContext] = []
        for session in self._ledger.sessions.idle(before=float("inf") if before is None else before):
            if len(unused) == count or len(in_use) == _MOST_IN_USE:
                break
            if self._turns.is_free(session.key):
                (in_use if self._is_in_use(session) else unused).append(session)
        for session in in_use:  # the next look for room does not come by again
            self._ledger.see(session)
        self._passed_by = 0 if unused else self._passed_by + len(in_use)
        self._is_looking = len(in_use) == _MOST_IN_USE and self._passed_by < len(self._ledger.sessions)
        if before is None and not self._is_looking:
            in_use.sort(key=self._is_connected)
            unused.extend(islice(in_use, count - len(unused)))
        return unused

    def _is_in_use(self, session: SessionContext) -> bool:
        ledger = self._ledger
        return (
            ledger.sessions.is_recent(session)
            or self._is_connected(session)
            or ledger.allocations.is_active(session.key, now=ledger.idle.now())
        )

    def _count(self, sessions: Sequence[SessionContext]) -> None:
        if sessions:
            self._counters.add("session_limit", len(sessions))


def _letters(session: SessionContext) -> int:
    place = (session.working_directory, session.given_directory, session.config_path)
    project = (session.project_id, session.project_root, session.project_name)
    signs = sum(len(sign.sign) + len(sign.directory) for sign in session.signs)
    return len(session.session_id) + sum(len(text or "") for text in (*place, *project)) + signs


def _mean(numbers: Iterable[int]) -> float:
    counted = list(numbers)
    return sum(counted) / len(counted) if counted else 0.0
