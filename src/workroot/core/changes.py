"""What a store is asked to keep, as values: those given together are kept together or not at all."""

from __future__ import annotations

from dataclasses import dataclass

from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.projects import KnownId, KnownProject
from workroot.core.sessions import Alias, EndedSession, Owner, SessionContext, SessionId, SessionKey

__all__ = [
    "AliasBound",
    "AliasEnded",
    "Change",
    "ConnectionForgotten",
    "ConnectionSaved",
    "EndedAliasesForgotten",
    "EndedForgotten",
    "ProjectIdKept",
    "ProjectSeen",
    "SessionEnded",
    "SessionSaved",
    "SessionTouched",
    "StoredState",
]


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
class ProjectIdKept:
    """From now on a project is known by this id; what was kept under its key before is replaced."""

    known: KnownId


@dataclass(frozen=True, slots=True)
class EndedForgotten:
    """Forget how the sessions ended that did so before this time (seconds since the Unix epoch)."""

    before: float


@dataclass(frozen=True, slots=True)
class ConnectionSaved:
    """Keep this of a conversation; what was kept of it before is replaced."""

    connection: KeptConnection


@dataclass(frozen=True, slots=True)
class ConnectionForgotten:
    """Keep nothing more of a conversation; its client may begin it again."""

    owner: Owner
    alias: Alias


@dataclass(frozen=True, slots=True)
class AliasEnded:
    """Keep nothing more of a conversation, and that its client has ended it; the session it stood for goes on."""

    ended: EndedAlias


@dataclass(frozen=True, slots=True)
class EndedAliasesForgotten:
    """Forget which aliases ended before this time (seconds since the Unix epoch)."""

    before: float


Change = (
    SessionSaved
    | SessionTouched
    | SessionEnded
    | AliasBound
    | ProjectSeen
    | ProjectIdKept
    | EndedForgotten
    | ConnectionSaved
    | ConnectionForgotten
    | AliasEnded
    | EndedAliasesForgotten
)


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
    project_ids: tuple[KnownId, ...] = ()
    connections: tuple[KeptConnection, ...] = ()
    ended_aliases: tuple[EndedAlias, ...] = ()
