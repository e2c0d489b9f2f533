"""The file of a database that this process owns: locked, open, watched, and mended when it is lost or spoilt.

A file that lies in the database's place and is not the one that was written is moved aside and kept; the new one is
written from what is held in memory, which is all that was ever acknowledged.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress
from enum import Enum, auto
from typing import TYPE_CHECKING

from workroot.errors import StoreUnavailableError
from workroot.storage.database_file import Fate, FileGuard, is_directory_at, is_lock_at, lock_database
from workroot.storage.failures import is_passing, unavailable
from workroot.storage.loading import read_state
from workroot.storage.moved_aside import ENDS, move_aside
from workroot.storage.network_disks import journal_warning, remote_file_system
from workroot.storage.opening import begin_anew, open_connection, open_or_begin_anew
from workroot.storage.rewriting import write_state
from workroot.storage.spoilt import is_spoilt

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from workroot.core.changes import StoredState
    from workroot.storage.schema import Migration

__all__ = ["OwnedFile", "Wound"]

_log = logging.getLogger(__name__)

_FRAME_BYTES = 24  # beside each page in a log; sqlite.org/fileformat.html, section 4.1


class Wound(Enum):
    """What has to be mended before anything else is written."""

    SUSPECT = auto()
    """The connection failed, and nobody knows whether its last commit is in the file."""
    DAMAGED = auto()
    """The file is no sound database."""
    LOST = auto()
    """The file, or its log, was deleted or replaced."""


class OwnedFile:
    """A database's file, from `open` to `close`.

    Args:
        path: of the file, without links on its way.
        migrations: the schema's steps; as many as the version that is wanted.
        factory: what makes connections.

    Attributes:
        connection: the only one, in autocommit mode; None: it is not open.
        journal_mode: as SQLite names it; empty: it never was open.
        journal_warning: why that is not the write-ahead log, and what else can be done; None: it is.
        moved_aside: where files lie now that lay in its place, oldest first.
    """

    def __init__(self, path: str, *, migrations: Sequence[Migration], factory: type[sqlite3.Connection]) -> None:
        self._path, self._migrations, self._factory = path, migrations, factory
        self._lock: int | None = None
        self._place: os.stat_result | None = None  # the directory that the lock was taken in
        self._guard: FileGuard | None = None
        self._wound: Wound | None = None
        self._damage: BaseException = sqlite3.DatabaseError()
        self._others_commits: int | None = None
        self.connection: sqlite3.Connection | None = None
        self.journal_mode = ""
        self.journal_warning: str | None = None
        self.moved_aside: tuple[str, ...] = ()

    def open(self) -> sqlite3.Connection:
        """Take the file and bring it up to date; a spoilt one is moved aside, and what can be read of it kept on.

        Raises:
            StoreInUseError: another owner has it.
            StoreTooNewError, StoreUnavailableError, sqlite3.Error, OSError: as `open_connection`.
        """
        if self._lock is None:
            self._lock = lock_database(self._path)
            self._place = os.stat(os.path.dirname(self._path))
        connection, aside = open_or_begin_anew(
            self._path, migrations=self._migrations, factory=self._factory, check=read_state
        )
        if aside is not None:
            self.moved_aside += (aside,)
        return self._use(connection)

    def load(self) -> StoredState:
        """Return all that it keeps; content that cannot be understood is moved aside as in `open`.

        Raises:
            StoreUnavailableError: it is closed, or was deleted or replaced.
            sqlite3.Error, OSError: it cannot be read.
        """
        connection = self.sound_connection()
        try:
            return read_state(connection)
        except Exception as error:
            if not is_spoilt(error, while_reading=True):
                raise
        self.disconnect()
        try:  # a disk that failed for a moment looks the same
            return read_state(self.open())
        except Exception as error:
            if not is_spoilt(error, while_reading=True):
                raise
            self.disconnect()
            connection, aside = begin_anew(
                self._path, error, migrations=self._migrations, factory=self._factory, check=read_state
            )
            self.moved_aside += (aside,)
            return read_state(self._use(connection))

    def sound_connection(self) -> sqlite3.Connection:
        """Return the connection.

        Raises:
            StoreUnavailableError: there is none, or the file was deleted, replaced or written into.
        """
        if self.connection is None or self._guard is None:
            raise StoreUnavailableError(f"{self._path} is not open: repeat the call")
        self._look_between_commits(self._guard, self.connection)
        self._guard.check()
        return self.connection

    @property
    def is_locked(self) -> bool:
        """Whether nobody else can own it."""
        return self._lock is not None

    @property
    def usable_connection(self) -> sqlite3.Connection | None:
        """The connection, or None: `mend` comes first."""
        if self._wound is None and self._guard is not None and self.connection is not None:
            if self._look_between_commits(self._guard, self.connection) is Fate.KEPT:
                return self.connection
            self._wound = Wound.LOST
        return None

    def note(self) -> None:
        """Take note that what the file holds was written by its owner, in any other way than by a commit."""
        if self._guard is not None:
            self._guard.note()

    def _look_between_commits(self, guard: FileGuard, connection: sqlite3.Connection) -> Fate:
        def is_commit_of_others() -> bool:
            before = self._others_commits
            self._others_commits = _others_commits(connection)
            return self._others_commits not in (None, before)

        return guard.look_between_commits(is_commit_of_others)

    @property
    def loss(self) -> str | None:
        """That the file which is open is not the one that has its name, in a sentence; None: it is."""
        try:
            if self._guard is not None:
                self._guard.check()
        except StoreUnavailableError as error:
            return str(error)
        return None

    def look(self, failure: BaseException | None) -> bool:
        """Look whether what was just written is in the file that has the name.

        Args:
            failure: what went wrong with the connection, if anything did.

        Returns:
            Whether there has to be a new file, so that nothing of it counts. Else *failure* may have made it necessary
            to mend the file before the next commit.
        """
        if failure is not None and is_spoilt(failure):
            self._wound, self._damage = Wound.DAMAGED, failure
        elif self._guard is not None and self._guard.note_commit() is not Fate.KEPT:
            self._wound = Wound.LOST
        elif failure is not None and not is_passing(failure):
            self._wound = Wound.SUSPECT
        return self._wound in (Wound.DAMAGED, Wound.LOST)

    def mend(self, held: StoredState | None) -> None:
        """Let a sound file have the name again, with all that is *held*; None: nobody holds it.

        Raises:
            StoreError, sqlite3.Error, OSError: it is not mended.
        """
        self._keep_lock()
        self.look(None)
        wound = self._wound
        if held is None and wound is Wound.DAMAGED:
            raise unavailable(self._path, self._damage)
        if held is None and wound is Wound.LOST:
            raise StoreUnavailableError(self.loss)
        ours = self._guard.ours() if self._guard is not None else {"", "-wal"}
        if self._guard is not None and held is not None:
            self._guard.withhold_log()
        self.disconnect()
        if wound is Wound.LOST:
            self._make_room(ours)
        elif wound is Wound.DAMAGED:
            self._move_aside("damaged")
        self._wound = Wound.SUSPECT  # what is at the path from here on is ours, as far as it goes
        try:
            connection = open_connection(self._path, migrations=self._migrations, factory=self._factory)
        except (sqlite3.Error, StoreUnavailableError) as error:
            if is_spoilt(error):
                self._wound, self._damage = Wound.DAMAGED, error
            raise
        self._use(connection)
        try:
            if held is not None:
                write_state(connection, held)
        except BaseException:
            self.disconnect()
            raise
        self.note()
        self._wound = None

    def _keep_lock(self) -> None:
        """See to it that the lock at the path is held by us: one that was deleted can be taken by others beside us.

        Raises:
            StoreInUseError: another owner has it.
            StoreUnavailableError: the directory is gone or another one, and what is in it is not ours.
            OSError: the lock cannot be taken.
        """
        if self._lock is None or self._place is None:
            raise StoreUnavailableError(f"{self._path} is not open: repeat the call")
        if not is_directory_at(os.path.dirname(self._path), self._place):
            raise StoreUnavailableError(
                f"{self._path} was deleted or replaced while it was in use, with its directory: nothing is kept any "
                f"more; put that back if you have it, then restart workroot"
            )
        if not is_lock_at(self._path, self._lock):
            lock = lock_database(self._path)
            os.close(self._lock)
            self._lock = lock

    def disconnect(self) -> None:
        """Close the connection and keep the lock."""
        connection, self.connection, self._guard = self.connection, None, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Move the log into the database, close it, and let go of it. What was kept stays so if that fails."""
        try:
            if (connection := self.usable_connection) is not None:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            _log.warning("%s stays with its -wal file, which holds the last changes: %s", self._path, error)
        finally:
            self.disconnect()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _use(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        self.journal_mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
        pages, page_bytes = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0]) for name in ("wal_autocheckpoint", "page_size")
        )
        self.connection = connection
        self._others_commits = _others_commits(connection)
        self._guard = FileGuard(
            self._path, needs_log=self.journal_mode == "wal", log_bytes=pages * (page_bytes + _FRAME_BYTES)
        )
        before, remote = self.journal_warning, remote_file_system(self._path)
        self.journal_warning = journal_warning(self._path, self.journal_mode, remote)
        if self.journal_warning is not None and self.journal_warning != before:
            _log.warning("%s", self.journal_warning)
        return connection

    def _make_room(self, ours: set[str]) -> None:
        """Move away what lies there; a database and a log that do not belong together are not left together.

        Args:
            ours: which of the files are those that were written.
        """
        is_moved = False
        if ours == {"-wal"}:  # without its database it says nothing, and all that it says is held
            with suppress(FileNotFoundError):
                os.unlink(f"{self._path}-wal")
        elif ours == {""}:
            is_moved = self._move_aside("replaced", ends=("",))
        if not self._move_aside("replaced") and not is_moved:
            _log.warning("%s was deleted while in use: a new one is written", self._path)

    def _move_aside(self, why: Literal["damaged", "replaced"], ends: tuple[str, ...] = ENDS) -> bool:
        if not any(os.path.lexists(f"{self._path}{end}") for end in ends):
            return False
        self.moved_aside += (aside := move_aside(self._path, why, ends),)
        _log.warning("%s was %s while in use: that file is now %s, a new one is written", self._path, why, aside)
        return True


def _others_commits(connection: sqlite3.Connection) -> int | None:
    """Return what is another number after each commit of another program's; None: that cannot be told."""
    try:
        return int(connection.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.Error:
        return None
