"""All that is kept, written at once: into a new file after the old one was lost, or over what a fault left behind."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from workroot.core.changes import (
    AliasEnded,
    AllocationSaved,
    Change,
    ConnectionSaved,
    IdleMarked,
    ProjectIdKept,
    SessionEnded,
    SessionSaved,
    StoredState,
)
from workroot.core.sessions import SessionKey
from workroot.storage.rows import apply_changes
from workroot.storage.transactions import transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from workroot.core.allocations import AllocatedSession
    from workroot.core.sessions import SessionContext

__all__ = ["changes_of", "united", "unknown_part", "write_state"]

_TABLES = (
    *("aliases", "sessions", "ended_sessions", "projects", "project_ids", "connections", "ended_aliases"),
    "allocated_sessions",
)


def write_state(connection: sqlite3.Connection, state: StoredState) -> None:
    """Let a database hold *state* and nothing else; if that fails, it holds what it held.

    Raises:
        sqlite3.Error: it failed.
    """
    with transaction(connection):
        for table in _TABLES:
            connection.execute(f"DELETE FROM {table}")  # noqa: S608 -- names of our own
        connection.execute("DELETE FROM meta WHERE key = 'idle_mark'")
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('namespace', ?)", (state.namespace,))
        apply_changes(connection, [*changes_of(state)])


def changes_of(state: StoredState) -> Iterator[Change]:
    """Return what to ask of an empty store so that it holds *state*."""
    return chain(
        (SessionSaved(session, state.seen.get(session.key)) for session in state.sessions),
        state.aliases,
        map(SessionEnded, state.ended),
        state.projects,
        map(ProjectIdKept, state.project_ids),
        map(ConnectionSaved, state.connections),
        map(AliasEnded, state.ended_aliases),
        map(AllocationSaved, state.allocations),
        map(IdleMarked, [] if state.idle_mark is None else [state.idle_mark]),
    )


def unknown_part(found: StoredState, held: StoredState) -> StoredState:
    """Return what of *found* does not contradict *held* and is not in it; its idle clock is that of *found*."""
    sessions = {session.key: session for session in held.sessions}
    ended = {each.key for each in held.ended}
    aliases = {(bound.owner, bound.alias) for bound in held.aliases}
    ended_aliases = {(each.owner, each.alias) for each in held.ended_aliases}
    connections = {(kept.owner, kept.alias) for kept in held.connections}
    projects = {(seen.owner, seen.project.root) for seen in held.projects}
    project_ids = {known.key for known in held.project_ids}
    allocations = {each.key: each for each in held.allocations}
    unknown = tuple(
        session
        for session in found.sessions
        if session.key not in sessions.keys() | ended and _agree(session, allocations.get(session.key))
    )
    owners = {session.key: session.owner for session in unknown}
    return StoredState(
        namespace=found.namespace,
        sessions=unknown,
        ended=tuple(each for each in found.ended if each.key not in sessions.keys() | ended),
        aliases=tuple(
            bound
            for bound in found.aliases
            if (bound.owner, bound.alias) not in aliases
            and owners.get(SessionKey(bound.owner.sandbox, bound.session_id)) == bound.owner
        ),
        projects=tuple(seen for seen in found.projects if (seen.owner, seen.project.root) not in projects),
        project_ids=tuple(known for known in found.project_ids if known.key not in project_ids),
        connections=tuple(
            kept for kept in found.connections if (kept.owner, kept.alias) not in connections | ended_aliases
        ),
        ended_aliases=tuple(
            each for each in found.ended_aliases if (each.owner, each.alias) not in connections | ended_aliases
        ),
        allocations=tuple(
            each for each in found.allocations if each.key not in allocations and _agree(sessions.get(each.key), each)
        ),
        seen={key: found.seen[key] for key in owners if key in found.seen},
        idle_mark=found.idle_mark,
    )


def _agree(session: SessionContext | None, allocation: AllocatedSession | None) -> bool:
    """Tell whether what is kept under one key can be true at once: who works where, and who is there at all."""
    if session is None or allocation is None:
        return True
    return session.owner == allocation.owner and not allocation.status.is_final


def united(unknown: StoredState, held: StoredState) -> StoredState:
    """Return *held* with what `unknown_part` found; ids of projects go on deriving from where they did.

    The idle clock is that of *held*, as if it went on where that of *unknown* stood: how long it stood still is not
    known here, so what ended is remembered for longer rather than forgotten too early. When the sessions of *unknown*
    were used is left out: whoever adopts them knows better, and after a restart the clocks of the machine say it.
    """
    ahead = _latest(held) - _latest(unknown)
    return replace(
        held,
        namespace=unknown.namespace,
        sessions=unknown.sessions + held.sessions,
        ended=tuple(replace(each, seen=each.seen + ahead) for each in unknown.ended) + held.ended,
        aliases=unknown.aliases + held.aliases,
        projects=unknown.projects + held.projects,
        project_ids=unknown.project_ids + held.project_ids,
        connections=tuple(
            replace(each, seen=each.seen + ahead) if each.seen is not None else each for each in unknown.connections
        )
        + held.connections,
        ended_aliases=tuple(replace(each, seen=each.seen + ahead) for each in unknown.ended_aliases)
        + held.ended_aliases,
        allocations=tuple(map(partial(_moved, by=ahead), unknown.allocations)) + held.allocations,
    )


def _moved(allocation: AllocatedSession, *, by: float) -> AllocatedSession:
    """Return an allocated session on an idle clock that is ahead of its own."""
    seen = allocation.seen + by if allocation.status.is_final else allocation.seen
    return replace(allocation, deadline=allocation.deadline + by, seen=seen)


def _latest(state: StoredState) -> float:
    """Return the latest time on the idle clock that a state knows of, which begins at 0."""
    return max(
        0.0,
        state.idle_mark.idle if state.idle_mark is not None else 0.0,
        *state.seen.values(),
        *(each.seen for each in state.connections if each.seen is not None),
        *(each.seen for each in state.ended),
        *(each.seen for each in state.ended_aliases),
        *(each.seen for each in state.allocations),
    )
