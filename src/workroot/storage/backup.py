"""Copies of the database, made by SQLite itself: consistent at any moment, private, and only the newest are kept.

Copying the file would miss what is still in its log, and drop the locks that SQLite holds on it in this
process (sqlite.org/howtocorrupt.html, sections 1.2 and 2.2).
"""

from __future__ import annotations

import os
import re
import sqlite3
import sys
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from workroot.errors import StoreUnavailableError
from workroot.rendezvous import make_private_directory
from workroot.storage.database_file import lock_database, make_private_file
from workroot.storage.failures import unavailable
from workroot.storage.schema import MIGRATIONS, version_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["KEPT_BACKUPS", "Backup", "back_up", "back_up_unused", "restore_backup", "schema_version", "write_copy"]

KEPT_BACKUPS = 5

_NAME = re.compile(r"workroot-.+-(\d{8}T\d{12}Z)\.db")


@dataclass(frozen=True, slots=True)
class Backup:
    """A copy of a database.

    Attributes:
        path: where it lies.
        schema: its schema version.
    """

    path: str
    schema: int


def back_up(connection: sqlite3.Connection, directory: str, *, version: str) -> Backup:
    """Copy the database of *connection*, which is in no transaction, into *directory*; older copies there go.

    Args:
        connection: to the database, in autocommit mode.
        directory: where the copies lie; it is made if it is missing.
        version: of the workroot that wrote the database; a part of the copy's name.

    Raises:
        RendezvousError: the directory is not this user's alone.
        sqlite3.Error, OSError: there is no new copy.
    """
    make_private_directory(directory)
    now = _moment()
    path = os.path.join(directory, f"workroot-{version}-{now}.db")
    write_copy(connection, path)
    _remove_old(directory, now)
    return Backup(path, connection.execute("PRAGMA user_version").fetchone()[0])


def back_up_unused(database: str, directory: str, *, version: str) -> Backup | None:
    """Copy a database that no daemon has open, of whichever schema version; return None if there is none.

    Raises:
        StoreInUseError: somebody has it open.
        StoreUnavailableError: there is no new copy; the text says why.
        RendezvousError: as `back_up`.
    """
    with _owned(database):
        if not schema_version(database, supported=sys.maxsize):
            return None
        try:
            with closing(sqlite3.connect(database, isolation_level=None)) as connection:
                return back_up(connection, directory, version=version)
        except (sqlite3.Error, OSError) as error:
            raise unavailable(database, error) from error


def restore_backup(backup: str, database: str, *, is_damaged: bool = False) -> str | None:
    """Make *database*, which no daemon has open, what it was when *backup* was made: whole, or not at all.

    Args:
        is_damaged: no copy could be made of what is there; it is moved aside, since it may hold what no copy does.

    Returns:
        Where it was moved, or None if it was not.

    Raises:
        StoreInUseError: somebody has it open.
        StoreTooNewError: a newer workroot wrote the backup.
        StoreUnavailableError: the backup cannot be used, or the database cannot be written.
    """
    with _owned(database):
        if not schema_version(backup):
            raise StoreUnavailableError(f"{backup} is not a backup of workroot's database; nothing was restored")
        try:
            with closing(_read_only(backup)) as source:
                if (found := source.execute("PRAGMA integrity_check(1)").fetchone()[0]) != "ok":
                    raise StoreUnavailableError(f"{backup} is damaged ({found}); nothing was restored")
                aside = _set_aside(database) if is_damaged else None
                make_private_file(database)
                with closing(sqlite3.connect(database, isolation_level=None)) as target:
                    target.execute("PRAGMA synchronous = FULL")
                    source.backup(target)  # one transaction of SQLite's: a crash leaves the one or the other
                    target.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except (sqlite3.Error, OSError) as error:
            raise unavailable(database, error) from error
    return aside


def schema_version(path: str, *, supported: int = len(MIGRATIONS)) -> int:
    """Return the schema version of a database, in use or not; 0 if there is none or nothing in it. It stays untouched.

    Raises:
        StoreTooNewError: it is above *supported*, by default what this installation knows.
        StoreUnavailableError: it cannot be read, or is not workroot's.
    """
    try:
        if not os.path.exists(path) or not os.path.getsize(path):
            return 0
        with closing(_read_only(path)) as connection:
            return version_of(connection, path, supported=supported)
    except (sqlite3.Error, OSError) as error:
        raise unavailable(path, error) from error


def write_copy(connection: sqlite3.Connection, path: str) -> None:
    """Write what the database of *connection* holds to *path*: private, on the disk, and never half of it.

    Raises:
        sqlite3.Error, OSError: what was at *path* is as it was.
    """
    unfinished = f"{path}.part"
    with suppress(FileNotFoundError):
        os.unlink(unfinished)
    try:
        make_private_file(unfinished)
        connection.execute("VACUUM INTO ?", (unfinished,))
        _sync(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise
    _sync(os.path.dirname(path))


@contextmanager
def _owned(database: str) -> Iterator[None]:
    """Keep daemons away from the database, as one that has it open would."""
    try:
        lock = lock_database(os.path.realpath(database))
    except OSError as error:
        raise unavailable(database, error) from error
    try:
        yield
    finally:
        os.close(lock)


def _read_only(path: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, isolation_level=None)


def _set_aside(database: str) -> str:
    """Move a database away together with its log, and return where it is now."""
    aside = f"{database}.damaged-{_moment()}"
    for suffix in ("-wal", ""):  # the log first: beside a new database it would be taken for its log
        with suppress(FileNotFoundError):
            os.replace(f"{database}{suffix}", f"{aside}{suffix}")
    with suppress(FileNotFoundError):
        os.unlink(f"{database}-shm")
    return aside


def _moment() -> str:
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")  # to the microsecond: no two copies share a name


def _remove_old(directory: str, now: str) -> None:
    """Keep the newest copies. What claims to be of a later moment than *now* goes first: the clock was wrong then."""
    found = [(match[1], match[0]) for match in map(_NAME.fullmatch, os.listdir(directory)) if match]
    for _, name in sorted(found, key=lambda copy: (copy[0] <= now, copy))[:-KEPT_BACKUPS]:
        with suppress(OSError):
            os.unlink(os.path.join(directory, name))


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
