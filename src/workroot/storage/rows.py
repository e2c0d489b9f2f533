"""Changes as statements, and rows as values: one statement a change, and one shape of row a table."""

from __future__ import annotations

import json
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from workroot.core.changes import (
    AliasBound,
    AliasEnded,
    Change,
    ConnectionForgotten,
    ConnectionSaved,
    EndedForgotten,
    ProjectIdKept,
    ProjectSeen,
    SessionEnded,
    SessionSaved,
    SessionTouched,
    StoredState,
)
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
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

__all__ = ["apply_changes", "read_state"]

_SAVE = """
    INSERT INTO sessions (
        sandbox, session_id, principal, working_directory, given_directory, config_path,
        project_id, project_root, project_name, signs, set_at, last_used, revision
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        working_directory = excluded.working_directory, given_directory = excluded.given_directory,
        config_path = excluded.config_path, project_id = excluded.project_id, project_root = excluded.project_root,
        project_name = excluded.project_name, signs = excluded.signs, set_at = excluded.set_at,
        last_used = excluded.last_used, revision = excluded.revision
    WHERE excluded.revision >= revision
"""
_TOUCH = "UPDATE sessions SET last_used = ? WHERE sandbox = ? AND session_id = ? AND last_used < ?"
_END = """
    INSERT INTO ended_sessions (sandbox, session_id, principal, last_directory, ending, ended_at)
    VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_BIND = """
    INSERT INTO aliases (sandbox, principal, alias, session_id) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET session_id = excluded.session_id
