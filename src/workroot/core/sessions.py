"""Who works where: the daemon's sessions as plain state.

Nothing here waits, reads a clock or touches a disk: callers pass in what they saw, and when.
A change is a value (`Change`); the table takes it only after the store has kept it.
"""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, NewType

from workroot.core.projects import Directory, KnownProject, Place, ProjectId
from workroot.errors import ClosedSessionError, ExpiredSessionError, SessionError, UnknownSessionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "DEFAULT_SANDBOX",
    "Alias",
    "AliasBound",
    "Change",
    "EndedForgotten",
    "EndedSession",
    "Ending",
    "Owner",
    "ProjectSeen",
    "SessionContext",
    "SessionEnded",
    "SessionId",
    "SessionKey",
    "SessionSaved",
    "SessionTable",
    "SessionTouched",
    "StoredState",
    "check_session_id",
    "mint_session_id",
]

SessionId = NewType("SessionId", str)
Alias = NewType("Alias", str)
"""A transport's own name for a conversation: a connector's instance, an `Mcp-Session-Id`. Never a key."""

DEFAULT_SANDBOX = "default"

_SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_HANDLE_BYTES = 18  # 144 bits; 128 is the least that may be guessed at


class Owner(NamedTuple):
    """On whose behalf a session exists; part of every key.

    Attributes:
        principal: the operating-system user (`uid:1000`) or a token's user (`user:ada`).
        sandbox: the tenant. Sessions of two sandboxes never meet.
    """

    principal: str
    sandbox: str = DEFAULT_SANDBOX


class SessionKey(NamedTuple):
    """What a session is kept under: the same id in two sandboxes is two sessions."""

    sandbox: str
    session_id: SessionId


class Ending(StrEnum):
    """How a session came to its end."""

    CLOSED = "closed"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionContext:
    """One conversation's place of work, as readers see it. Frozen: a change is a new one.

    Attributes:
        session_id: the handle that callers pass.
        owner: on whose behalf; a stranger never sees it.
        working_directory: absolute, symlinks resolved.
        given_directory: the same as the client spelled it.
        config_path: the project config in force, or None.
        project_id: None where no project owns the directory.
        project_root: the directory that owns it; of a worktree, the worktree.
        signs: what the hints named when the directory was set, as `("source: which one", directory)`.
        set_at: when the directory was set, in seconds since the Unix epoch.
        last_used: last activity, in seconds since the Unix epoch.
        revision: +1 at every change; of two copies, the higher is the newer.
    """

    session_id: SessionId
    owner: Owner
    working_directory: Directory
    given_directory: str
    config_path: str | None = None
    project_id: ProjectId | None = None
    project_root: Directory | None = None
    signs: tuple[tuple[str, str], ...] = ()
    set_at: float
    last_used: float
    revision: int = 1

    @property
    def key(self) -> SessionKey:
        """What this session is kept under."""
        return SessionKey(self.owner.sandbox, self.session_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedSession:
    """What remains of a session that ended, so that it does not come back to life.

    Attributes:
        ended_at: in seconds since the Unix epoch.
    """

    session_id: SessionId
    owner: Owner
    last_directory: Directory
    ending: Ending
    ended_at: float

    @property
    def key(self) -> SessionKey:
        """What the session was kept under."""
        return SessionKey(self.owner.sandbox, self.session_id)


# Changes: what a store is asked to keep. Those given together are kept together or not at all.


@dataclass(frozen=True, slots=True)
class SessionSaved:
    """Keep this session, unless a newer revision of it is kept already."""

    session: SessionContext


@dataclass(frozen=True, slots=True)
class SessionTouched:
    """The session was used; earlier than what is kept changes nothing."""

    key: SessionKey
    last_used: float


@dataclass(frozen=True, slots=True)
class SessionEnded:
    """Forget the session and the aliases bound to it; keep how it ended."""

    ended: EndedSession


@dataclass(frozen=True, slots=True)
class AliasBound:
    """From now on *alias* of this owner stands for this session."""

    owner: Owner
    alias: Alias
    session_id: SessionId


@dataclass(frozen=True, slots=True)
class ProjectSeen:
    """Somebody of this owner works in this project."""

    owner: Owner
    project: KnownProject


@dataclass(frozen=True, slots=True)
class EndedForgotten:
    """Forget how the sessions ended that did so before this time (seconds since the Unix epoch)."""

    before: float


Change = SessionSaved | SessionTouched | SessionEnded | AliasBound | ProjectSeen | EndedForgotten


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredState:
    """All that a store keeps.

    Attributes:
        namespace: UUID as text, made once per store: ids of projects without a config derive from it.
    """

    namespace: str
    sessions: tuple[SessionContext, ...] = ()
    ended: tuple[EndedSession, ...] = ()
    aliases: tuple[AliasBound, ...] = ()
    projects: tuple[ProjectSeen, ...] = ()


def mint_session_id() -> SessionId:
    """Return a new handle that nobody can guess (144 random bits)."""
    return SessionId(f"wr_{secrets.token_urlsafe(_HANDLE_BYTES)}")


def check_session_id(session_id: str) -> SessionId:
    """Return *session_id* if it can be one: 1 to 128 letters, digits, `.`, `_` or `-`, a letter or digit first.

    Raises:
        SessionError: it cannot be one.
    """
    if not _SESSION_ID.fullmatch(session_id):
        raise SessionError(
            session_id[:200],
            f"{session_id[:200]!r} cannot be a session id: 1 to 128 letters, digits, '.', '_' or '-', "
            f"beginning with a letter or digit; pass the session_id that set_working_directory returned",
        )
    return SessionId(session_id)


@dataclass(slots=True)
class _Entry:
    session: SessionContext
    seen: float  # on the clock that counts idle time


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

    def __len__(self) -> int:
        return len(self._entries)

    def load(self, state: StoredState, *, seen: Mapping[SessionKey, float]) -> None:
        """Take over what a store kept; *seen* places each session on the idle clock."""
        for session in sorted(state.sessions, key=lambda session: seen[session.key]):
            self._entries[session.key] = _Entry(session, seen[session.key])
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

    def is_held(self, key: SessionKey) -> bool:
        """Tell whether there is such a session, whoever's it is."""
        return key in self._entries

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
        signs: tuple[tuple[str, str], ...] = (),
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
                    self._entries[session.key] = _Entry(session, seen)
                    self._entries.move_to_end(session.key)
                case SessionEnded(ended):
                    self._entries.pop(ended.key, None)
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

    def _bind(self, bound: AliasBound) -> None:
        name = (bound.owner, bound.alias)
        if (before := self._aliases.get(name)) is not None:
            self._aliases_of[SessionKey(bound.owner.sandbox, before)].discard(name)
        self._aliases[name] = bound.session_id
        self._aliases_of.setdefault(SessionKey(bound.owner.sandbox, bound.session_id), set()).add(name)
