"""Which sessions are allocated, until when, and how the others ended, as plain state.

Nothing here waits or reads a clock: callers pass in when. A change is a value (`workroot.core.changes`); the table
takes it only after the store has kept it. What ended stays known until it is forgotten, so that no id comes back.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from dataclasses import replace
from itertools import islice
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING

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
        self._due: list[tuple[float, str, SessionId]] = []  # the active ones by deadline: sorted
        self._ended: dict[SessionKey, AllocatedSession] = {}  # in the order of their ends
        self.counts = AllocationUse(self._active)
        self.letters = 0
        self.recent: dict[str, AllocationEntry] = {}

    def __len__(self) -> int:
        """How many are active, in all sandboxes; those whose time ran out count until they are ended."""
        return len(self._due)

    def load(self, allocations: Iterable[AllocatedSession], *, ahead: float = 0.0) -> None:
        """Take over what a store kept; what is known here already stays.

        Args:
            ahead: of the clock that the store's times are on, in seconds, is this one.
        """
        for each in allocations:
            if self.get(each.key) is not None:
                continue
            if each.status is SessionStatus.ACTIVE:
                session = replace(each, deadline=each.deadline + ahead) if ahead else each
                self._add(session)
                self._due.append(_due(session))
            else:
                self._ended[each.key] = replace(each, seen=each.seen + ahead) if ahead else each
        self._due.sort()
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

    def over(self, *, now: float, sandbox: str | None = None) -> list[SessionKey]:
        """Return which active sessions have no time left (idle clock), first deadline first.

        Args:
            now: on the idle clock.
            sandbox: of this one alone; None for all.
        """
        due = islice(self._due, bisect_right(self._due, now, key=itemgetter(0)))
        return [SessionKey(there, session_id) for _, there, session_id in due if sandbox in (None, there)]

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
        for change in changes:
            if type(change) is AllocationSaved:
                self.put(change.allocation)
            elif type(change) is AllocationsForgotten:
                for key in [each.key for each in self._before(change.before)]:
                    del self._ended[key]

    def put(self, session: AllocatedSession) -> None:
        """Take a session, or an end, that the store has kept."""
        sandbox, session_id = session.owner.sandbox, session.session_id
        entry = self.entry(sandbox, session_id)
        if session.status is not SessionStatus.ACTIVE:
            self._end(entry, session)
        elif entry is None:
            self._add(session)
            self._insert_due(session)
        else:
            before = entry.session
            self.letters += len(session.metadata) - len(before.metadata)
            entry.session = replace(session, last_accessed=max(session.last_accessed, before.last_accessed))
            if before.deadline != session.deadline:
                self._drop_due(before)
                self._insert_due(session)

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

    def _end(self, entry: AllocationEntry | None, session: AllocatedSession) -> None:
        self._ended.setdefault(session.key, session)
        if entry is None:
            return
        sandbox, session_id = session.key
        self.letters -= len(entry.session.metadata)
        self._drop_due(entry.session)
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

    def _insert_due(self, session: AllocatedSession) -> None:
        due = _due(session)
        if not self._due or self._due[-1] < due:  # as most come: that spares the search
            self._due.append(due)
        else:
            insort(self._due, due)

    def _drop_due(self, session: AllocatedSession) -> None:
        del self._due[bisect_left(self._due, _due(session))]


def ended_as(session: AllocatedSession, status: SessionStatus, *, ended_at: float, seen: float) -> AllocatedSession:
    """Return what remains of an active session that ends.

    Args:
        session: as it is.
        status: how it ends.
        ended_at: in seconds since the Unix epoch.
        seen: when its end is noted, on the idle clock.
    """
    return replace(session, status=status, metadata="{}", ended_at=ended_at, seen=seen, revision=session.revision + 1)


def _due(session: AllocatedSession) -> tuple[float, str, SessionId]:
    return (session.deadline, session.owner.sandbox, session.session_id)
