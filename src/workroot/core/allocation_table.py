"""Which sessions are allocated, until when, and how the others ended, as plain state.

Nothing here waits or reads a clock: callers pass in when. A change is a value (`workroot.core.changes`); the table
takes it only after the store has kept it. What ended stays known until it is forgotten, so that no id comes back.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice
from operator import attrgetter
from typing import TYPE_CHECKING

from workroot.core.allocation_deadlines import Deadlines
from workroot.core.allocation_use import AllocationUse
from workroot.core.allocations import AllocatedSession, SessionStatus
from workroot.core.changes import AllocationSaved, AllocationsForgotten, AllocationTouched, Change
from workroot.core.sessions import Owner, SessionId, SessionKey
from workroot.errors import SessionEndedError, UnknownSessionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from workroot.core.allocation_use import AllocationCounts

__all__ = ["AllocationEntry", "AllocationTable", "ended_as"]


class AllocationEntry:
    """An active session as it is now, and what its use is counted in."""

    __slots__ = ("counts", "session")

    def __init__(self, session: AllocatedSession, counts: AllocationCounts) -> None:
        self.session, self.counts = session, counts


class AllocationTable:
    """All allocated sessions of a process.

    Attributes:
        counts: what became of the sessions of each sandbox.
        letters: that the active ones remember, all together.
        recent: by their ids, active sessions whose use in the current window is noted; of one id in two sandboxes,
            the last one used is here.
    """

    def __init__(self) -> None:
        self._active: dict[str, dict[SessionId, AllocationEntry]] = {}  # by sandbox
        self._deadlines = Deadlines()
        self._ended: dict[SessionKey, AllocatedSession] = {}  # in the order of their ends
        self.counts = AllocationUse(self._active)
        self.letters = 0
        self.recent: dict[str, AllocationEntry] = {}

    def __len__(self) -> int:
        """How many are active, in all sandboxes; those whose time ran out count until they are ended."""
        return len(self._deadlines)

    def load(self, allocations: Iterable[AllocatedSession], *, ahead: float = 0.0) -> None:
        """Take over what a store kept; what is known here already stays.

        Args:
            ahead: of the clock that the store's times are on, in seconds, is this one.
        """
        active: list[AllocatedSession] = []
        for each in allocations:
            if self.get(each.key) is not None:
                continue
            if each.status is SessionStatus.ACTIVE:
                active.append(replace(each, deadline=each.deadline + ahead) if ahead else each)
                self._add(active[-1])
            else:
                self._ended[each.key] = replace(each, seen=each.seen + ahead) if ahead else each
        self._deadlines.load(active)
        self._ended = {each.key: each for each in sorted(self._ended.values(), key=attrgetter("seen"))}

    # Reading

    def get(self, key: SessionKey) -> AllocatedSession | None:
        """Return a session as it is kept, whoever's it is, or None if there is none or it is forgotten."""
        entry = self.entry(*key)
        return entry.session if entry is not None else self._ended.get(key)

    def entry(self, sandbox: str, session_id: SessionId) -> AllocationEntry | None:
        """Return a session that is kept as active, or None."""
        there = self._active.get(sandbox)
        return there.get(session_id) if there is not None else None

    def is_active(self, key: SessionKey, *, now: float) -> bool:
        """Tell whether a session is active at this time (idle clock)."""
        entry = self.entry(*key)
        return entry is not None and now < entry.session.deadline

    def is_over(self, key: SessionKey, *, now: float) -> bool:
        """Tell whether a session was allocated under this key and has ended by this time (idle clock)."""
        found = self.get(key)
        return found is not None and (found.status is not SessionStatus.ACTIVE or found.deadline <= now)

    def check_open(self, owner: Owner, session_id: SessionId, *, now: float) -> None:
        """Check that *owner* may work under an id: it was never allocated, or is *owner*'s and active.

        Raises:
            SessionEndedError: it was *owner*'s, and is over.
            UnknownSessionError: it is somebody else's.
        """
        if (found := self.get(SessionKey(owner.sandbox, session_id))) is None:
            return
        if found.owner != owner:
            raise UnknownSessionError(session_id)
        if found.status is not SessionStatus.ACTIVE:
            raise SessionEndedError(session_id, found.status)
        if found.deadline <= now:
            raise SessionEndedError(session_id, SessionStatus.EXPIRED)

    def active_count(self, sandbox: str) -> int:
        """Return how many sessions of a sandbox are active; those whose time ran out count until they are ended."""
        return len(self._active.get(sandbox, ()))

    def ended_count(self) -> int:
        """Return of how many it is known how they ended."""
        return len(self._ended)

    def all(self) -> tuple[AllocatedSession, ...]:
        """Return everybody's sessions, ended ones included."""
        return (*(entry.session for there in self._active.values() for entry in there.values()), *self._ended.values())

    def over(self, *, now: float, sandbox: str | None = None, most: int) -> Iterator[list[SessionKey]]:
        """Yield which active sessions have no time left (idle clock), first deadline first; see `Deadlines.over`."""
        return self._deadlines.over(now, sandbox, most)

    def over_count(self, sandbox: str, *, now: float) -> int:
        """Return how many active sessions of a sandbox have no time left (idle clock)."""
        if sandbox not in self._active:
            return 0
        return self._deadlines.over_count(now, sandbox if len(self._active) > 1 else None)

    # Use and change

    def touch(self, entry: AllocationEntry, *, now: float) -> AllocationTouched:
        """Note that an active session was used; return what to write behind.

        Args:
            entry: of the session.
            now: in seconds since the Unix epoch.
        """
        session = entry.session
        if now > session.last_accessed:
            session = entry.session = replace(session, last_accessed=now)
        self.recent[session.session_id] = entry
        return AllocationTouched(session.key, session.last_accessed)

    def end_window(self) -> None:
        """Let every use be noted anew."""
        self.recent.clear()

    def apply(self, changes: Iterable[Change]) -> None:
        """Take changes that the store has kept."""
        gone: list[AllocatedSession] = []
        for change in changes:
            if type(change) is AllocationSaved:
                if change.allocation.status is SessionStatus.ACTIVE:
                    self.put(change.allocation)
                elif (before := self._end(change.allocation)) is not None:
                    gone.append(before)
            elif type(change) is AllocationsForgotten:
                for key in [each.key for each in self._before(change.before)]:
                    del self._ended[key]
        if gone:
            self._deadlines.drop(gone)

    def put(self, session: AllocatedSession) -> None:
        """Take an active session that the store has kept."""
        entry = self.entry(session.owner.sandbox, session.session_id)
        if entry is None:
            self._add(session)
            self._deadlines.add(session)
        else:
            before = entry.session
            self.letters += len(session.metadata) - len(before.metadata)
            if session.last_accessed < before.last_accessed:  # it was used while the store kept this
                session = replace(session, last_accessed=before.last_accessed)
            entry.session = session
            if before.deadline != session.deadline:
                self._deadlines.drop([before])
                self._deadlines.add(session)

    def forgettable(self, *, before: float = math.inf, most: int) -> float | None:
        """Return before which time (idle clock) to forget ends, so that about *most* go; None if there are none.

        Args:
            before: later ends stay.
            most: how many are to go, and those of the very moment of the last one.
        """
        seen = [each.seen for each in islice(self._ended.values(), most)]
        if not seen or seen[0] >= before:
            return None
        return min(before, math.nextafter(seen[-1], math.inf))

    def _before(self, before: float) -> Iterator[AllocatedSession]:
        for each in self._ended.values():
            if each.seen >= before:
                return
            yield each

    def _add(self, session: AllocatedSession) -> None:
        sandbox = session.owner.sandbox
        self.letters += len(session.metadata)
        entry = AllocationEntry(session, self.counts.of(sandbox))
        self._active.setdefault(sandbox, {})[session.session_id] = entry

    def _end(self, session: AllocatedSession) -> AllocatedSession | None:
        """Take an end; return the session as it was, whose deadline is still to be dropped, or None: it is over."""
        self._ended.setdefault(session.key, session)
        sandbox, session_id = session.key
        if (entry := self.entry(sandbox, session_id)) is None:
            return None
        self.letters -= len(entry.session.metadata)
        there = self._active[sandbox]
        del there[session_id]
        if not there:
            del self._active[sandbox]
        if self.recent.get(session_id) is entry:
            del self.recent[session_id]
        if session.status is SessionStatus.EXPIRED:
            entry.counts.expired += 1
        else:
            entry.counts.ended += 1
        return entry.session


def ended_as(session: AllocatedSession, status: SessionStatus, *, ended_at: float, seen: float) -> AllocatedSession:
    """Return what remains of an active session that ends.

    Args:
        session: as it is.
        status: how it ends.
        ended_at: in seconds since the Unix epoch.
        seen: when its end is noted, on the idle clock.
    """
    return replace(session, status=status, metadata="{}", ended_at=ended_at, seen=seen, revision=session.revision + 1)
