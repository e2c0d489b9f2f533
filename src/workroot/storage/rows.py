"""Changes as statements: one statement a kind of change, and one shape of row a table."""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING

from workroot.core.changes import (
    AliasBound,
    AliasEnded,
    AllocationSaved,
    AllocationTouched,
    Change,
    ConnectionForgotten,
    ConnectionSaved,
    EndedAliasesForgotten,
    EndedForgotten,
    EndingForgotten,
    IdleMarked,
    ProjectForgotten,
    ProjectIdKept,
    ProjectSeen,
    SessionEnded,
    SessionSaved,
    SessionTouched,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection

    from workroot.core.sessions import PinnedSign

__all__ = ["apply_changes"]

_SAVE = """
    INSERT INTO sessions (
        sandbox, session_id, principal, working_directory, given_directory, config_path,
        project_id, project_root, project_name, signs, set_at, last_used, revision, seen
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        working_directory = excluded.working_directory, given_directory = excluded.given_directory,
        config_path = excluded.config_path, project_id = excluded.project_id, project_root = excluded.project_root,
        project_name = excluded.project_name, signs = excluded.signs, set_at = excluded.set_at,
        last_used = excluded.last_used, revision = excluded.revision, seen = coalesce(excluded.seen, seen)
    WHERE excluded.revision >= revision
"""
_TOUCH = """
    UPDATE sessions SET last_used = max(last_used, ?1), seen = max(coalesce(seen, ?2), coalesce(?2, seen))
    WHERE sandbox = ?3 AND session_id = ?4
"""
_END = """
    INSERT INTO ended_sessions (sandbox, session_id, principal, last_directory, ending, ended_at, seen)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
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
_FORGET_PROJECT = "DELETE FROM projects WHERE sandbox = ? AND principal = ? AND root = ?"
_KEEP_ID = """
    INSERT INTO project_ids (repository, path, project_id, name, root, is_joined, device, inode)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        project_id = excluded.project_id, name = excluded.name, root = excluded.root, is_joined = excluded.is_joined,
        device = excluded.device, inode = excluded.inode
"""
_FORGET = "DELETE FROM ended_sessions WHERE seen < ?"
_FORGET_ONE = "DELETE FROM ended_sessions WHERE sandbox = ? AND session_id = ?"
_MARK = "INSERT INTO meta VALUES ('idle_mark', ?) ON CONFLICT DO UPDATE SET value = excluded.value"
_SAVE_CONNECTION = """
    INSERT INTO connections (sandbox, principal, alias, subscriptions, log_level, is_resumable, last_used, seen)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        subscriptions = excluded.subscriptions, log_level = excluded.log_level,
        is_resumable = excluded.is_resumable, last_used = excluded.last_used, seen = excluded.seen
"""
_FORGET_CONNECTION = "DELETE FROM connections WHERE sandbox = ? AND principal = ? AND alias = ?"
_END_ALIAS = """
    INSERT INTO ended_aliases (sandbox, principal, alias, ended_at, seen) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING
"""
_FORGET_ALIASES = "DELETE FROM ended_aliases WHERE seen < ?"
_SAVE_ALLOCATION = """
    INSERT INTO allocated_sessions (
        sandbox, session_id, principal, user_id, created_at, deadline, last_accessed, metadata, status, ended_at, seen,
        revision
    ) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET
        created_at = excluded.created_at, deadline = excluded.deadline, last_accessed = excluded.last_accessed,
        metadata = excluded.metadata, status = excluded.status, ended_at = excluded.ended_at, seen = excluded.seen,
        revision = excluded.revision
"""  # a trigger sees to what must stay
_TOUCH_ALLOCATION = """
    UPDATE allocated_sessions SET last_accessed = ?1
    WHERE sandbox = ?2 AND session_id = ?3 AND status = 'active' AND last_accessed < ?1
"""
_FORGET_ALLOCATIONS = "DELETE FROM allocated_sessions WHERE status <> 'active' AND seen < ?"


def apply_changes(connection: sqlite3.Connection, changes: Collection[Change]) -> None:
    """Execute *changes* in their order; neighbours of one kind share a call."""
    if len(changes) == 1:  # as most of them come
        connection.execute(*_statement(*changes))
        return
    for statement, group in groupby(map(_statement, changes), key=itemgetter(0)):
        connection.executemany(statement, map(itemgetter(1), group))


def _statement(change: Change) -> tuple[str, tuple[str | float | None, ...]]:  # noqa: PLR0911, PLR0912 -- one a kind
    match change:
        case AllocationSaved(allocation):  # first, as those come in crowds: each case passed costs 30 ns
            owner = allocation.owner
            return _SAVE_ALLOCATION, (
                owner.sandbox,
                allocation.session_id,
                owner.principal,
                allocation.user_id,
                allocation.created_at,
                allocation.deadline,
                allocation.last_accessed,
                allocation.metadata,
                allocation.status.value,
                allocation.ended_at,
                allocation.seen,
                allocation.revision,
            )
        case SessionSaved(session, seen):
            owner = session.owner
            return _SAVE, (
                owner.sandbox,
                session.session_id,
                owner.principal,
                session.working_directory,
                session.given_directory,
                session.config_path,
                session.project_id,
                session.project_root,
                session.project_name,
                _signs_text(session.signs),
                session.set_at,
                session.last_used,
                session.revision,
                seen,
            )
        case SessionTouched(key, last_used, seen):
            return _TOUCH, (last_used, seen, *key)
        case SessionEnded(ended):
            return _END, (
                *ended.key,
                ended.owner.principal,
                ended.last_directory,
                ended.ending.value,
                ended.ended_at,
                ended.seen,
            )
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
        case ProjectForgotten(owner, root):
            return _FORGET_PROJECT, (owner.sandbox, owner.principal, root)
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
        case EndingForgotten(key):
            return _FORGET_ONE, key
        case IdleMarked(mark):
            return _MARK, (json.dumps([mark.idle, mark.wall, mark.since_boot]),)
        case ConnectionSaved(kept):
            return _SAVE_CONNECTION, (
                kept.owner.sandbox,
                kept.owner.principal,
                kept.alias,
                json.dumps(sorted(kept.subscriptions), ensure_ascii=False),
                kept.log_level,
                kept.is_resumable,
                kept.last_used,
                kept.seen,
            )
        case ConnectionForgotten(owner, alias):
            return _FORGET_CONNECTION, (owner.sandbox, owner.principal, alias)
        case AliasEnded(gone):
            return _END_ALIAS, (gone.owner.sandbox, gone.owner.principal, gone.alias, gone.ended_at, gone.seen)
        case EndedAliasesForgotten(before):
            return _FORGET_ALIASES, (before,)
        case AllocationTouched(key, last_accessed):
            return _TOUCH_ALLOCATION, (last_accessed, *key)
        case _:  # AllocationsForgotten; mypy sees to it that no other kind is left
            return _FORGET_ALLOCATIONS, (change.before,)


@lru_cache(maxsize=512)
def _signs_text(signs: tuple[PinnedSign, ...]) -> str:
    return json.dumps(signs, ensure_ascii=False)  # a third of what a row costs, and sessions of one client share them
