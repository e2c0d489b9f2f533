"""Allocated sessions of this process: plan, persist, publish, in the turn of each session.

Asking whether a session is active reads memory alone: one look into a dictionary and at the clock. Time runs out on
that look, exactly; the sweep keeps the end and forgets the place of work with it.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from workroot.allocating.access import check_user, checked_id, serves
from workroot.allocating.session_changes import SessionChanges
from workroot.allocating.values import checked_text
from workroot.allocation_ends import AllocationEnds
from workroot.core.allocation_table import ended_as
from workroot.core.allocations import AllocatedSession, Allocation, SessionStatus, checked_seconds
from workroot.core.changes import AllocationSaved
from workroot.core.sessions import SessionId, SessionKey
from workroot.errors import SessionError, TooManySessionsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from workroot.core.sessions import Owner
    from workroot.session_ledger import SessionLedger
    from workroot.turns import Turns

__all__ = ["LedgerAllocations"]

_RANDOM_BYTES = 18
_IN_ORDER = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"  # as a store orders them
_MARK_SECONDS = 60.0  # how much of a time to live may run twice, if the machine fails


class LedgerAllocations(SessionChanges):
    """Implements `workroot.session_service.AllocationService` over what is held in memory and its store."""

    def __init__(self, ledger: SessionLedger, turns: Turns) -> None:
        super().__init__(ledger, turns)
        self._recent, self._now = ledger.allocations.recent, ledger.idle.now
        self._ends = AllocationEnds(ledger, turns)
        self._coming: set[tuple[str, SessionId]] = set()  # being kept, and not shown yet

    async def allocate(
        self,
        owner: Owner,
        *,
        session_id: str | None,
        user_id: str | None,
        seconds: float,
        values: Mapping[str, object],
    ) -> Allocation:
        """Make a session, or return the one of that id if it is the caller's already.

        Raises:
            MetadataError: it cannot remember that.
            SessionError: as `AllocationService.allocate`.
            TimeToLiveError: it cannot live for so long.
            TooManySessionsError: there is room for no other.
            UserIdError: the user's id cannot be one.
        """
        seconds, metadata = checked_seconds(seconds), checked_text(values)
        if user_id is not None:
            check_user(user_id)
        if session_id is None:  # nobody else can have it: no turn, and no look at what is there
            return await self._make(owner, None, user_id, seconds, metadata)
        known = checked_id(session_id)
        async with self._turns.take(SessionKey(owner.sandbox, known)):
            if (entry := self._access.own_already(owner, known, user_id)) is not None:
                self._touch(entry)
                return Allocation(entry.session, is_new=False)
            return await self._make(owner, known, user_id, seconds, metadata)

    async def validate(self, owner: Owner, session_id: str, *, user_id: str | None) -> bool:
        """Tell whether a session is active, and the caller's; that is a use of it.

        Raises:
            NotStartedError: nothing was loaded yet, so nobody knows.
        """
        entry = self._recent.get(session_id)
        if entry is not None:
            session = entry.session
            if serves(session, owner, user_id) and self._now() < session.deadline:
                entry.counts.hits += 1
                return True
        return self._validate(owner, session_id, user_id)

    async def find(self, owner: Owner, session_id: str, *, user_id: str | None) -> AllocatedSession | None:
        """Return a session in whatever state it is, as long as its end is remembered; that is no use of it."""
        self._access.check_started()
        found = self._table.get(SessionKey(owner.sandbox, SessionId(session_id)))
        if found is None or not serves(found, owner, user_id):
            return None
        if self._access.status(found) is found.status:
            return found
        ended_at = self._idle.wall_at(found.deadline)
        return ended_as(found, SessionStatus.EXPIRED, ended_at=ended_at, seen=self._now())

    async def expires_at(self, session: AllocatedSession) -> float:
        """Return when a session ends or ended, in seconds since the Unix epoch."""
        return session.ended_at if session.ended_at is not None else self._idle.wall_at(session.deadline)

    async def end(self, owner: Owner, session_id: str, *, user_id: str | None, is_deleted: bool) -> bool:
        """End a session for good, as deleted or as invalid; False: there is no active one that is the caller's."""
        self._access.check_started()
        async with self._turns.take(SessionKey(owner.sandbox, SessionId(session_id))):
            try:
                session = self._access.own(owner, session_id, user_id).session
            except SessionError:
                return False
            await self._ends.end([session], SessionStatus.TERMINATED if is_deleted else SessionStatus.INVALIDATED)
        return True

    async def cleanup(self, owner: Owner) -> int:
        """End those of the sandbox whose time has run out, and return how many had not been ended yet."""
        self._access.check_started()
        return await self._ends.end_over(owner.sandbox)

    async def stats(self, owner: Owner) -> Mapping[str, int]:
        """Return how many are active and what became of the others; see `AllocationService.stats`."""
        return self.stats_nowait(owner)

    def stats_nowait(self, owner: Owner) -> dict[str, int]:
        """Return what `stats` does."""
        counts, sandbox = self._table.counts.of(owner.sandbox), owner.sandbox
        over = self._table.over_count(sandbox, now=self._now())
        return {
            "active": self._table.active_count(sandbox) - over,
            "hits": counts.hits,
            "misses": counts.misses,
            "expired": counts.expired + over,
            "ended": counts.ended,
            "most": self._ledger.max_allocated,
        }

    async def _make(
        self,
        owner: Owner,
        chosen: SessionId | None,
        user_id: str | None,
        seconds: float,
        metadata: str,
    ) -> Allocation:
        most = self._ledger.max_allocated
        if len(self._table) + len(self._coming) >= most:
            await self._ends.end_over()
            if len(self._table) + len(self._coming) >= most:
                raise TooManySessionsError(most)
        self._check_room(len(metadata))
        now = self._now()
        at = self._idle.wall_at(now)
        session_id = chosen if chosen is not None else _minted(at)
        session = AllocatedSession(
            session_id=session_id,
            owner=owner,
            user_id=user_id,
            created_at=at,
            deadline=now + seconds,
            last_accessed=at,
            metadata=metadata,
        )
        coming, name = self._coming, (owner.sandbox, session_id)
        coming.add(name)
        try:
            if chosen is None:
                await self._ledger.keep_unheard_of(session)
            else:
                await self._ledger.keep([AllocationSaved(session)], lambda: coming.discard(name))
        finally:
            coming.discard(name)
        self._ledger.note_idle_mark(after_seconds=_MARK_SECONDS)
        return Allocation(session, is_new=True)

    def _validate(self, owner: Owner, session_id: str, user_id: str | None) -> bool:
        self._access.check_started()
        entry = self._table.entry(owner.sandbox, SessionId(session_id))
        if entry is None or not serves(entry.session, owner, user_id) or self._now() >= entry.session.deadline:
            self._table.counts.of(owner.sandbox).misses += 1
            return False
        entry.counts.hits += 1
        self._touch(entry)
        return True


def _minted(at: float) -> SessionId:
    """Return a new id that nobody can guess: 144 random bits.

    The time comes first, so that ids made one after another lie side by side in a store, which keeps half as many more
    a second then. It is short: of an id that is shown in part (`workroot.redaction`), half is random.
    """
    now, letters = int(at * 1000), _IN_ORDER
    when = f"{letters[now >> 18 & 63]}{letters[now >> 12 & 63]}{letters[now >> 6 & 63]}{letters[now & 63]}"
    return SessionId(f"wr_{when}{secrets.token_urlsafe(_RANDOM_BYTES)}")
