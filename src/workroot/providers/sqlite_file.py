"""The file of a provider's values, as blocking calls that belong to one thread.

What `write` returns from is on the disk. A damaged file is left as it is and said: nothing of it is given up for a
new one without its owner knowing.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from workroot.core.changes import IdleMark
from workroot.errors import ProviderInUseError, StoreError, StoreInUseError, StoreUnavailableError
from workroot.providers.timed_values import TimedValue
from workroot.storage.database_file import FileGuard, lock_database
from workroot.storage.failures import is_passing, unavailable
from workroot.storage.opening import open_connection
from workroot.storage.schema import APPLICATION_ID, check_sqlite
from workroot.storage.spoilt import is_spoilt
from workroot.storage.tidying import tidy
from workroot.storage.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

__all__ = ["KeptValues", "ValuesFile"]

_log = logging.getLogger(__name__)


def _create(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(
        "CREATE TABLE provider_values (key TEXT PRIMARY KEY, value TEXT NOT NULL, deadline REAL NOT NULL) STRICT"
    )
    connection.execute(
        "CREATE TABLE provider_clock (one INTEGER PRIMARY KEY CHECK (one = 1), idle REAL NOT NULL, wall REAL NOT NULL, "
        "since_boot REAL NOT NULL) STRICT"
    )


_MIGRATIONS = (_create,)


class KeptValues(NamedTuple):
    """All that a file keeps.

    Attributes:
        values: by key, in the order in which they were kept.
        mark: where the clock of their deadlines stood; None in a new file.
    """

    values: dict[str, TimedValue]
    mark: IdleMark | None


class ValuesFile:
    """A file of values that one owner has from `open` to `close`.

    Args:
        path: where it is or shall be; its directory exists.
        factory: what makes the connection; a subclass can watch it or make it fail.

    Attributes:
        is_suspect: the last write failed and may be in the file all the same; the next has to say all that is held.
    """

    def __init__(self, path: str | os.PathLike[str], *, factory: type[sqlite3.Connection]) -> None:
        self.path = os.path.realpath(path)  # two names of one file must not be two locks
        self._factory = factory
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        self._guard: FileGuard | None = None
        self._identity: tuple[int, int] | None = None
        self.is_suspect = False

    def open(self) -> sqlite3.Connection:
        """Take the file and return the connection to it.

        Raises:
            ProviderInUseError: another owner has it.
            StoreTooNewError: a newer workroot wrote it; it is as it was.
            StoreUnavailableError: it is damaged, another program's, or cannot be written; it is as it was.
        """
        check_sqlite()
        try:
            self._lock = lock_database(self.path)
            return self._connect()
        except StoreInUseError as error:
            raise ProviderInUseError(self.path) from error
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise self._failure(error) from error
        except BaseException:
            self.close()
            raise

    def load(self) -> KeptValues:
        """Return all that is kept.

        Raises:
            StoreUnavailableError: it cannot be read, or not understood.
        """
        try:
            connection = self._sound_connection()
            rows = connection.execute("SELECT key, value, deadline FROM provider_values ORDER BY rowid").fetchall()
            mark = connection.execute("SELECT idle, wall, since_boot FROM provider_clock").fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        values = {
            key: TimedValue(value, deadline, len(key.encode()) + len(value.encode())) for key, value, deadline in rows
        }
        return KeptValues(values, IdleMark(*mark) if mark is not None else None)

    def write(
        self,
        changes: Mapping[str, TimedValue | None],
        forgotten: Collection[str],
        mark: IdleMark,
        held: Mapping[str, TimedValue] | None,
    ) -> None:
        """Keep *changes*, None for a value that is removed, in one transaction.

        Args:
            changes: by key.
            forgotten: keys of values whose time is over.
            mark: where the clock stands.
            held: all that was kept before, if `is_suspect`; else it does not matter.

        Raises:
            StoreUnavailableError: nothing of it counts as kept; the call may be repeated.
        """
        try:
            if self.is_suspect:
                self._disconnect()
                self._connect()
            connection = self._sound_connection()
            with transaction(connection):
                if self.is_suspect and held is not None:
                    connection.execute("DELETE FROM provider_values")
                    _put(connection, held)
                connection.executemany("DELETE FROM provider_values WHERE key = ?", [(key,) for key in forgotten])
                gone = [(key,) for key, value in changes.items() if value is None]
                connection.executemany("DELETE FROM provider_values WHERE key = ?", gone)
                _put(connection, {key: value for key, value in changes.items() if value is not None})
                _note(connection, mark)
            self._sound_connection()  # written into a file that has no name any more, it would not be kept
        except (sqlite3.Error, OSError) as error:
            self.is_suspect = self.is_suspect or not is_passing(error)
            raise self._failure(error) from error
        self.is_suspect = False

    def close(self, mark: IdleMark | None = None) -> None:
        """Give free space back, close the file, and let go of it. What was kept stays so if that fails.

        Args:
            mark: where the clock stands; None for where it stood at the last write.
        """
        try:
            if self._connection is not None and not self.is_suspect:
                connection = self._sound_connection()
                if mark is not None:
                    _note(connection, mark)
                tidy(connection)
        except (sqlite3.Error, StoreUnavailableError) as error:
            _log.warning("%s is not tidied, what was kept stays where it is: %s", self.path, error)
        finally:
            self.let_go()

    def let_go(self) -> None:
        """Let others have the file, and leave it as it is: all that is left to do where its thread is no more."""
        with suppress(sqlite3.Error):
            self._disconnect()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _connect(self) -> sqlite3.Connection:
        if self._identity is not None and self._identity != _identity(self.path):
            raise StoreUnavailableError(
                f"{self.path} was deleted or replaced while it was in use: nothing is kept any more; put the file back "
                f"if you have it, then restart the program"
            )
        self._connection = open_connection(self.path, migrations=_MIGRATIONS, factory=self._factory)
        journal = self._connection.execute("PRAGMA journal_mode").fetchone()[0]
        self._guard, self._identity = FileGuard(self.path, needs_log=journal == "wal"), _identity(self.path)
        return self._connection

    def _disconnect(self) -> None:
        connection, self._connection, self._guard = self._connection, None, None
        if connection is not None:
            connection.close()

    def _sound_connection(self) -> sqlite3.Connection:
        if self._connection is None or self._guard is None:
            raise StoreUnavailableError(f"{self.path} is not open: repeat the call")
        self._guard.check()
        return self._connection

    def _failure(self, error: Exception) -> StoreError:
        if not is_spoilt(error, while_reading=True):
            return unavailable(self.path, error)
        return StoreUnavailableError(
            f"{self.path} is damaged ({error}) and was left as it is: put a copy of it back, or move it away together "
            f"with its -wal file to begin with no values"
        )


def _note(connection: sqlite3.Connection, mark: IdleMark) -> None:
    connection.execute("REPLACE INTO provider_clock VALUES (1, ?, ?, ?)", (mark.idle, mark.wall, mark.since_boot))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _put(connection: sqlite3.Connection, values: Mapping[str, TimedValue]) -> None:
    connection.executemany(
        "REPLACE INTO provider_values (key, value, deadline) VALUES (?, ?, ?)",
        [(key, value.value, value.deadline) for key, value in values.items()],
    )
