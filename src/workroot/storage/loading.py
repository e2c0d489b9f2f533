"""Rows as values: all that a database keeps, read at once, at the start.

Sessions are many and alike, so what they share (an owner, a project, the signs of one client) is one object here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from workroot.core.allocations import AllocatedSession, SessionStatus
from workroot.core.changes import AliasBound, IdleMark, ProjectSeen, StoredState
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.projects import Directory, DirectoryNode, KnownId, KnownProject, ProjectId, ProjectKey
from workroot.core.sessions import (
    Alias,
    EndedSession,
    Ending,
    Owner,
    PinnedSign,
    SessionContext,
    SessionId,
    SessionKey,
)

if TYPE_CHECKING:
    import sqlite3

__all__ = ["read_state"]


def read_state(connection: sqlite3.Connection) -> StoredState:
    """Read all that is kept."""
    rows = connection.execute
    meta = dict(rows("SELECT key, value FROM meta"))
    owners = _Owners()
    sessions, seen = _sessions(connection, owners)
    return StoredState(
        namespace=meta["namespace"],
        sessions=sessions,
        ended=_ended(connection, owners),
        aliases=tuple(
            AliasBound(owners[principal, sandbox], Alias(alias), SessionId(session_id))
            for sandbox, principal, alias, session_id in rows(
                "SELECT sandbox, principal, alias, session_id FROM aliases"
            )
        ),
        projects=tuple(
            ProjectSeen(
                owners[principal, sandbox],
                KnownProject(
                    project_id=ProjectId(project_id),
                    name=name,
                    root=Directory(root),
                    worktree_of=worktree_of,
                    seen_at=seen_at,
                ),
            )
            for sandbox, principal, root, project_id, name, worktree_of, seen_at in rows(
                "SELECT sandbox, principal, root, project_id, name, worktree_of, seen_at FROM projects"
            )
        ),
        project_ids=tuple(
            KnownId(
                key=ProjectKey(repository, path),
                project_id=ProjectId(project_id),
                name=name,
                root=Directory(root),
                is_joined=bool(is_joined),
                node=DirectoryNode(device, inode) if inode is not None else None,
            )
            for repository, path, project_id, name, root, is_joined, device, inode in rows(
                "SELECT repository, path, project_id, name, root, is_joined, device, inode FROM project_ids"
            )
        ),
        connections=tuple(
            KeptConnection(
                owner=Owner(principal, sandbox),
                alias=Alias(alias),
                subscriptions=frozenset(json.loads(subscriptions)),
                log_level=log_level,
                is_resumable=bool(is_resumable),
                last_used=last_used,
                seen=seen_at,
            )
            for sandbox, principal, alias, subscriptions, log_level, is_resumable, last_used, seen_at in rows(
                "SELECT sandbox, principal, alias, subscriptions, log_level, is_resumable, last_used, seen "
                "FROM connections"
            )
        ),
        ended_aliases=tuple(
            EndedAlias(Owner(principal, sandbox), Alias(alias), ended_at, seen_at)
            for sandbox, principal, alias, ended_at, seen_at in rows(
                "SELECT sandbox, principal, alias, ended_at, seen FROM ended_aliases"
            )
        ),
        allocations=_allocations(connection, owners),
        seen=seen,
        idle_mark=IdleMark(*json.loads(meta["idle_mark"])) if "idle_mark" in meta else None,
    )


class _Owners(dict[tuple[str, str], Owner]):
    """Owners by principal and sandbox, one object each: it is found equal to itself without a look at its texts."""

    def __missing__(self, key: tuple[str, str]) -> Owner:
        owner = self[key] = Owner(*key)
        return owner


def _sessions(
    connection: sqlite3.Connection, owners: _Owners
) -> tuple[tuple[SessionContext, ...], dict[SessionKey, float]]:
    signs_of: dict[str, tuple[PinnedSign, ...]] = {}
    texts: dict[Any, Any] = {}
    one = texts.setdefault
    sessions: list[SessionContext] = []
    seen_at: dict[SessionKey, float] = {}
    for (
        sandbox,
        session_id,
        principal,
        working_directory,
        given_directory,
        config_path,
        project_id,
        project_root,
        project_name,
        signs,
        set_at,
        last_used,
        revision,
        seen,
    ) in connection.execute(
        "SELECT sandbox, session_id, principal, working_directory, given_directory, config_path, project_id, "
        "project_root, project_name, signs, set_at, last_used, revision, seen FROM sessions"
    ):
        owner = owners[principal, sandbox]
        if (pinned := signs_of.get(signs)) is None:
            pinned = signs_of[signs] = tuple(
                PinnedSign(one(sign, sign), one(directory, directory), *agreed)  # version 1 kept no `agreed`
                for sign, directory, *agreed in json.loads(signs)
            )
        sessions.append(
            SessionContext(
                session_id=session_id,
                owner=owner,
                working_directory=one(working_directory, working_directory),
                given_directory=one(given_directory, given_directory),
                config_path=one(config_path, config_path),
                project_id=one(project_id, project_id),
                project_root=one(project_root, project_root),
                project_name=one(project_name, project_name),
                signs=pinned,
                set_at=set_at,
                last_used=last_used,
                revision=revision,
            )
        )
        if seen is not None:
            seen_at[SessionKey(owner.sandbox, session_id)] = seen
    return tuple(sessions), seen_at


def _ended(connection: sqlite3.Connection, owners: _Owners) -> tuple[EndedSession, ...]:
    return tuple(
        EndedSession(
            session_id=SessionId(session_id),
            owner=owners[principal, sandbox],
            last_directory=Directory(last_directory),
            ending=Ending(ending),
            ended_at=ended_at,
            seen=seen,
        )
        for sandbox, session_id, principal, last_directory, ending, ended_at, seen in connection.execute(
            "SELECT sandbox, session_id, principal, last_directory, ending, ended_at, seen FROM ended_sessions"
        )
    )


def _allocations(connection: sqlite3.Connection, owners: _Owners) -> tuple[AllocatedSession, ...]:
    statuses = {status.value: status for status in SessionStatus}
    texts: dict[Any, Any] = {}
    one = texts.setdefault
    return tuple(
        AllocatedSession(
            session_id=session_id,
            owner=owners[principal, sandbox],
            user_id=one(user_id, user_id),
            created_at=created_at,
            deadline=deadline,
            last_accessed=last_accessed,
            metadata="{}" if metadata == "{}" else metadata,  # one object, where most remember nothing
            status=statuses[status],
            ended_at=ended_at,
            seen=seen,
            revision=revision,
        )
        for (
            sandbox,
            session_id,
            principal,
            user_id,
            created_at,
            deadline,
            last_accessed,
            metadata,
            status,
            ended_at,
            seen,
            revision,
        ) in connection.execute(
            "SELECT sandbox, session_id, principal, user_id, created_at, deadline, last_accessed, metadata, status, "
            "ended_at, seen, revision FROM allocated_sessions"
        )
    )
