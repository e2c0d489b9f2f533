"""From the records of an archive to what a store and a daemon hold.

The clock on which idle time is counted is each daemon's own, so an archive says nothing of it: what has a time to live
is here on a clock that stood at 0 when the archive was written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.archive.records import (
    AliasRecord,
    AllocationRecord,
    ConnectionRecord,
    EndedAliasRecord,
    EndedRecord,
    ProjectIdRecord,
    ProjectRecord,
    Record,
    SessionRecord,
)
from workroot.core.allocations import LONGEST_SECONDS, AllocatedSession, SessionStatus
from workroot.core.changes import AliasBound, ProjectSeen, StoredState
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.projects import Directory, KnownId, KnownProject, ProjectId, ProjectKey
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, PinnedSign, SessionContext, SessionId

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["state_of"]


def state_of(records: Iterable[Record]) -> StoredState:
    """Return what the records say; head and end say nothing here, so that there is no namespace."""
    sessions: list[SessionContext] = []
    ended: list[EndedSession] = []
    aliases: list[AliasBound] = []
    projects: list[ProjectSeen] = []
    project_ids: list[KnownId] = []
    connections: list[KeptConnection] = []
    ended_aliases: list[EndedAlias] = []
    allocations: list[AllocatedSession] = []
    for record in records:
        match record:
            case SessionRecord():
                sessions.append(_session(record))
            case EndedRecord():
                ended.append(_ended(record))
            case AllocationRecord():
                allocations.append(_allocation(record))
            case AliasRecord():
                aliases.append(AliasBound(_owner(record), Alias(record.alias), SessionId(record.session_id)))
            case ConnectionRecord():
                connections.append(_connection(record))
            case EndedAliasRecord():
                ended_aliases.append(EndedAlias(_owner(record), Alias(record.alias), record.ended_at))
            case ProjectRecord():
                projects.append(ProjectSeen(_owner(record), _project(record)))
            case ProjectIdRecord():
                project_ids.append(_known_id(record))
            case _:
                pass
    return StoredState(
        namespace="",
        sessions=tuple(sessions),
        ended=tuple(ended),
        aliases=tuple(aliases),
        projects=tuple(projects),
        project_ids=tuple(project_ids),
        connections=tuple(connections),
        ended_aliases=tuple(ended_aliases),
        allocations=tuple(allocations),
    )


def _owner(
    record: SessionRecord
    | EndedRecord
    | AllocationRecord
    | AliasRecord
    | ConnectionRecord
    | EndedAliasRecord
    | ProjectRecord,
) -> Owner:
    return Owner(record.principal, record.sandbox)


def _session(record: SessionRecord) -> SessionContext:
    return SessionContext(
        session_id=SessionId(record.session_id),
        owner=_owner(record),
        working_directory=Directory(record.working_directory),
        given_directory=record.given_directory,
        config_path=record.config_path,
        project_id=ProjectId(record.project_id) if record.project_id is not None else None,
        project_root=Directory(record.project_root) if record.project_root is not None else None,
        project_name=record.project_name,
        signs=tuple(PinnedSign(*sign) for sign in record.signs),
        set_at=record.set_at,
        last_used=record.last_used,
        revision=record.revision,
    )


def _ended(record: EndedRecord) -> EndedSession:
    return EndedSession(
        session_id=SessionId(record.session_id),
        owner=_owner(record),
        last_directory=Directory(record.last_directory),
        ending=Ending(record.ending),
        ended_at=record.ended_at,
    )


def _allocation(record: AllocationRecord) -> AllocatedSession:
    status = SessionStatus(record.status)
    return AllocatedSession(
        session_id=SessionId(record.session_id),
        owner=_owner(record),
        user_id=record.user_id,
        created_at=record.created_at,
        deadline=min(record.remaining_seconds, LONGEST_SECONDS),
        last_accessed=record.last_accessed,
        metadata="{}" if status.is_final else record.metadata,
        status=status,
        ended_at=record.ended_at,
        revision=record.revision,
    )


def _connection(record: ConnectionRecord) -> KeptConnection:
    return KeptConnection(
        owner=_owner(record),
        alias=Alias(record.alias),
        subscriptions=frozenset(record.subscriptions),
        log_level=record.log_level,
        is_resumable=record.is_resumable,
        last_used=record.last_used,
    )


def _project(record: ProjectRecord) -> KnownProject:
    return KnownProject(
        project_id=ProjectId(record.project_id),
        name=record.name,
        root=Directory(record.root),
        worktree_of=Directory(record.worktree_of) if record.worktree_of is not None else None,
        seen_at=record.seen_at,
    )


def _known_id(record: ProjectIdRecord) -> KnownId:
    return KnownId(
        key=ProjectKey(record.repository, record.path),
        project_id=ProjectId(record.project_id),
        name=record.name,
        root=Directory(record.root),
        is_joined=record.is_joined,
    )  # the directory's device and inode were those of another machine
