"""No statement that keeps a change walks through a table: the cost is that of the change."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from workroot.core.allocations import AllocatedSession
from workroot.core.changes import (
    AliasBound,
    AliasEnded,
    AllocationSaved,
    AllocationsForgotten,
    AllocationTouched,
    Change,
    ConnectionForgotten,
    ConnectionSaved,
    EndedAliasesForgotten,
    EndedForgotten,
    EndingForgotten,
    IdleMark,
    IdleMarked,
    ProjectForgotten,
    ProjectIdKept,
    ProjectSeen,
    SessionEnded,
    SessionSaved,
    SessionTouched,
)
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.projects import Directory, KnownId, KnownProject, ProjectId, ProjectKey
from workroot.core.sessions import Alias, EndedSession, Ending, Owner, SessionContext, SessionId, SessionKey
from workroot.storage.rows import apply_changes
from workroot.storage.schema import MIGRATIONS, migrate

ADA, CONN, ONE = Owner("uid:1000"), Alias("conn"), SessionId("one")
KEY = SessionKey("default", ONE)
SESSION = SessionContext(
    session_id=ONE, owner=ADA, working_directory=Directory("/"), given_directory="/", set_at=1.0, last_used=1.0
)
ENDED = EndedSession(session_id=ONE, owner=ADA, last_directory=Directory("/"), ending=Ending.CLOSED, ended_at=1.0)
PROJECT = KnownProject(project_id=ProjectId("p"), name="p", root=Directory("/"), worktree_of=None, seen_at=1.0)
LENT = AllocatedSession(session_id=ONE, owner=ADA, user_id=None, created_at=1.0, deadline=2.0, last_accessed=1.0)
CHANGES: list[Change] = [
    SessionSaved(SESSION, 1.0),
    SessionTouched(KEY, 2.0, 2.0),
    AliasBound(ADA, CONN, ONE),
    SessionEnded(ENDED),
    EndingForgotten(KEY),
    EndedForgotten(1.0),
    IdleMarked(IdleMark(1.0, 2.0, 3.0)),
    ProjectSeen(ADA, PROJECT),
    ProjectForgotten(ADA, PROJECT.root),
    ProjectIdKept(KnownId(key=ProjectKey("", ""), project_id=ProjectId("p"), name="p", root=Directory("/"))),
    ConnectionSaved(KeptConnection(owner=ADA, alias=CONN, last_used=1.0)),
    ConnectionForgotten(ADA, CONN),
    AliasEnded(EndedAlias(ADA, CONN, 1.0)),
    EndedAliasesForgotten(1.0),
    AllocationSaved(LENT),
    AllocationTouched(KEY, 2.0),
    AllocationsForgotten(1.0),
]


class Explaining(sqlite3.Connection):
    """Keeps the plan of each statement that it is given values for."""

    plans: list[tuple[str, list[str]]]

    def execute(self, sql: str, values: Any = (), /) -> sqlite3.Cursor:
        if values:
            plan = super().execute(f"EXPLAIN QUERY PLAN {sql}", values)
            self.plans.append((sql, [step for *_, step in plan]))
        return super().execute(sql, values)


@pytest.fixture
def connection() -> Iterator[Explaining]:
    with closing(sqlite3.connect(":memory:", isolation_level=None, factory=Explaining)) as connection:
        connection.plans = []
        migrate(connection, 0, MIGRATIONS)
        apply_changes(connection, [SessionSaved(SESSION)])
        connection.plans.clear()
        yield connection


def test_every_kind_of_change_is_looked_at() -> None:
    assert {type(change) for change in CHANGES} == set(Change.__args__)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: type(change).__name__)
def test_no_change_walks_through_a_table(connection: Explaining, change: Change) -> None:
    apply_changes(connection, [change])

    [(sql, steps)] = connection.plans
    walks = [step for step in steps if step.startswith("SCAN") and "CONSTANT ROW" not in step]
    assert walks == [], sql
    if sql.lstrip().startswith(("UPDATE", "DELETE")):
        assert any(step.startswith("SEARCH") for step in steps), sql


@pytest.mark.parametrize(
    ("sql", "index"),
    [
        ("DELETE FROM ended_sessions WHERE seen < 1", "ended_sessions_by_seen"),
        ("DELETE FROM ended_aliases WHERE seen < 1", "ended_aliases_by_seen"),
        ("DELETE FROM allocated_sessions WHERE status <> 'active' AND seen < 1", "ended_allocations_by_seen"),
        ("DELETE FROM aliases WHERE sandbox = '' AND session_id = ''", "aliases_by_session"),  # the foreign key's
    ],
)
def test_what_is_forgotten_is_found_by_an_index(connection: Explaining, sql: str, index: str) -> None:
    [(*_, step)] = connection.execute(f"EXPLAIN QUERY PLAN {sql}").fetchall()

    assert index in step
