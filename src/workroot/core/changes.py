"""What a store is asked to keep, as values: those given together are kept together or not at all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workroot.core.allocations import AllocatedSession
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.projects import Directory, KnownId, KnownProject
from workroot.core.sessions import Alias, EndedSession, Owner, SessionContext, SessionId, SessionKey

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AliasBound",
    "AliasEnded",
    "AllocationSaved",
    "AllocationTouched",
    "AllocationsForgotten",
    "Change",
    "ConnectionForgotten",
    "ConnectionSaved",
    "EndedAliasesForgotten",
    "EndedForgotten",
    "EndingForgotten",
    "IdleMark",
    "IdleMarked",
    "ProjectForgotten",
    "ProjectIdKept",
    "ProjectSeen",
    "SessionEnded",
    "SessionSaved",
    "SessionTouched",
    "StoredState",
]


@dataclass(frozen=True, slots=True)
class SessionSaved:
    """Keep this session, unless a newer revision of it is kept already.

    Attributes:
        seen: when it was used, on the idle clock; None leaves what is kept of that.
    """

    session: SessionContext
    seen: float | None = None


@dataclass(frozen=True, slots=True)
class SessionTouched:
    """The session was used; earlier than what is kept changes nothing.

    Attributes:
        last_used: in seconds since the Unix epoch.
        seen: the same on the idle clock; None leaves what is kept of that.
    """

    key: SessionKey
    last_used: float
    seen: float | None = None


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
class ProjectForgotten:
    """Nobody of this owner has worked in the project at *root* for long."""

    owner: Owner
    root: Directory


@dataclass(frozen=True, slots=True)
class ProjectIdKept:
    """From now on a project is known by this id; what was kept under its key before is replaced."""

    known: KnownId


@dataclass(frozen=True, slots=True)
class EndedForgotten:
    """Forget how the sessions ended that did so before this time, on the idle clock."""

    before: float


@dataclass(frozen=True, slots=True)
class EndingForgotten:
    """Forget how one session ended: its key is free again."""

    key: SessionKey


@dataclass(frozen=True, slots=True)
class IdleMark:
    """Where the idle clock stood, and the clocks of the machine beside it; all in seconds.

    Attributes:
        idle: the idle clock (`workroot.idle_clock`).
        wall: since the Unix epoch.
        since_boot: that the machine had been awake since its boot.
    """

    idle: float
    wall: float
    since_boot: float


@dataclass(frozen=True, slots=True)
class IdleMarked:
    """From now on the idle clock goes on from here."""

    mark: IdleMark


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
    """Forget which aliases ended before this time, on the idle clock."""

    before: float


@dataclass(frozen=True, slots=True)
class AllocationSaved:
    """Keep this allocated session, unless a newer revision of it, or its end if this is one, is kept already."""

    allocation: AllocatedSession


@dataclass(frozen=True, slots=True)
class AllocationTouched:
    """The allocated session was used; earlier than what is kept, or after its end, that changes nothing.

    Attributes:
        last_accessed: in seconds since the Unix epoch.
    """

    key: SessionKey
    last_accessed: float


@dataclass(frozen=True, slots=True)
class AllocationsForgotten:
    """Forget the allocated sessions that ended before this time, on the idle clock: their ids are free again."""

    before: float


Change = (
    SessionSaved
    | SessionTouched
    | SessionEnded
    | AliasBound
    | ProjectSeen
    | ProjectForgotten
    | ProjectIdKept
    | EndedForgotten
    | EndingForgotten
    | IdleMarked
    | ConnectionSaved
    | ConnectionForgotten
    | AliasEnded
    | EndedAliasesForgotten
    | AllocationSaved
    | AllocationTouched
    | AllocationsForgotten
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredState:
    """All that a store keeps.

    Attributes:
        namespace: UUID as text, made once per store: ids of projects without a config derive from it.
        allocations: sessions that were allocated, ended ones included.
        seen: when sessions were used last, on the idle clock; those of older schemas are missing.
        idle_mark: where the idle clock stood, as last noted; None if it never was.
    """

    namespace: str
    sessions: tuple[SessionContext, ...] = ()
    ended: tuple[EndedSession, ...] = ()
    aliases: tuple[AliasBound, ...] = ()
    projects: tuple[ProjectSeen, ...] = ()
    project_ids: tuple[KnownId, ...] = ()
    connections: tuple[KeptConnection, ...] = ()
    ended_aliases: tuple[EndedAlias, ...] = ()
    allocations: tuple[AllocatedSession, ...] = ()
    seen: Mapping[SessionKey, float] = field(default_factory=dict)
    idle_mark: IdleMark | None = None
