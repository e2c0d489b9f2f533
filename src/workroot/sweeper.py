"""Ends the sessions that nobody uses: idle for too long, without a live connection, not in the middle of a change.

The effort is for what is stale, not for what is held: the table has the longest idle first, and whoever is found to
be in use is seen now, so that no look comes by again. What would end very many at once is looked at twice: a clock
or a setting that is wrong for a moment must not cost anybody a day's work. A session that is allocated ends with its
time to live, however idle it is.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from workroot.allocation_ends import AllocationEnds
from workroot.core.sessions import Ending

if TYPE_CHECKING:
    from workroot.core.sessions import SessionContext, SessionId
    from workroot.live_connections import LiveConnections
    from workroot.session_ledger import SessionLedger
    from workroot.session_room import SessionRoom
    from workroot.turns import Turns

__all__ = ["SECOND_LOOK_SECONDS", "Postponed", "Sweeper"]

logger = logging.getLogger(__name__)

SECOND_LOOK_SECONDS = 60.0
"""From the first look of a sweep that would end very many sessions to the second, which ends them."""

_BATCH = 250  # sessions ended in one commit: more would hold the event loop up when they are shown
_MANY = 1_000
_MANY_SHARE = 0.2
_MARK_SECONDS = 3600.0  # from one note of the idle clock to the next where nothing else is written


@dataclass(frozen=True, slots=True)
class Postponed:
    """What a sweep did not end yet.

    Attributes:
        sessions: how many would have ended.
        before: that were not used since this time (idle clock).
        due: when those of them end that are still unused then (idle clock).
    """

    sessions: int
    before: float
    due: float


class Sweeper:
    """Ends what is not in use.

    Args:
        turns: a session whose turn is taken is in use.
        live: a session with a live connection is in use.
        room: ends what is too much.
        idle_seconds: a session idle for longer is stale.
        ended_seconds: how long it is remembered how a session ended, counted as idle time is.
    """

    def __init__(
        self,
        ledger: SessionLedger,
        turns: Turns,
        live: LiveConnections,
        room: SessionRoom,
        *,
        idle_seconds: float,
        ended_seconds: float,
    ) -> None:
        self._ledger, self._turns, self._live, self._room = ledger, turns, live, room
        self.idle_seconds, self.ended_seconds = idle_seconds, ended_seconds  # may be set later
        self._allocated = AllocationEnds(ledger, turns)
        self._postponed: Postponed | None = None
        self._has_postponed = anyio.Event()

    def stale_count(self) -> int:
        """Return how many sessions the next sweep would end, as of now.

        The effort is for the live connections or for what is idle, whichever are few. Where both are very many,
        sessions with a live connection that nobody used for so long count too, until a sweep has come by.
        """
        before = self._ledger.idle.now() - self.idle_seconds
        sessions = self._ledger.sessions
        idle = sessions.idle_count(before=before)
        if len(self._live) <= _MANY:
            return idle - len({session.key for session in self._live.unseen(before=before) if session is not None})
        if idle <= _MANY:
            return sum(not self._live.is_connected(session) for session in sessions.idle(before=before))
        return idle

    @property
    def postponed(self) -> Postponed | None:
        """What the last sweep did not end yet, None if there is nothing."""
        return self._postponed

    def postponed_seconds(self) -> float:
        """Return after how long what was postponed is due."""
        due = self._postponed.due if self._postponed is not None else 0.0
        return max(0.0, due - self._ledger.idle.now())

    def renew(self) -> None:
        """Let go of who waits in an event loop that has ended."""
        self._has_postponed = anyio.Event()

    async def wait_postponed(self) -> None:
        """Return when a sweep has postponed something."""
        while self._postponed is None:
            self._has_postponed = anyio.Event()
            await self._has_postponed.wait()

    async def sweep(self) -> list[SessionId]:
        """End what is stale, and return which sessions those were; or postpone it, if that is very much.

        Raises:
            StoreUnavailableError: some have ended, the others wait for the next time.
        """
        with self._turns.take_free_nowait(["sweep"]) as free:  # one under way does it
            return await self._sweep() if free else []

    async def _sweep(self) -> list[SessionId]:
        now = self._ledger.idle.now()
        before = now - self.idle_seconds
        if self._postponed is not None:
            if now < self._postponed.due:
                return []
            before = min(before, self._postponed.before)
            self._postponed = None
        elif (count := await self._count_of_many(before)) is not None:
            self._postponed = Postponed(count, before, now + SECOND_LOOK_SECONDS)
            self._has_postponed.set()
            logger.info(
                "%d of %d sessions are idle for over %g s: those that are still so in %g s end then",
                count,
                len(self._ledger.sessions),
                self.idle_seconds,
                SECOND_LOOK_SECONDS,
            )
            return []
        return await self._end_idle(before)

    async def housekeep(self) -> None:
        """Sweep, and forget what ended long ago and who will not come back."""
        await self._allocated.end_over()
        await self.sweep()
        await self._ledger.connections.housekeep()
        await self._ledger.forget_ended(before=self._ledger.idle.now() - self.ended_seconds)
        await self._allocated.forget(before=self._ledger.idle.now() - self.ended_seconds)
        await self._room.housekeep()
        self._ledger.note_idle_mark(after_seconds=_MARK_SECONDS)

    async def _end_idle(self, before: float) -> list[SessionId]:
        swept: list[SessionId] = []
        while batch := list(islice(self._ledger.sessions.idle(before=before), _BATCH)):
            with self._turns.take_free_nowait(session.key for session in batch) as free:
                unused = []
                for session in batch:
                    if session.key not in free or self._is_in_use(session):
                        self._ledger.see(session)
                    else:
                        unused.append(session)
                swept.extend(ended.session_id for ended in await self._ledger.end(unused, Ending.EXPIRED))
            await checkpoint()
        if swept:
            logger.info("%d sessions expired, %d are held", len(swept), len(self._ledger.sessions))
        return swept

    def _is_in_use(self, session: SessionContext) -> bool:
        """Tell whether a stale session is in use all the same: within a window that a stalled store keeps open, too."""
        ledger = self._ledger
        return (
            self._live.is_connected(session)
            or ledger.sessions.is_recent(session)
            or ledger.allocations.is_active(session.key, now=ledger.idle.now())
        )

    async def _count_of_many(self, before: float) -> int | None:
        """Return how many sessions are stale, or None if they are not very many."""
        sessions = self._ledger.sessions
        if sessions.idle_count(before=before) <= max(_MANY, int(len(sessions) * _MANY_SHARE)):
            return None
        await self._see_live(before)
        at_most = max(_MANY, int(len(sessions) * _MANY_SHARE))
        count = sessions.idle_count(before=before)
        return count if count > at_most else None

    async def _see_live(self, before: float) -> None:
        """Let sessions with a live connection be seen now, so that no look at what is stale comes by."""
        for number, session in enumerate(self._live.unseen(before=before), start=1):
            if session is not None:
                self._ledger.see(session)
            if number % _BATCH == 0:
                await checkpoint()
