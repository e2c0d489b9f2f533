"""How allocated sessions come to their end, each together with the place where it works, in one commit.

The effort is for what is over, not for what is held. An end is final: it is kept before it is shown, and remembered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint

from workroot.core.allocation_table import ended_as
from workroot.core.allocations import SessionStatus
from workroot.core.changes import AllocationSaved, AllocationsForgotten, Change
from workroot.core.sessions import Ending, SessionKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workroot.core.allocations import AllocatedSession
    from workroot.core.sessions import Owner, SessionContext, SessionId
    from workroot.session_ledger import SessionLedger
    from workroot.turns import Turns

__all__ = ["AllocationEnds"]

_BATCH = 250  # sessions ended in one commit: more would hold the event loop up when they are shown
_SLICE = 500  # ends forgotten in one commit


class AllocationEnds:
    """Ends allocated sessions, and forgets how they ended.

    Args:
        turns: a session whose turn is taken is in the middle of a change.
    """

    def __init__(self, ledger: SessionLedger, turns: Turns) -> None:
        self._ledger, self._turns = ledger, turns

    async def end(self, sessions: Sequence[AllocatedSession], status: SessionStatus) -> None:
        """End active sessions, and whoever works under their ids; the caller holds their turns.

        Raises:
            StoreUnavailableError: nothing changed; the call may be repeated.
        """
        contexts = [context for each in sessions if (context := self._context_of(each)) is not None]
        ending = Ending.EXPIRED if status is SessionStatus.EXPIRED else Ending.CLOSED
        await self._ledger.end(contexts, ending, beside=self._changes(sessions, status))

    def changes_of_closing(self, owner: Owner, session_id: SessionId) -> Sequence[Change]:
        """Return what to keep beside the end of a session that its owner closes."""
        entry = self._ledger.allocations.entry(owner.sandbox, session_id)
        if entry is None or entry.session.owner != owner:
            return ()
        is_over = entry.session.deadline <= self._ledger.idle.now()
        return self._changes([entry.session], SessionStatus.EXPIRED if is_over else SessionStatus.TERMINATED)

    async def end_over(self, sandbox: str | None = None) -> int:
        """End those whose time has run out, and return how many; whoever is in the middle of a change waits.

        Args:
            sandbox: of this one alone; None for all.

        Raises:
            StoreUnavailableError: some have ended, the others wait for the next time.
        """
        table, count = self._ledger.allocations, 0
        for batch in table.over(now=self._ledger.idle.now(), sandbox=sandbox, most=_BATCH):
            with self._turns.take_free_nowait(batch) as free:
                now = self._ledger.idle.now()
                entries = [entry for key in batch if key in free and (entry := table.entry(*key)) is not None]
                sessions = [entry.session for entry in entries if entry.session.deadline <= now]
                await self.end(sessions, SessionStatus.EXPIRED)
            count += len(sessions)
            await checkpoint()
        return count

    async def forget(self, *, before: float) -> None:
        """Forget those that ended before this time, on the idle clock, and what is above the bound; in slices.

        Raises:
            StoreUnavailableError: some are forgotten, the others wait for the next time.
        """
        table = self._ledger.allocations
        while (until := table.forgettable(before=before, most=_SLICE)) is not None:
            await self._ledger.keep([AllocationsForgotten(until)], lambda: None)
        while forgotten := self._forgotten_for(0):
            await self._ledger.keep(forgotten, lambda: None)

    def _changes(self, sessions: Sequence[AllocatedSession], status: SessionStatus) -> list[Change]:
        """Return what to keep so that *sessions* end."""
        idle = self._ledger.idle
        now = idle.now()
        return [
            *(
                AllocationSaved(ended_as(each, status, ended_at=idle.wall_at(min(now, each.deadline)), seen=now))
                for each in sessions
            ),
            *self._forgotten_for(len(sessions)),
        ]

    def _forgotten_for(self, coming: int) -> list[Change]:
        """Return what to keep so that no more ends are remembered than may be, when so many come.

        A little more at once than has to: each looks through what the store keeps.
        """
        table, most = self._ledger.allocations, self._ledger.max_ended
        if (too_many := table.ended_count() + coming - most) <= 0:
            return []
        until = table.forgettable(most=min(max(too_many, most // 100), _SLICE + coming))
        return [AllocationsForgotten(until)] if until is not None else []

    def _context_of(self, session: AllocatedSession) -> SessionContext | None:
        context = self._ledger.sessions.of_key(SessionKey(session.owner.sandbox, session.session_id))
        return context if context is not None and context.owner == session.owner else None
