"""One SQLite file and all that is done to it, as blocking calls that belong to one thread.

What `write` reports as kept is on the disk, in the file that has the name. There is one
connection: SQLite up to 3.51.2 can lose a log that two connections reset (sqlite.org/wal.html).
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from workroot.errors import StoreError, StoreUnavailableError
from workroot.storage.backup import back_up
from workroot.storage.database_file import FileGuard, lock_database
from workroot.storage.failures import store_error, unavailable
from workroot.storage.health import StoreHealth
from workroot.storage.opening import open_connection
from workroot.storage.rows import apply_changes, read_state
from workroot.storage.schema import check_sqlite
from workroot.storage.transactions import transaction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workroot.core.changes import Change, StoredState
    from workroot.storage.backup import Backup
    from workroot.storage.schema import Migration

__all__ = ["Database"]

_log = logging.getLogger(__name__)


class Database:
    """A database that this process owns from `open` to `close`.

    Args:
        path: where the file is or shall be; its directory exists.
        migrations: the schema's steps; as many as the version that is wanted.
        factory: what makes the connection; a subclass can watch it or make it fail.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, migrations: Sequence[Migration], factory: type[sqlite3.Connection]
    ) -> None:
        self._path = os.path.realpath(path)  # two names of one file must not be two locks
        self._migrations, self._factory = migrations, factory
        self._journal_mode, self._commits, self._failed_commits = "", 0, 0
        self._failure: str | None = None  # of the last commit

    def open(self) -> sqlite3.Connection:
        """Take the file, bring it up to date and return its connection, in autocommit mode.

        Raises:
            StoreInUseError: another owner has it.
            StoreTooNewError: a newer workroot wrote it; it is as it was.
            StoreUnavailableError: it cannot be used, or a setting that keeps data safe is not in force.
        """
        check_sqlite()
        try:
            self._lock = lock_database(self._path)
            try:
                self._connection = open_connection(self._path, migrations=self._migrations, factory=self._factory)
                self._guard = FileGuard(self._path)
                self._journal_mode = str(self._connection.execute("PRAGMA journal_mode").fetchone()[0])
            except BaseException:
                os.close(self._lock)
                raise
        except (sqlite3.Error, OSError) as error:
            raise unavailable(self._path, error) from error
        return self._connection

    def load(self) -> StoredState:
        """Return all that is kept.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        self._guard.check()
        try:
            return read_state(self._connection)
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise unavailable(self._path, error) from error

    def write(self, batch: Sequence[Sequence[Change]]) -> list[StoreError | None]:
        """Keep the changes of several callers in one transaction; return each one's error, or None.

        A caller whose changes are refused fails alone. What fails for the transaction fails for all.
        """
        try:
            self._guard.check()
            with transaction(self._connection):
                outcomes = [self._attempt(changes) for changes in batch]
            self._guard.check()
        except sqlite3.Error as error:
            self._note_failure(unavailable(self._path, error))
            return [unavailable(self._path, error) for _ in batch]
        except StoreUnavailableError as error:
            self._note_failure(error)
            return [StoreUnavailableError(str(error)) for _ in batch]
        self._commits, self._failure = self._commits + 1, None
        return outcomes

    def health(self, *, waiting: int) -> StoreHealth:
        """Return how it is; in any thread, and without waiting for more than a look at its files.

        Args:
            waiting: callers that wait for a commit.
        """
        problem = self._failure
        try:
            self._guard.check()
        except StoreUnavailableError as error:
            problem = str(error)
        return StoreHealth(
            path=self._path,
            size_bytes=_size(self._path),
            wal_bytes=_size(f"{self._path}-wal"),
            journal_mode=self._journal_mode,
            schema_version=len(self._migrations),
            problem=problem,
            commits=self._commits,
            failed_commits=self._failed_commits,
            waiting=waiting,
        )

    def back_up(self, directory: str, version: str) -> Backup:
        """Copy the database into *directory*, as `workroot.storage.backup.back_up` does.

        Raises:
            StoreUnavailableError: there is no new copy; the text says why.
            RendezvousError: the directory is not this user's alone.
        """
        self._guard.check()
        try:
            return back_up(self._connection, directory, version=version)
        except (sqlite3.Error, OSError) as error:
            raise unavailable(self._path, error) from error

    def close(self) -> None:
        """Move the log into the database, close it, and let go of it. What was kept stays so if that fails."""
        try:
            with closing(self._connection):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            _log.warning("%s stays with its -wal file, which holds the last changes: %s", self._path, error)
        finally:
            os.close(self._lock)

    def _note_failure(self, error: StoreError) -> None:
        self._failed_commits, self._failure = self._failed_commits + 1, str(error)

    def _attempt(self, changes: Sequence[Change]) -> StoreError | None:
        self._connection.execute("SAVEPOINT caller")
        try:
            apply_changes(self._connection, changes)
        except (sqlite3.Error, UnicodeEncodeError) as error:
            if not self._connection.in_transaction:  # SQLite has rolled back everybody's
                raise
            self._connection.execute("ROLLBACK TO caller")
            self._connection.execute("RELEASE caller")
            return store_error(self._path, error)
        self._connection.execute("RELEASE caller")
        return None


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
