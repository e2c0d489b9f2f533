"""What can still be read of a spoilt database goes into the new one: whole tables, or nothing of a table.

Half a table could hold a session and not that it has ended. The ids of projects rest on the namespace, so that is
looked for first; it is taken even where no table can be.
"""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.storage.reading_only import open_unwritten
from workroot.storage.schema import APPLICATION_ID
from workroot.storage.spoilt import check_content
from workroot.storage.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Salvaged", "salvage"]

_TABLES = (  # what rows refer to comes before them, and the large ones late: after each, all is read once
    *("projects", "project_ids", "connections", "ended_aliases", "ended_sessions", "allocated_sessions"),
    *("sessions", "aliases"),
)

_FAULTS = (sqlite3.DatabaseError, TypeError, ValueError, KeyError)


@dataclass(frozen=True, slots=True)
class Salvaged:
    """What a new database got of a spoilt one.

    Attributes:
        has_namespace: projects without a config keep their ids.
        tables: that were taken whole.
        lost: that could not be read.
    """

    has_namespace: bool = False
    tables: Sequence[str] = ()
    lost: Sequence[str] = _TABLES

    def __str__(self) -> str:
        """Return it in words, to go on after "it was moved to PATH"."""
        if not self.lost:
            return "all that it kept could be read and is kept on"
        if self.tables:
            return f"kept on: {', '.join(self.tables)}; lost: {', '.join(self.lost)}"
        return "nothing of it could be read, so that sessions begin anew"


def salvage(aside: str, target: sqlite3.Connection, check: Callable[[sqlite3.Connection], object]) -> Salvaged:
    """Put what can be read of the database at *aside* into the new and empty one of *target*.

    Args:
        aside: a spoilt database of ours; it is left as it is.
        target: in autocommit mode, of the newest schema version.
        check: reads all of the new database; what makes it raise is not kept.

    Raises:
        sqlite3.Error: the new database cannot be written.
    """
    with suppress(sqlite3.Error, OSError), open_unwritten(aside) as source:
        meta = _meta(source)
        if meta is None:
            return Salvaged()
        target.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", meta)
        if _facts(source) != _facts(target):  # of another version, so that its tables are others
            return Salvaged(has_namespace=True)
        if _take_whole(source, target, check):
            return Salvaged(True, _TABLES, ())
        taken = _take_tables(source, target, check)
        return Salvaged(True, taken, [table for table in _TABLES if table not in taken])
    return Salvaged()


def _meta(source: sqlite3.Connection) -> list[tuple[str, str]] | None:
    with suppress(sqlite3.Error, KeyError, TypeError, ValueError):
        rows = source.execute("SELECT key, value FROM meta").fetchall()
        uuid.UUID(dict(rows)["namespace"])
        return rows if _facts(source)[0] == APPLICATION_ID else None
    return None


def _facts(connection: sqlite3.Connection) -> tuple[int, int]:
    application, version = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
    )
    return application, version


def _take_whole(
    source: sqlite3.Connection, target: sqlite3.Connection, check: Callable[[sqlite3.Connection], object]
) -> bool:
    """Copy a database that is sound but for its log, page by page, and tell whether it is."""
    try:
        check_content(source)
        check(source)
    except _FAULTS:
        return False
    source.backup(target)
    return True


def _take_tables(
    source: sqlite3.Connection, target: sqlite3.Connection, check: Callable[[sqlite3.Connection], object]
) -> list[str]:
    """Copy the tables that can be, and return their names."""
    taken = [table for table in _TABLES if _take(table, source, target)]
    try:
        check(target)
    except _FAULTS:  # rows of one of them make no sense: reading all after each takes seconds, and tells which
        for table in reversed(_TABLES):
            target.execute(f"DELETE FROM {table}")  # noqa: S608 -- a name of our own
        return [table for table in taken if _take(table, source, target, check)]
    return taken


def _take(
    table: str,
    source: sqlite3.Connection,
    target: sqlite3.Connection,
    check: Callable[[sqlite3.Connection], object] = bool,
) -> bool:
    """Copy a table, whole or not at all, and tell whether it was."""
    described = target.execute(f"PRAGMA table_info({table})").fetchall()
    columns = [row[1] for row in described]
    key = [row[1] for row in sorted(described, key=lambda row: row[5]) if row[5]]
    # In this order SQLite reads the table, and not an index that holds all of it and may be what is damaged.
    reading = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {', '.join(key)}"  # noqa: S608 -- names of our own
    writing = f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"  # noqa: S608 -- the same
    try:
        rows = source.execute(reading).fetchall()
        with transaction(target):
            target.executemany(writing, rows)
            check(target)
    except _FAULTS:
        return False
    return True
