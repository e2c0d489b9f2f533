"""Who works where: the daemon's sessions as plain state.

Nothing here waits, reads a clock or touches a disk: callers pass in what they saw, and when.
A change is a value (`workroot.core.changes`); the table takes it only after the store has kept it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from heapq import merge
from operator import attrgetter
from typing import TYPE_CHECKING

from workroot.core.aliases import Aliases, SessionEntry
from workroot.core.changes import (
    AliasBound,
    Change,
    EndedForgotten,
    EndingForgotten,
    SessionEnded,
    SessionSaved,
    SessionTouched,
    StoredState,
)
from workroot.core.endings import Endings
from workroot.core.few_per_key import FewPerKey
from workroot.core.projects import Place
from workroot.core.sessions import Alias, Ending, Owner, PinnedSign, SessionContext, SessionId, SessionKey
from workroot.errors import ClosedSessionError, ExpiredSessionError, UnknownSessionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["SessionTable"]


class SessionTable:
    """All sessions of a daemon, least recently used first.

    Two clocks meet here. `last_used` is wall time, for people and for restarts. `seen` is a clock
    of the caller's that no step of the wall clock moves; idle time is counted on it alone.

    Attributes:
        recent: by their ids, sessions whose use in the current window is noted: they are used again without another
            note. What is here is as `get` gives it; of one id in two sandboxes, the last one used is here.
        endings: how sessions ended that are not held any more.
        aliases: by which other names sessions are known.
    """

    def __init__(self) -> None:
        self._entries: dict[str, dict[SessionId, SessionEntry]] = {}  # by sandbox, each in the order of use
        self.aliases = Aliases()
        self._at: FewPerKey[str, SessionEntry] = FewPerKey()  # by working directory
        self.recent: dict[str, SessionContext] = {}
        self.endings = Endings()

    def __len__(self) -> int:
        return sum(map(len, self._entries.values()))

    def load(self, state: StoredState, *, seen: Mapping[SessionKey, float]) -> None:
        """Take over what a store kept; what is known here already stays.

        Args:
            seen: when each session was seen last (idle clock).
        """
        self.endings.load(ended for ended in state.ended if self._entry(ended.key) is None)
        for session in state.sessions:
            if self._entry(key := session.key) is None and key not in self.endings:
                self._put(session, seen[key])
        for sandbox, there in self._entries.items():
            self._entries[sandbox] = dict(sorted(there.items(), key=lambda item: item[1].seen))
        for bound in state.aliases:
            if self.of_alias(bound.owner, bound.alias) is None:
                self._bind(bound)

    def seen_at(self) -> dict[SessionKey, float]:
        """Return when each session was seen last (idle clock), longest idle first."""
        return {entry.session.key: entry.seen for entry in self._in_order()}

    # Reading

    def get(self, owner: Owner, session_id: SessionId) -> SessionContext:
        """Return the session that *session_id* names for *owner*.

        Raises:
            UnknownSessionError: nobody opened it, or somebody else did.
            ClosedSessionError: *owner* closed it.
            ExpiredSessionError: it was *owner*'s, and idle for too long.
        """
        if (session := self.opened(owner, session_id)) is None:
            raise UnknownSessionError(session_id)
        return session

    def opened(self, owner: Owner, session_id: SessionId) -> SessionContext | None:
        """Return the session that *session_id* names for *owner*, or None if nobody in the sandbox ever used the id.

        Raises:
            SessionError: as `get`.
        """
        key = SessionKey(owner.sandbox, session_id)
        entry, ended = self._entry(key), self.endings.get(key)
        if entry is not None and entry.session.owner == owner:
            return entry.session
        if ended is not None and ended.owner == owner:
            error = ClosedSessionError if ended.ending is Ending.CLOSED else ExpiredSessionError
            raise error(session_id, ended.last_directory)
        if entry is not None or ended is not None:
            raise UnknownSessionError(session_id)
        return None

    def of_key(self, key: SessionKey) -> SessionContext | None:
        """Return the session under *key*, whoever's it is, or None."""
        entry = self._entry(key)
        return entry.session if entry is not None else None

    def of_alias(self, owner: Owner, alias: Alias) -> SessionContext | None:
        """Return the session that *alias* stands for, or None."""
        entry = self.aliases.get(owner, alias)
        return entry.session if entry is not None else None

    def aliases_of(self, key: SessionKey) -> tuple[Alias, ...]:
        """Return the aliases that stand for a session."""
        entry = self._entry(key)
        return entry.aliases if entry is not None else ()

    def in_directory(self, owner: Owner, directory: str) -> list[SessionContext]:
        """Return the owner's sessions that work in exactly this directory."""
        return [entry.session for entry in self._at.of(directory) if entry.session.owner == owner]

    def all(self) -> list[SessionContext]:
        """Return everybody's sessions, least recently used first: for the daemon's own user only."""
        return [entry.session for entry in self._in_order()]

    def as_of_now(self) -> Iterable[SessionContext]:
        """Return everybody's sessions in no order: of 100,000, in a third of the time that `all` takes."""
        return [entry.session for there in self._entries.values() for entry in there.values()]

    def latest(self) -> Iterator[SessionContext]:
        """Yield everybody's sessions, most recently used first; the table must not change meanwhile."""
        return (entry.session for entry in self._in_order(is_latest_first=True))

    # Use

    def touch(self, key: SessionKey, *, now: float, seen: float) -> SessionTouched:
        """Note that a session, which is held, was used; return what to write behind."""
        entry = self._entries[key.sandbox][key.session_id]
        entry.session = replace(entry.session, last_used=max(now, entry.session.last_used))
        self.recent[key.session_id] = entry.session
        return self.see(key, seen=seen)

    def see(self, key: SessionKey, *, seen: float) -> SessionTouched:
        """Note that a session, which is held, is in use though nobody passed it; return what to write behind."""
        there = self._entries[key.sandbox]
        entry = there[key.session_id] = there.pop(key.session_id)
        entry.seen = seen
        return SessionTouched(key, entry.session.last_used, seen)

    def is_recent(self, session: SessionContext) -> bool:
        """Tell whether a session's use in the current window is noted, so that it may be in use unnoticed."""
        recent = self.recent.get(session.session_id)
        return recent is not None and recent.owner == session.owner

    def leave_window(self, session: SessionContext) -> None:
        """Let the next use of a session be looked at and noted anew."""
        if self.is_recent(session):
            del self.recent[session.session_id]

    def end_window(self) -> None:
        """Let every use be noted anew."""
        self.recent.clear()

    def seen(self, key: SessionKey) -> float:
        """Return when a session, which is held, was seen last (idle clock)."""
        return self._entries[key.sandbox][key.session_id].seen

    def idle(self, *, before: float) -> Iterator[SessionContext]:
        """Yield the sessions not seen since *before* (idle clock), longest idle first."""
        for entry in self._in_order():
            if entry.seen >= before:
                return
            yield entry.session

    def idle_count(self, *, before: float) -> int:
        """Return how many sessions were not seen since *before* (idle clock), without a look at each."""
        there = (tuple(there.values()) for there in self._entries.values())
        return sum(bisect_left(entries, before, key=attrgetter("seen")) for entries in there)

    def note_passed(self, session: SessionContext) -> None:
        """Note that a caller has passed the handle of a session, which is held: it is somebody's own."""
        self._entries[session.owner.sandbox][session.session_id].is_passed = True

    def is_passed(self, session: SessionContext) -> bool:
        """Tell whether anybody has passed the handle of a session since the start."""
        entry = self._entry(session.key)
        return entry is not None and entry.is_passed

    # Change

    def planned(
        self,
        owner: Owner,
        session_id: SessionId,
        place: Place,
        *,
        now: float,
        signs: tuple[PinnedSign, ...] = (),
    ) -> tuple[SessionContext, SessionContext | None]:
        """Return the session as it would be in *place*, and as it is (None if it is new); nothing changes."""
        before = self.of_key(SessionKey(owner.sandbox, session_id))
        planned = SessionContext.working_in(
            place, owner, session_id, now=now, signs=signs, revision=before.revision + 1 if before else 1
        )
        return planned, before

    def apply(self, changes: Iterable[Change], *, seen: float) -> None:
        """Take changes that the store has kept."""
        for change in changes:
            match change:
                case SessionSaved(session):
                    self._put(session, seen)
                case SessionEnded(ended):
                    self._remove(ended.key)
                    self.endings.add(ended)
                case AliasBound():
                    self._bind(change)
                case EndedForgotten() | EndingForgotten():
                    self.endings.apply(change)
                case _:  # what was seen is in the table before it is written behind
                    pass

    def _entry(self, key: SessionKey) -> SessionEntry | None:
        sandbox, session_id = key
        there = self._entries.get(sandbox)
        return there.get(session_id) if there is not None else None

    def _in_order(self, *, is_latest_first: bool = False) -> Iterator[SessionEntry]:
        sandboxes = [
            reversed(there.values()) if is_latest_first else there.values() for there in self._entries.values()
        ]
        return merge(*sandboxes, key=attrgetter("seen"), reverse=is_latest_first)

    def _put(self, session: SessionContext, seen: float) -> None:
        session_id, directory = session.session_id, session.working_directory
        there = self._entries.setdefault(session.owner.sandbox, {})
        if (entry := there.pop(session_id, None)) is None:
            entry = SessionEntry(session, seen)
        else:
            self.recent.pop(session_id, None)
            if entry.session.working_directory != directory:
                self._at.discard(entry.session.working_directory, entry)
            entry.session, entry.seen = session, seen
        there[session_id] = entry  # at the end
        self._at.add(directory, entry)

    def _remove(self, key: SessionKey) -> None:
        sandbox, session_id = key
        there = self._entries.get(sandbox, {})
        if (entry := there.pop(session_id, None)) is None:
            return
        if not there:
            del self._entries[sandbox]
        self.recent.pop(session_id, None)
        self._at.discard(entry.session.working_directory, entry)
        self.aliases.forget(entry)

    def _bind(self, bound: AliasBound) -> None:
        entry = self._entry(SessionKey(bound.owner.sandbox, bound.session_id))
        # Else it is of a damaged file, where nothing kept it from standing for nobody's session or somebody else's.
        if entry is not None and entry.session.owner == bound.owner:
            self.aliases.bind(bound.owner, bound.alias, entry)
