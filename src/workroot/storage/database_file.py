"""The database as a file: private to its user, owned by one process, and still the one that was opened.

Whoever copies a backup over it writes into the very file that is open, so what the files hold is watched as well.

The file itself is opened by nobody but SQLite: closing any other descriptor of it would drop
the locks that SQLite holds in this process (sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from workroot.errors import StoreInUseError, StoreUnavailableError
from workroot.storage.spoilt import is_log_usable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Fate", "FileGuard", "is_directory_at", "is_lock_at", "lock_database", "make_private_file"]

_PRIVATE = 0o600
_LONGEST_HOLDER = 512  # bytes


def lock_database(path: str) -> int:
    """Take the database at *path* for this process; return the descriptor that holds it until closed.

    The lock is on `<path>.lock`, which stays behind: removing it would let two processes lock
    two files of one name. It says which process of which host has the database, for people to read: a home that
    several hosts share has one database, and one daemon at a time. Nothing is decided by what it says.

    Raises:
        StoreInUseError: somebody has it, perhaps this process; the text says who, on which host.
        OSError: the lock file cannot be opened, or its file system has no locks.
    """
    descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _PRIVATE)
    try:
        os.fchmod(descriptor, _PRIVATE)  # a umask may have taken the user's own bits
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = _read_holder(descriptor)
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise StoreInUseError(path, *holder, here=_host()) from error
        raise
    with suppress(OSError):  # a full disk is no reason not to serve
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {_host()}\n".encode(), 0)
    return descriptor


def is_directory_at(path: str, directory: os.stat_result) -> bool:
    """Tell whether *directory* is still the one at *path*."""
    try:
        return os.path.samestat(os.stat(path), directory)
    except FileNotFoundError:
        return False


def is_lock_at(path: str, lock: int) -> bool:
    """Tell whether *lock*, from `lock_database`, is the file that others would lock for the database at *path*."""
    try:
        return os.path.samestat(os.stat(f"{path}.lock"), os.fstat(lock))
    except FileNotFoundError:
        return False


def make_private_file(path: str) -> None:
    """See to it that *path* exists and that only its user can read it, whatever the umask.

    SQLite would make it readable for all, and gives its `-wal` and `-shm` the modes found here.

    Raises:
        OSError: it cannot be made, is somebody else's, or no regular file.
    """
    with suppress(FileExistsError):
        # No lock is dropped by this: a file that did not exist has none.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE))
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError(errno.EINVAL, "not a regular file", path)
    os.chmod(path, _PRIVATE)


class Fate(Enum):
    """What became of a file that is open."""

    KEPT = "kept"
    DELETED = "deleted"
    REPLACED = "replaced"


class FileGuard:
    """Knows whether the files at a path are still those that are open, and hold what their owner wrote.

    SQLite writes on into a file that was deleted or replaced, or that somebody else wrote into, and reports success.

    Args:
        path: of the database.
        needs_log: there has to be one beside it, now and later. Only then it is known when the database is written.
        log_bytes: of a log that is long enough to be moved into the database.
    """

    def __init__(self, path: str, *, needs_log: bool = False, log_bytes: int = 0) -> None:
        self._path, self._names = path, (path, f"{path}-wal")
        self._is_watched, self._log_bytes = needs_log, log_bytes
        self._overwritten: set[str] = set()
        self._opened = [_identity(name) for name in self._names]
        needed = self._opened if needs_log else self._opened[:1]
        self._fate = Fate.DELETED if None in needed else Fate.KEPT  # gone already, and open all the same
        self.note()

    def note(self) -> None:
        """Take what the files hold for what their owner wrote."""
        self._written = [_content(name) for name in self._names]

    def note_commit(self) -> Fate:
        """Do as `note` after a commit, unless what the files hold cannot come of one; return what became of them."""
        if self.look() is Fate.KEPT and self._is_watched:
            found = [_content(name) for name in self._names]
            log = found[1]
            if found[0] != self._written[0] and (log is None or log[0] < self._log_bytes):
                self._overwritten.add("")
            if not is_log_usable(self._path):
                self._overwritten.add("-wal")
            self._written = found
        return self.look()

    def look_between_commits(self, is_sound: Callable[[], bool]) -> Fate:
        """Look also whether somebody else wrote into the files since they were noted; return what became of them.

        Args:
            is_sound: tells whether that may have been done by SQLite's rules.
        """
        if self.look() is Fate.KEPT and self._is_watched:
            found = [_content(name) for name in self._names]
            if found != self._written and not is_sound():
                pairs = zip(("", "-wal"), found, self._written, strict=True)
                self._overwritten |= {end for end, now, was in pairs if now != was}
            self._written = found
        return self.look()

    def look(self) -> Fate:
        """Return what became of the database or its log: whatever else happens, what was lost once stays lost."""
        if self._fate is Fate.KEPT:
            found = [_identity(name) for name in self._names]
            if found != self._opened:
                is_gone = any(was is not None and now is None for was, now in zip(self._opened, found, strict=True))
                self._fate = Fate.DELETED if is_gone else Fate.REPLACED
            elif self._overwritten:
                self._fate = Fate.REPLACED
        return self._fate

    def ours(self) -> set[str]:
        """Return which files at the path are those that are open: empty for the database, `-wal` for its log."""
        pairs = zip(("", "-wal"), self._names, self._opened, strict=True)
        found = {end for end, name, opened in pairs if opened is not None and _identity(name) == opened}
        return found - self._overwritten

    def withhold_log(self) -> None:
        """Take the log from the connection, which is about to close, if the files hold what somebody else wrote.

        It would move the log into the database, over that.

        Raises:
            OSError: it still has it.
        """
        if not self._overwritten:
            return
        log = self._names[1]
        if _identity(log) != self._opened[1]:
            return  # it was deleted or replaced as well
        if "-wal" in self._overwritten:  # what they wrote is kept, in a file that is not the one that is open
            copy = f"{log}.part"
            try:
                make_private_file(copy)
                shutil.copyfile(log, copy)
            except OSError:
                with suppress(OSError):
                    os.unlink(copy)
                raise
            os.truncate(log, 0)
            os.replace(copy, log)
        else:
            os.truncate(log, 0)

    def check(self) -> None:
        """Check that the database and its log have not been deleted or replaced since.

        Raises:
            StoreUnavailableError: they have, now or at an earlier check.
        """
        if self.look() is not Fate.KEPT:
            raise StoreUnavailableError(
                f"{self._path} was deleted or replaced while it was in use: nothing is kept any more; "
                f"put the file back if you have it, then restart workroot"
            )


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _content(path: str) -> tuple[int, int] | None:
    """Return what is another one as soon as a file is written: how long it is, and when it was written last."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _host() -> str:
    return os.uname().nodename


def _read_holder(descriptor: int) -> tuple[str | None, str | None]:
    """Return the pid and the host that the holder of a lock wrote into its file, as far as it did."""
    said = os.pread(descriptor, _LONGEST_HOLDER, 0).decode(errors="replace").split()
    return (said[0], said[1]) if len(said) == 2 and said[0].isdigit() else (None, None)
