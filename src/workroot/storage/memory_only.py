"""A database in memory, for as long as the file cannot be written: the same tables, and so the same rules."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from workroot.storage.loading import read_state
from workroot.storage.reading_only import read_into_memory
from workroot.storage.schema import migrate, version_of
from workroot.storage.spoilt import is_spoilt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workroot.storage.schema import Migration

__all__ = ["open_in_memory"]


def open_in_memory(path: str, *, migrations: Sequence[Migration]) -> tuple[sqlite3.Connection, bool]:
    """Return a connection to a database in memory, with what can be read of the one at *path*.

    No connection to that one is open.

    Returns:
        The connection, in autocommit mode, and whether it holds all that is at *path*.

    Raises:
        StoreTooNewError, StoreUnavailableError: that database is a newer workroot's or another program's.
    """
    try:
        copy = read_into_memory(path)
    except (sqlite3.Error, OSError):
        return _prepared(None, path, migrations), False
    try:
        return _prepared(copy, path, migrations), True
    except Exception as error:
        if not is_spoilt(error, while_reading=True):
            raise
    return _prepared(None, path, migrations), False


def _prepared(copy: sqlite3.Connection | None, path: str, migrations: Sequence[Migration]) -> sqlite3.Connection:
    """Return a connection to what *copy* holds, or to nothing, of the newest version; else *copy* is closed."""
    connection = copy or sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.execute("PRAGMA foreign_keys = 1")
        migrate(connection, version_of(connection, path, supported=len(migrations)), migrations)
        read_state(connection)
    except BaseException:
        connection.close()
        raise
    return connection
