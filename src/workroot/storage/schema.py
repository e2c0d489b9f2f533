"""The shape of the database, version by version.

A step, once released, is never changed: what follows is a new step. Each runs in one transaction
with the version that it leads to, so a database is always of exactly one version.

The rules of the port are triggers here: no statement, ours or a person's, goes around them.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from workroot.errors import StoreTooNewError, StoreUnavailableError
from workroot.storage.allocation_schema import ALLOCATIONS
from workroot.storage.failures import damaged
from workroot.storage.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "APPLICATION_ID",
    "MIGRATIONS",
    "SQLITE_MINIMUM",
    "Migration",
    "check_sqlite",
    "migrate",
    "not_ours",
    "version_of",
]

Migration: TypeAlias = Callable[[sqlite3.Connection], None]
"""Leads to the next version; runs inside a transaction and leaves it open."""

SQLITE_MINIMUM = (3, 37, 0)
"""STRICT tables came with it (sqlite.org/stricttables.html)."""

APPLICATION_ID = 0x77726B72
"""Marks a database as ours ("wrkr"), so that nobody else's is taken for one."""

_FIRST = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE sessions (
        sandbox TEXT NOT NULL,
        session_id TEXT NOT NULL,
        principal TEXT NOT NULL,
        working_directory TEXT NOT NULL,
        given_directory TEXT NOT NULL,
        config_path TEXT,
        project_id TEXT,
        project_root TEXT,
        signs TEXT NOT NULL, -- JSON: [[source, directory], ...]
        set_at REAL NOT NULL,
        last_used REAL NOT NULL,
        revision INTEGER NOT NULL,
        PRIMARY KEY (sandbox, session_id)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE ended_sessions (
        sandbox TEXT NOT NULL,
        session_id TEXT NOT NULL,
        principal TEXT NOT NULL,
        last_directory TEXT NOT NULL,
        ending TEXT NOT NULL,
        ended_at REAL NOT NULL,
        PRIMARY KEY (sandbox, session_id)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX ended_sessions_by_time ON ended_sessions (ended_at)",
    """
    CREATE TABLE aliases (
        sandbox TEXT NOT NULL,
        principal TEXT NOT NULL,
        alias TEXT NOT NULL,
        session_id TEXT NOT NULL,
        PRIMARY KEY (sandbox, principal, alias),
        FOREIGN KEY (sandbox, session_id) REFERENCES sessions (sandbox, session_id) ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX aliases_by_session ON aliases (sandbox, session_id)",
    """
    CREATE TABLE projects (
        sandbox TEXT NOT NULL,
        principal TEXT NOT NULL,
        root TEXT NOT NULL,
        project_id TEXT NOT NULL,
        name TEXT NOT NULL,
        worktree_of TEXT,
        seen_at REAL NOT NULL,
        PRIMARY KEY (sandbox, principal, root)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TRIGGER what_ended_stays_ended BEFORE INSERT ON sessions
    WHEN EXISTS (SELECT 1 FROM ended_sessions WHERE sandbox = NEW.sandbox AND session_id = NEW.session_id)
    BEGIN SELECT RAISE(ABORT, 'the session has ended'); END
    """,
    """
    CREATE TRIGGER a_key_stays_with_its_principal BEFORE INSERT ON sessions
    WHEN EXISTS (
        SELECT 1 FROM sessions
        WHERE sandbox = NEW.sandbox AND session_id = NEW.session_id AND principal <> NEW.principal
    )
    BEGIN SELECT RAISE(ABORT, 'the session id belongs to somebody else'); END
    """,
    """
    CREATE TRIGGER an_ending_removes_the_session AFTER INSERT ON ended_sessions
    BEGIN DELETE FROM sessions WHERE sandbox = NEW.sandbox AND session_id = NEW.session_id; END
    """,
    """
    CREATE TRIGGER an_alias_stands_for_a_kept_session BEFORE INSERT ON aliases
    WHEN NOT EXISTS (
        SELECT 1 FROM sessions
        WHERE sandbox = NEW.sandbox AND session_id = NEW.session_id AND principal = NEW.principal
    )
    BEGIN SELECT RAISE(ABORT, 'the owner of the alias has no such session that is kept'); END
    """,
)

_SECOND = (
    "ALTER TABLE sessions ADD COLUMN project_name TEXT",
    """
    CREATE TABLE project_ids (
        repository TEXT NOT NULL, -- its common directory; empty outside of repositories
        path TEXT NOT NULL, -- below the repository's root; outside of repositories the project's root
        project_id TEXT NOT NULL,
        name TEXT NOT NULL,
        root TEXT NOT NULL,
        is_joined INTEGER NOT NULL,
        device INTEGER, -- of the common directory, outside of repositories of the root; NULL if unknown
        inode INTEGER,
        PRIMARY KEY (repository, path)
    ) STRICT, WITHOUT ROWID
    """,
)

_THIRD = (
    """
    CREATE TABLE connections (
        sandbox TEXT NOT NULL,
        principal TEXT NOT NULL,
        alias TEXT NOT NULL,
        subscriptions TEXT NOT NULL, -- JSON: [address, ...]
        log_level TEXT,
        is_resumable INTEGER NOT NULL,
        last_used REAL NOT NULL,
        PRIMARY KEY (sandbox, principal, alias)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE ended_aliases (
        sandbox TEXT NOT NULL,
        principal TEXT NOT NULL,
        alias TEXT NOT NULL,
        ended_at REAL NOT NULL,
        PRIMARY KEY (sandbox, principal, alias)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX ended_aliases_by_time ON ended_aliases (ended_at)",
    """
    CREATE TRIGGER an_ended_alias_stands_for_nothing BEFORE INSERT ON connections
    WHEN EXISTS (
        SELECT 1 FROM ended_aliases
        WHERE sandbox = NEW.sandbox AND principal = NEW.principal AND alias = NEW.alias
    )
    BEGIN SELECT RAISE(ABORT, 'the client has ended this conversation'); END
    """,
    """
    CREATE TRIGGER an_end_removes_the_connection AFTER INSERT ON ended_aliases
    BEGIN
        DELETE FROM connections
        WHERE sandbox = NEW.sandbox AND principal = NEW.principal AND alias = NEW.alias;
    END
    """,
)

_FOURTH = (
    "ALTER TABLE sessions ADD COLUMN seen REAL",  # on the idle clock; NULL: not used since
    "ALTER TABLE ended_sessions ADD COLUMN seen REAL NOT NULL DEFAULT 0",  # on the idle clock, which begins now, at 0
    "UPDATE ended_sessions SET seen = min(0, ended_at - (julianday('now') - 2440587.5) * 86400)",
    "DROP INDEX ended_sessions_by_time",
    "CREATE INDEX ended_sessions_by_seen ON ended_sessions (seen)",
    "ALTER TABLE connections ADD COLUMN seen REAL",
    "ALTER TABLE ended_aliases ADD COLUMN seen REAL NOT NULL DEFAULT 0",
    "UPDATE ended_aliases SET seen = min(0, ended_at - (julianday('now') - 2440587.5) * 86400)",
    "DROP INDEX ended_aliases_by_time",
    "CREATE INDEX ended_aliases_by_seen ON ended_aliases (seen)",
)


def _running(statements: Sequence[str]) -> Migration:
    def run(connection: sqlite3.Connection) -> None:
        for statement in statements:
            connection.execute(statement)

    return run


def _create(connection: sqlite3.Connection) -> None:
    _running(_FIRST)(connection)
    connection.execute("INSERT INTO meta VALUES ('namespace', ?)", (str(uuid.uuid4()),))


MIGRATIONS: Sequence[Migration] = (_create, *map(_running, (_SECOND, _THIRD, _FOURTH, ALLOCATIONS)))
"""The step at index n leads from version n to n + 1."""


def check_sqlite(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> None:
    """Check that SQLite itself is new enough.

    Raises:
        StoreUnavailableError: it is not.
    """
    if version < SQLITE_MINIMUM:
        found, needed = (".".join(map(str, each)) for each in (version, SQLITE_MINIMUM))
        raise StoreUnavailableError(f"this Python has SQLite {found}, {needed} is needed: use a newer Python")


def version_of(connection: sqlite3.Connection, path: str, *, supported: int) -> int:
    """Return the schema version of a database, 0 if it is empty; nothing is written.

    Raises:
        StoreTooNewError: it is above *supported*.
        StoreUnavailableError: it is somebody else's database.
        sqlite3.Error: it cannot be read.
    """
    try:
        application, tables = connection.execute(
            "SELECT application_id, (SELECT count(*) FROM sqlite_schema) FROM pragma_application_id"
        ).fetchone()
    except UnicodeDecodeError as error:  # SQLite quotes the schema that it does not understand, and Python cannot
        raise damaged("the schema is not text") from error
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION_ID and (tables or version):
        raise not_ours(path)
    if version > supported:
        raise StoreTooNewError(path, version, supported)
    return version


def not_ours(path: str) -> StoreUnavailableError:
    """Return the error for a database that another program made."""
    return StoreUnavailableError(f"{path} is not a database of workroot: move it away, or name another path")


def migrate(connection: sqlite3.Connection, version: int, steps: Sequence[Migration]) -> None:
    """Lead a database from *version* forward through the rest of *steps*, each whole or not at all."""
    for number, step in enumerate(steps[version:], start=version + 1):
        with transaction(connection):
            step(connection)
            connection.execute(f"PRAGMA user_version = {number}")
