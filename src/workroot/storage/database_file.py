"""The database as a file: private to its user, owned by one process, and still the one that was opened.

The file itself is opened by nobody but SQLite: closing any other descriptor of it would drop
the locks that SQLite holds in this process (sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress

from workroot.errors import StoreInUseError, StoreUnavailableError

__all__ = ["FileGuard", "lock_database", "make_private_file"]

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


class FileGuard:
    """Knows whether the files at a path are still those that are open.

    SQLite writes on into a file that was deleted or replaced, and reports success.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._opened = self._found()
        self._lost = False

    def check(self) -> None:
        """Check that the database and its log have not been deleted or replaced since.

        Raises:
            StoreUnavailableError: they have, now or at an earlier check.
        """
        self._lost = self._lost or self._found() != self._opened
        if self._lost:
            raise StoreUnavailableError(
                f"{self._path} was deleted or replaced while it was in use: nothing is kept any more; "
                f"put the file back if you have it, then restart workroot"
            )

    def _found(self) -> list[tuple[int, int]]:
        found = []
        for name in (self._path, f"{self._path}-wal"):
            with suppress(OSError):
                status = os.stat(name)
                found.append((status.st_dev, status.st_ino))
        return found


def _host() -> str:
    return os.uname().nodename


def _read_holder(descriptor: int) -> tuple[str | None, str | None]:
    """Return the pid and the host that the holder of a lock wrote into its file, as far as it did."""
    said = os.pread(descriptor, _LONGEST_HOLDER, 0).decode(errors="replace").split()
    return (said[0], said[1]) if len(said) == 2 and said[0].isdigit() else (None, None)