"""
_SEE = """
    INSERT INTO projects (sandbox, principal, root, project_id, name, worktree_of, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        project_id = excluded.project_id, name = excluded.name,
        worktree_of = excluded.worktree_of, seen_at = excluded.seen_at
    WHERE excluded.seen_at >= seen_at
"""
_KEEP_ID = """
    INSERT INTO project_ids (repository, path, project_id, name, root, is_joined, device, inode)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        project_id = excluded.project_id, name = excluded.name, root = excluded.root, is_joined = excluded.is_joined,
        device = excluded.device, inode = excluded.inode
"""
_FORGET = "DELETE FROM ended_sessions WHERE ended_at < ?"
_SAVE_CONNECTION = """
    INSERT INTO connections (sandbox, principal, alias, subscriptions, log_level, is_resumable, last_used)
    VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        subscriptions = excluded.subscriptions, log_level = excluded.log_level,
        is_resumable = excluded.is_resumable, last_used = excluded.last_used
"""
_FORGET_CONNECTION = "DELETE FROM connections WHERE sandbox = ? AND principal = ? AND alias = ?"
_END_ALIAS = """
    INSERT INTO ended_aliases (sandbox, principal, alias, ended_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_FORGET_ALIASES = "DELETE FROM ended_aliases WHERE ended_at < ?"


def apply_changes(connection: sqlite3.Connection, changes: Sequence[Change]) -> None:
    """Execute *changes* in their order; neighbours of one kind share a call."""
    for statement, group in groupby(map(_statement, changes), key=itemgetter(0)):
        connection.executemany(statement, (row for _, row in group))


def _statement(change: Change) -> tuple[str, tuple[str | float | None, ...]]:  # noqa: PLR0911 -- one a kind of change
    match change:
        case SessionSaved(session):
            return _SAVE, (
                *session.key,
                session.owner.principal,
                session.working_directory,
                session.given_directory,
                session.config_path,
                session.project_id,
                session.project_root,
                session.project_name,
                json.dumps(session.signs, ensure_ascii=False),
                session.set_at,
                session.last_used,
                session.revision,
            )
        case SessionTouched(key, last_used):
            return _TOUCH, (last_used, *key, last_used)
        case SessionEnded(ended):
            return _END, (*ended.key, ended.owner.principal, ended.last_directory, ended.ending.value, ended.ended_at)
        case AliasBound(owner, alias, session_id):
            return _BIND, (owner.sandbox, owner.principal, alias, session_id)
        case ProjectSeen(owner, project):
            return _SEE, (
                owner.sandbox,
                owner.principal,
                project.root,
                project.project_id,
                project.name,
                project.worktree_of,
                project.seen_at,
            )
        case ProjectIdKept(known):
            return _KEEP_ID, (
                *known.key,
                known.project_id,
                known.name,
                known.root,
                known.is_joined,
                *(known.node or (None, None)),
            )
        case EndedForgotten(before):
            return _FORGET, (before,)
        case ConnectionSaved(kept):
            return _SAVE_CONNECTION, (
                kept.owner.sandbox,
                kept.owner.principal,
                kept.alias,
                json.dumps(sorted(kept.subscriptions), ensure_ascii=False),
                kept.log_level,
                kept.is_resumable,
                kept.last_used,
            )
        case ConnectionForgotten(owner, alias):
            return _FORGET_CONNECTION, (owner.sandbox, owner.principal, alias)
        case AliasEnded(gone):
            return _END_ALIAS, (gone.owner.sandbox, gone.owner.principal, gone.alias, gone.ended_at)
        case _:  # EndedAliasesForgotten; mypy sees to it that no other kind is left
            return _FORGET_ALIASES, (change.before,)


def read_state(connection: sqlite3.Connection) -> StoredState:
    """Read all that is kept."""
    (namespace,) = connection.execute("SELECT value FROM meta WHERE key = 'namespace'").fetchone()
    return StoredState(
        namespace=namespace,
        sessions=tuple(
            SessionContext(
                session_id=SessionId(session_id),
                owner=Owner(principal, sandbox),
                working_directory=Directory(working_directory),
                given_directory=given_directory,
                config_path=config_path,
                project_id=project_id,
                project_root=project_root,
                project_name=project_name,
                signs=tuple(PinnedSign(*sign) for sign in json.loads(signs)),  # version 1 kept no `agreed`
                set_at=set_at,
                last_used=last_used,
                revision=revision,
            )
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
            ) in connection.execute(
                "SELECT sandbox, session_id, principal, working_directory, given_directory, config_path, "
                "project_id, project_root, project_name, signs, set_at, last_used, revision FROM sessions"
            )
        ),
        ended=tuple(
            EndedSession(
                session_id=SessionId(session_id),
                owner=Owner(principal, sandbox),
                last_directory=Directory(last_directory),
                ending=Ending(ending),
                ended_at=ended_at,
            )
            for sandbox, session_id, principal, last_directory, ending, ended_at in connection.execute(
                "SELECT sandbox, session_id, principal, last_directory, ending, ended_at FROM ended_sessions"
            )
        ),
        aliases=tuple(
            AliasBound(Owner(principal, sandbox), Alias(alias), SessionId(session_id))
            for sandbox, principal, alias, session_id in connection.execute(
                "SELECT sandbox, principal, alias, session_id FROM aliases"
            )
        ),
        projects=tuple(
            ProjectSeen(
                Owner(principal, sandbox),
                KnownProject(
                    project_id=ProjectId(project_id),
                    name=name,
                    root=Directory(root),
                    worktree_of=worktree_of,
                    seen_at=seen_at,
                ),
            )
            for sandbox, principal, root, project_id, name, worktree_of, seen_at in connection.execute(
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
            for repository, path, project_id, name, root, is_joined, device, inode in connection.execute(
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
            )
            for sandbox, principal, alias, subscriptions, log_level, is_resumable, last_used in connection.execute(
                "SELECT sandbox, principal, alias, subscriptions, log_level, is_resumable, last_used FROM connections"
            )
        ),
        ended_aliases=tuple(
            EndedAlias(Owner(principal, sandbox), Alias(alias), ended_at)
            for sandbox, principal, alias, ended_at in connection.execute(
                "SELECT sandbox, principal, alias, ended_at FROM ended_aliases"
            )
        ),
    )
