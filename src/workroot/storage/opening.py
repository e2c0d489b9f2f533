"""Opening a database: what must hold before the first answer is given from it.

A database of a newer workroot, and another program's, is looked at read-only and left as it was, to the byte. A spoilt
one of ours gives way to a new one and is kept. Settings on which durability rests are read back, because builds
of SQLite differ in their defaults.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING
from urllib.parse import quote

from workroot.errors import StoreUnavailableError
from workroot.storage.backup import write_copy
from workroot.storage.database_file import make_private_file
from workroot.storage.moved_aside import move_aside
from workroot.storage.network_disks import Pragma, journal_for, remote_file_system
from workroot.storage.reading_only import open_unwritten
from workroot.storage.salvage import salvage
from workroot.storage.schema import migrate, version_of
from workroot.storage.spoilt import check_content, check_files, check_may_be_moved, is_spoilt
from workroot.storage.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from workroot.storage.schema import Migration

__all__ = ["begin_anew", "open_connection", "open_or_begin_anew", "put_in_force"]

_log = logging.getLogger(__name__)

_SETTINGS: Sequence[Pragma] = (
    Pragma("fullfsync", 1, 1),  # macOS: a plain fsync leaves data in the drive's cache
    Pragma("foreign_keys", 1, 1),
    Pragma("journal_size_limit", 4 * 1024 * 1024, 4 * 1024 * 1024),  # bytes
    Pragma("mmap_size", 0, 0),  # a mapped file that shrinks ends the process with SIGBUS
)
_CACHE = Pragma("cache_size", -8_000, -8_000)  # KiB at most; with 2,000, many endings read the same pages often
_BUSY = Pragma("busy_timeout", 2_000, 2_000)  # milliseconds
_NO_INDEX = frozenset({sqlite3.SQLITE_IOERR_SHMMAP, sqlite3.SQLITE_IOERR_SHMLOCK, sqlite3.SQLITE_PROTOCOL})
"""How SQLite fails where the log's index cannot be shared memory."""


def open_or_begin_anew(
    path: str,
    *,
    migrations: Sequence[Migration],
    factory: type[sqlite3.Connection],
    check: Callable[[sqlite3.Connection], object],
) -> tuple[sqlite3.Connection, str | None]:
    """Do as `open_connection`; a spoilt database is moved aside and kept, and a new one takes its place.

    Args:
        check: reads all of a database, and raises if what it keeps cannot be understood.

    Returns:
        The connection, and where a spoilt database lies now, or None.

    Raises:
        StoreTooNewError, StoreUnavailableError, sqlite3.Error, OSError: as `open_connection`.
    """
    try:
        return open_connection(path, migrations=migrations, factory=factory), None
    except (sqlite3.Error, StoreUnavailableError) as error:
        if not is_spoilt(error):
            raise
    try:  # a disk that failed for a moment looks the same
        return open_connection(path, migrations=migrations, factory=factory), None
    except (sqlite3.Error, StoreUnavailableError) as error:
        if not is_spoilt(error):
            raise
        return begin_anew(path, error, migrations=migrations, factory=factory, check=check)


def begin_anew(
    path: str,
    why: Exception,
    *,
    migrations: Sequence[Migration],
    factory: type[sqlite3.Connection],
    check: Callable[[sqlite3.Connection], object],
) -> tuple[sqlite3.Connection, str]:
    """Move the spoilt database at *path* aside, and open a new one with what of the old one can be read.

    No connection to it is open. It is said once, in the log.

    Args:
        why: what is wrong with it.
        check: as in `open_or_begin_anew`.

    Raises:
        StoreTooNewError, StoreUnavailableError: it is a newer workroot's, or another program's.
        sqlite3.Error, OSError, StoreUnavailableError: it cannot be moved, or no new one be made.
    """
    check_may_be_moved(path, supported=len(migrations))
    aside = move_aside(path, "damaged")
    connection = open_connection(path, migrations=migrations, factory=factory)
    try:
        saved = salvage(aside, connection, check)
    except BaseException:
        connection.close()
        raise
    _log.warning("%s was damaged (%s) and moved to %s; %s", path, why, aside, saved)
    return connection, aside


def open_connection(
    path: str,
    *,
    migrations: Sequence[Migration],
    factory: type[sqlite3.Connection],
    file_system_of: Callable[[str], str | None] = remote_file_system,
) -> sqlite3.Connection:
    """Return the one connection to the database at *path*: private, sound, up to date, writable, in autocommit mode.

    Args:
        path: absolute, without links on its way.
        file_system_of: names the file system of a path if another machine or a program serves it.

    Raises:
        StoreTooNewError: a newer workroot wrote it; nothing was changed.
        StoreUnavailableError: it is not ours, or a setting is not in force.
        sqlite3.Error: it cannot be used (`is_spoilt` tells whether that is its content's fault). A migration that
            failed left the version before it.
        OSError: the same.
    """
    make_private_file(path)
    check_files(path)
    remote = file_system_of(path)
    is_checked = _check_read_only(path, supported=len(migrations), is_remote=remote is not None)
    connection = sqlite3.connect(path, isolation_level=None, factory=factory)
    try:
        _put_in_force(connection, path, _BUSY)
        _set_journal(connection, path, remote)
        for pragma in (*_SETTINGS, _CACHE):
            _put_in_force(connection, path, pragma)
        version = version_of(connection, path, supported=len(migrations))
        if not is_checked:
            check_content(connection)
        if 0 < version < len(migrations):
            write_copy(connection, f"{path}.v{version}.bak")
        migrate(connection, version, migrations)
        with transaction(connection):  # on a full disk all up to here may be well
            connection.execute(f"PRAGMA user_version = {len(migrations)}")
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


def _put_in_force(connection: sqlite3.Connection, path: str, pragma: Pragma) -> None:
    put_in_force(connection, path, *pragma)


def _set_journal(connection: sqlite3.Connection, path: str, remote: str | None) -> None:
    """Use the write-ahead log where it is safe, else a rollback journal."""
    if remote is None:
        try:
            for pragma in journal_for(None):
                _put_in_force(connection, path, pragma)
        except StoreUnavailableError:
            pass  # whatever keeps SQLite from it here
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode not in _NO_INDEX:
                raise
        else:
            return
    for pragma in journal_for(remote or "unknown"):
        _put_in_force(connection, path, pragma)


def _check_read_only(path: str, *, supported: int, is_remote: bool) -> bool:
    """Check the version and the content, and tell whether that could be done.

    A connection that may write would move what is in the log into the database when it closes, damaged as both may be.
    """
    if os.path.getsize(path) == 0:
        return False
    opened: AbstractContextManager[sqlite3.Connection] = (
        open_unwritten(path)
        if is_remote
        else closing(sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None))
    )
    with opened as connection:
        try:
            version_of(connection, path, supported=supported)
            connection.execute(f"PRAGMA cache_size = {_CACHE.value}")
            check_content(connection)
        except sqlite3.OperationalError as error:
            # Killed while it was made: only one that may write can take the beginning back, and does, next.
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            return False
    return True
