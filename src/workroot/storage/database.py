"""A database and all that is done to it, as blocking calls that belong to one thread.

What `write` reports as kept is on the disk, in the file that has the name; or in memory, where the file could not be
written from the start, and then `trouble` says so. There is one connection: SQLite up to 3.51.2 can lose a log that
two connections reset (sqlite.org/wal.html).
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from workroot.errors import StoreError, StoreUnavailableError
from workroot.storage.backup import back_up
from workroot.storage.batches import probe, write_batch
from workroot.storage.disk_state import why_unwritable
from workroot.storage.failures import may_come_right, store_error, unavailable
from workroot.storage.health import StoreHealth, Trouble
from workroot.storage.interruption import MakesWay
from workroot.storage.loading import read_state
from workroot.storage.memory_only import open_in_memory
from workroot.storage.owned_file import OwnedFile
from workroot.storage.rewriting import united, unknown_part, write_state
from workroot.storage.schema import check_sqlite
from workroot.storage.tidying import tidy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from workroot.core.changes import Change, StoredState
    from workroot.storage.backup import Backup
    from workroot.storage.schema import Migration

__all__ = ["Database", "HeldStateNeededError"]

_log = logging.getLogger(__name__)


class HeldStateNeededError(Exception):
    """Nothing of a batch counts as kept: the file has to be mended first, from all that is held in memory."""


class Database:
    """A database that this process owns from `open` to `close`.

    Args:
        path: where the file is or shall be; its directory exists.
        migrations: the schema's steps; as many as the version that is wanted.
        factory: what makes the connection; a subclass can watch it or make it fail.
        may_keep_in_memory: where the file cannot be opened for writing, begin in memory.

    Attributes:
        trouble: that nothing reaches the disk now, or None.
        tidying: makes way for whoever wants to write.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        migrations: Sequence[Migration],
        factory: type[sqlite3.Connection],
        may_keep_in_memory: bool = False,
    ) -> None:
        self._path = os.path.realpath(path)  # two names of one file must not be two locks
        self._migrations, self._may_keep_in_memory = migrations, may_keep_in_memory
        self._file = OwnedFile(self._path, migrations=migrations, factory=factory)
        self._memory: sqlite3.Connection | None = None
        self._has_read_all = True
        self._commits, self._failed_commits = 0, 0
        self.trouble: Trouble | None = None
        self.tidying = MakesWay()

    def open(self) -> sqlite3.Connection:
        """Take the file, bring it up to date and return the connection, in autocommit mode.

        Raises:
            StoreInUseError: another owner has it.
            StoreTooNewError: a newer workroot wrote it; it is as it was.
            StoreUnavailableError: it cannot be used, or a setting that keeps data safe is not in force.
        """
        check_sqlite()
        try:
            return self._file.open()
        except (sqlite3.Error, OSError) as error:
            if self._may_keep_in_memory and may_come_right(error):
                self._memory = self._begin_in_memory(error)
                return self._memory
            self._file.close()
            raise unavailable(self._path, error) from error
        except BaseException:
            self._file.close()
            raise

    def load(self) -> StoredState:
        """Return all that is kept.

        Raises:
            StoreUnavailableError: it cannot be read.
        """
        if self._memory is None:
            try:
                return self._file.load()
            except (sqlite3.Error, OSError) as error:
                if not (self._may_keep_in_memory and may_come_right(error)):
                    raise unavailable(self._path, error) from error
                self._file.disconnect()
                self._memory = self._begin_in_memory(error)
        return read_state(self._memory)

    def write(self, batch: Sequence[Sequence[Change]]) -> list[StoreError | None]:
        """Keep the changes of several callers in as few transactions as can be; return each one's error, or None.

        A caller whose changes are refused fails alone. What fails because of the disk fails for all.

        Raises:
            HeldStateNeededError: nothing counts as kept; see `mend_and_write`.
        """
        if self._memory is not None:
            self._commits += 1
            return self._verdicts(write_batch(self._memory, batch))
        if (connection := self._file.usable_connection) is None:
            raise HeldStateNeededError
        failures = write_batch(connection, batch)
        if self.trouble is not None and not any(failures):
            failures = [probe(connection, len(self._migrations))] * len(batch)  # they may have changed nothing
        verdicts = self._verdicts(failures)
        unkept = next((error for error in verdicts if isinstance(error, StoreUnavailableError)), None)
        if self._file.look(unkept and unkept.__cause__):
            raise HeldStateNeededError
        self._note(unkept)
        return verdicts

    def mend_and_write(self, batch: Sequence[Sequence[Change]], held: StoredState | None) -> list[StoreError | None]:
        """Mend the file, then do as `write`.

        Args:
            held: all that was acknowledged before *batch*; None: nobody holds that.
        """
        try:
            self._file.mend(held)
            return self.write(batch)
        except HeldStateNeededError:
            error: StoreError = StoreUnavailableError(f"{self._path} was lost once more: repeat the call")
        except (sqlite3.Error, OSError) as failure:
            error = unavailable(self._path, failure)
        except StoreError as failure:
            error = failure
        self._note(error)
        return [StoreUnavailableError(str(error)) for _ in batch]

    def leave_memory(self) -> StoredState | None:
        """Write all that memory holds to the file, and go on there, if it can be written by now; else go on as before.

        Returns:
            What the file held that memory did not know, since it could not be read before; None: nothing.
        """
        if (memory := self._memory) is None:
            return None  # the disk holds all
        unknown = None
        try:
            connection = self._file.open()
            held = read_state(memory)
            if not self._has_read_all:
                unknown = unknown_part(self._file.load(), held)
                held = united(unknown, held)
            write_state(connection, held)
            self._file.note()
            self._file.sound_connection()
        except (sqlite3.Error, OSError, StoreError) as error:
            self._file.disconnect()
            _log.debug("%s cannot be written yet: %s", self._path, error)
            self._trouble_goes_on(why_unwritable(self._path, error))
            return None
        memory.close()
        self._memory = None
        self._note(None)
        return unknown

    def health(self, *, waiting: int) -> StoreHealth:
        """Return how it is; in any thread, and without waiting for more than a look at its files.

        Args:
            waiting: callers that wait for a commit.
        """
        trouble = self.trouble
        problem = trouble.because if trouble is not None and trouble.is_refusing else None
        return StoreHealth(
            path=self._path,
            size_bytes=_size(self._path),
            wal_bytes=_size(f"{self._path}-wal"),
            journal_mode=self._file.journal_mode,
            schema_version=len(self._migrations),
            problem=problem or self._file.loss,
            commits=self._commits,
            failed_commits=self._failed_commits,
            waiting=waiting,
            memory_only_since=trouble.since if trouble is not None else None,
            memory_only_because=trouble.because if trouble is not None else None,
            is_refusing=trouble is not None and trouble.is_refusing,
            moved_aside=self._file.moved_aside,
            journal_warning=self._file.journal_warning,
        )

    def back_up(self, directory: str, version: str) -> Backup:
        """Copy the database into *directory*, as `workroot.storage.backup.back_up` does.

        Raises:
            StoreUnavailableError: there is no new copy; the text says why.
            RendezvousError: the directory is not this user's alone.
        """
        try:
            return back_up(self._memory or self._file.sound_connection(), directory, version=version)
        except (sqlite3.Error, OSError) as error:
            raise unavailable(self._path, error) from error

    def tidy(self) -> int:
        """Make its files as small as they may be, unless somebody wants to write; return the bytes that are in use.

        Raises:
            StoreUnavailableError: it cannot be done now; what is kept is as it was.
        """
        connection = self._memory or self._file.sound_connection()
        try:
            with self.tidying.working(connection) as may_begin:
                return tidy(connection, may_wait=may_begin)
            return tidy(connection, may_wait=False)
        except sqlite3.Error as error:
            raise unavailable(self._path, error) from error
        finally:
            self._file.note()

    def close(self) -> None:
        """Move the log into the database, close it, and let go of it. What was kept stays so if that fails."""
        if self._memory is not None:
            _log.warning("%s never could be written: what was kept since the start is lost", self._path)
            self._memory.close()
        self._file.close()

    def _begin_in_memory(self, failure: Exception) -> sqlite3.Connection:
        memory, has_read_all = open_in_memory(self._path, migrations=self._migrations)
        self._has_read_all = has_read_all and self._file.is_locked  # else it may be another one by the time it is used
        self.trouble = Trouble(time.time(), why_unwritable(self._path, failure), is_refusing=False)
        _log.warning("what is kept is in memory only: %s", self.trouble.because)
        return memory

    def _verdicts(self, failures: Sequence[Exception | None]) -> list[StoreError | None]:
        return [store_error(self._path, failure) if failure is not None else None for failure in failures]

    def _note(self, error: StoreError | None) -> None:
        """Note how a commit to the file went, and say once that trouble began or ended."""
        if error is None:
            self._commits += 1
            if self.trouble is not None:
                _log.warning("%s can be written again: what is kept is on the disk", self._path)
            self.trouble = None
            return
        self._failed_commits += 1
        if self.trouble is None:
            _log.warning("changes are refused: %s", error)
            self.trouble = Trouble(time.time(), str(error), is_refusing=True)
        else:
            self._trouble_goes_on(str(error))

    def _trouble_goes_on(self, because: str) -> None:
        self.trouble = self.trouble and replace(self.trouble, because=because)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None
