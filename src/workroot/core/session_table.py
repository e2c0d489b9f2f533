"""Who works where: the daemon's sessions as plain state.

Nothing here waits, reads a clock or touches a disk: callers pass in what they saw, and when.
A change is a value (`workroot.core.changes`); the table takes it only after the store has kept it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workroot.core.changes import (
    AliasBound,
    Change,
    EndedForgotten,
    SessionEnded,
    SessionSaved,
    SessionTouched,
    StoredState,
)
from workroot.core.projects import Place
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, PinnedSign, SessionContext, SessionId, SessionKey
from workroot.errors import ClosedSessionError, ExpiredSessionError, UnknownSessionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["SessionTable"]


@dataclass(slots=True)
class _Entry:
    session: SessionContext
    seen: float  # on the clock that counts idle time
    is_passed: bool = False  # somebody has passed its handle


class SessionTable:
    """All sessions of a daemon, least recently used first.

    Two clocks meet here. `last_used` is wall time, for people and for restarts. `seen` is a clock
    of the caller's that no step of the wall clock moves; idle time is counted on it alone.
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[SessionKey, _Entry] = OrderedDict()
        self._ended: dict[SessionKey, EndedSession] = {}
        self._aliases: dict[tuple[Owner, Alias], SessionId] = {}
        self._aliases_of: dict[SessionKey, set[tuple[Owner, Alias]]] = {}
        self._in_directory: dict[str, set[SessionKey]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, state: StoredState, *, seen: Mapping[SessionKey, float]) -> None:
        """Take over what a store kept; *seen* places each session on the idle clock."""
        for session in sorted(state.sessions, key=lambda session: seen[session.key]):
            self._put(session, seen[session.key])
        self._ended.update((ended.key, ended) for ended in state.ended)
        for bound in state.aliases:
            self._bind(bound)

    def get(self, owner: Owner, session_id: SessionId) -> SessionContext:
        """Return the session that *session_id* names for *owner*.

        Raises:
            UnknownSessionError: nobody opened it, or somebody else did.
            ClosedSessionError: *owner* closed it.
            ExpiredSessionError: it was *owner*'s, and idle for too long.
        """
        key = SessionKey(owner.sandbox, session_id)
        if (entry := self._entries.get(key)) is not None and entry.session.owner == owner:
            return entry.session
        if (ended := self._ended.get(key)) is not None and ended.owner == owner:
            error = ClosedSessionError if ended.ending is Ending.CLOSED else ExpiredSessionError
            raise error(session_id, ended.last_directory)
        raise UnknownSessionError(session_id)

    def of_key(self, key: SessionKey) -> SessionContext | None:
        """Return the session under *key*, whoever's it is, or None."""
        entry = self._entries.get(key)
        return entry.session if entry is not None else None

    def in_directory(self, owner: Owner, directory: str) -> list[SessionContext]:
        """Return the owner's sessions that work in exactly this directory."""
        held = (self._entries[key].session for key in self._in_directory.get(directory, ()))
        return [session for session in held if session.owner == owner]

    def is_taken(self, owner: Owner, session_id: SessionId) -> bool:
        """Tell whether *session_id* was ever used in the owner's sandbox, by anybody."""
        key = SessionKey(owner.sandbox, session_id)
        return key in self._entries or key in self._ended

    def of_alias(self, owner: Owner, alias: Alias) -> SessionContext | None:
        """Return the session that *alias* stands for, or None."""
        session_id = self._aliases.get((owner, alias))
        if session_id is None:
            return None
        return self._entries[SessionKey(owner.sandbox, session_id)].session

    def all(self) -> list[SessionContext]:
        """Return everybody's sessions, least recently used first: for the daemon's own user only."""
        return [entry.session for entry in self._entries.values()]

    def ended_count(self) -> int:
        """Return of how many sessions it is kept how they ended."""
        return len(self._ended)

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
        entry = self._entries.get(SessionKey(owner.sandbox, session_id))
        before = entry.session if entry else None
        project = place.project
        planned = SessionContext(
            session_id=session_id,
            owner=owner,
            working_directory=place.directory,
            given_directory=place.given,
            config_path=place.config_path,
            project_id=project.project_id if project else None,
            project_root=project.root if project else None,
            project_name=project.name if project else None,
            signs=signs,
            set_at=now,
            last_used=now,
            revision=before.revision + 1 if before else 1,
        )
        return planned, before

    def touch(self, key: SessionKey, *, now: float, seen: float) -> SessionTouched:
        """Note that a session, which is held, was used; return what to write behind."""
        entry = self._entries[key]
        entry.session = replace(entry.session, last_used=max(now, entry.session.last_used))
        entry.seen = seen
        self._entries.move_to_end(key)
        return SessionTouched(key, entry.session.last_used)

    def idle(self, *, before: float) -> Iterator[SessionContext]:
        """Yield the sessions not seen since *before* (idle clock), longest idle first."""
        for entry in self._entries.values():
            if entry.seen >= before:
                return
            yield entry.session

    def aliases_of(self, key: SessionKey) -> frozenset[Alias]:
        """Return the aliases that stand for a session."""
        return frozenset(alias for _, alias in self._aliases_of.get(key, ()))

    def apply(self, changes: Iterable[Change], *, seen: float) -> None:
        """Take changes that the store has kept."""
        for change in changes:
            match change:
                case SessionSaved(session):
                    self._put(session, seen)
                case SessionEnded(ended):
                    self._remove(ended.key)
                    for bound in self._aliases_of.pop(ended.key, ()):
                        self._aliases.pop(bound, None)
                    self._ended.setdefault(ended.key, ended)  # the first ending stays
                case AliasBound():
                    self._bind(change)
                case EndedForgotten(before):
                    for key in [key for key, ended in self._ended.items() if ended.ended_at < before]:
                        del self._ended[key]
                case _:  # what was seen is in the table before it is written behind
                    pass

    def note_passed(self, session: SessionContext) -> None:
        """Note that a caller has passed the handle of a session, which is held: it is somebody's own."""
        self._entries[session.key].is_passed = True

    def is_passed(self, session: SessionContext) -> bool:
        """Tell whether anybody has passed the handle of a session since the start."""
        entry = self._entries.get(session.key)
        return entry is not None and entry.is_passed

    def _put(self, session: SessionContext, seen: float) -> None:
        before = self._entries.get(session.key)
        self._remove(session.key)
        self._entries[session.key] = _Entry(session, seen, is_passed=before is not None and before.is_passed)
        self._in_directory.setdefault(session.working_directory, set()).add(session.key)

    def _remove(self, key: SessionKey) -> None:
        if (entry := self._entries.pop(key, None)) is not None:
            there = self._in_directory[entry.session.working_directory]
            there.discard(key)
            if not there:
                del self._in_directory[entry.session.working_directory]

    def _bind(self, bound: AliasBound) -> None:
        name = (bound.owner, bound.alias)
        if (before := self._aliases.get(name)) is not None:
            self._aliases_of[SessionKey(bound.owner.sandbox, before)].discard(name)
        self._aliases[name] = bound.session_id
        self._aliases_of.setdefault(SessionKey(bound.owner.sandbox, bound.session_id), set()).add(name)
