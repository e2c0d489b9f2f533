"""Opening a database: what must hold before the first answer is given from it.

A database of a newer workroot is looked at read-only and left as it was, to the byte. Settings on
which durability rests are read back, because builds of SQLite differ in their defaults.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from workroot.errors import StoreUnavailableError
from workroot.storage.backup import write_copy
from workroot.storage.database_file import make_private_file
from workroot.storage.schema import migrate, version_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workroot.storage.schema import Migration

__all__ = ["open_connection", "put_in_force"]

_SETTINGS: tuple[tuple[str, str | int, str | int], ...] = (  # name, value, what reading it back must give
    ("busy_timeout", 2_000, 2_000),  # milliseconds
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", 2),  # NORMAL loses acknowledged commits when the power fails
    ("fullfsync", 1, 1),  # macOS: a plain fsync leaves data in the drive's cache
    ("foreign_keys", 1, 1),
    ("journal_size_limit", 4 * 1024 * 1024, 4 * 1024 * 1024),  # bytes
    ("mmap_size", 0, 0),  # a mapped file that shrinks ends the process with SIGBUS
)


def open_connection(
    path: str, *, migrations: Sequence[Migration], factory: type[sqlite3.Connection]
) -> sqlite3.Connection:
    """Return the one connection to the database at *path*, private, up to date and in autocommit mode.

    Raises:
        StoreTooNewError: a newer workroot wrote it; nothing was changed.
        StoreUnavailableError: it is not ours, or a setting is not in force.
        sqlite3.Error: it cannot be used. A migration that failed left the version before it.
        OSError: the same.
    """
    make_private_file(path)
    _check_version_read_only(path, supported=len(migrations))
    connection = sqlite3.connect(path, isolation_level=None, factory=factory)
    try:
        for name, value, expected in _SETTINGS:
            put_in_force(connection, path, name, value, expected)
        version = version_of(connection, path, supported=len(migrations))
        if 0 < version < len(migrations):
            write_copy(connection, f"{path}.v{version}.bak")
        migrate(connection, version, migrations)
    except BaseException:
        connection.close()
        raise
    return connection


def put_in_force(connection: sqlite3.Connection, path: str, name: str, value: str | int, expected: str | int) -> None:
    """Set the pragma *name* and read it back.

    Raises:
        StoreUnavailableError: it is not in force.
    """
    connection.execute(f"PRAGMA {name} = {value}")
    row = connection.execute(f"PRAGMA {name}").fetchone()
    if row != (expected,):
        raise StoreUnavailableError(
            f"{path} cannot be opened safely: SQLite keeps {name} at {row and row[0]}, {expected} is needed; "
            f"put the file on a local disk"
        )


def _check_version_read_only(path: str, *, supported: int) -> None:
    if os.path.getsize(path) == 0:
        return
    # A connection that may write would move what is in the log into the database when it closes.
    with closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None)) as connection:
        try:
            version_of(connection, path, supported=supported)
        except sqlite3.OperationalError as error:
            # Killed while it was made: only one that may write can take the beginning back, and does, next.
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
