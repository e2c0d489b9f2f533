"""One daemon per user: a lock that the kernel lets go of when its holder dies, not a pid file.

The lock's file holds the pid of whoever holds it, for people to read. Nothing is decided by that number, and
no process is signalled by it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from contextlib import contextmanager, suppress

from workroot.errors import AlreadyRunningError, RendezvousError

TYPE_CHECKING = False  # not from typing: the connector imports this when it starts a daemon
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Instance", "hold_instance", "holder_pid", "is_instance_held", "open_own_file"]

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.01
_LONGEST_PID = 20  # characters
_CURE = "move it away, and start again"


class Instance:
    """The place of the one daemon, made by `hold_instance`.

    Attributes:
        left_by: the process that held it before and did not leave in order, as far as the lock's file says; only to
            be shown.
    """

    def __init__(self, lock_path: str, descriptor: int, left_by: int | None = None) -> None:
        self._path, self._descriptor, self.left_by = lock_path, descriptor, left_by

    def is_kept(self) -> bool:
        """Tell whether the lock's file is still at its path: if not, another daemon can start beside this one."""
        return _is_at(self._path, self._descriptor)


@contextmanager
def hold_instance(lock_path: str, *, wait_seconds: float = 0.0) -> Iterator[Instance]:
    """Be the one daemon of this user, until leaving.

    The file stays: removing it would let two daemons hold locks on two files of one name.

    Args:
        lock_path: the lock's file; made if it is missing.
        wait_seconds: how long another may take to end.

    Raises:
        AlreadyRunningError: another process is it.
        RendezvousError: what is at *lock_path* cannot be a lock of this user; it was left as it is.
        OSError: the file cannot be made; the error names it.
    """
    descriptor = _open_lock(lock_path, time.monotonic() + wait_seconds)
    try:
        left_by = _pid_in(descriptor)
        with suppress(OSError):  # a full disk is no reason not to serve
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield Instance(lock_path, descriptor, left_by)
        with suppress(OSError):
            os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def is_instance_held(lock_path: str) -> bool:
    """Tell whether a daemon holds the lock at this moment: one that starts, runs or has not quite ended.

    Raises:
        RendezvousError: what is at *lock_path* cannot be a lock of this user.
    """
    try:
        lock = open_own_file(lock_path, os.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def holder_pid(lock_path: str) -> int | None:
    """Return which process says that it holds the lock, or None if none says so; only to be shown or compared."""
    try:
        lock = open_own_file(lock_path, os.O_RDONLY)
    except (OSError, RendezvousError):
        return None
    try:
        return _pid_in(lock)
    finally:
        os.close(lock)


def _pid_in(lock: int) -> int | None:
    try:
        said = os.pread(lock, _LONGEST_PID, 0).strip()
    except OSError:
        return None
    return int(said) if said.isdigit() else None


def _open_lock(path: str, deadline: float) -> int:
    """Return a descriptor that holds the lock, of the file that is at *path* afterwards too."""
    while True:
        descriptor = open_own_file(path, os.O_RDWR | os.O_CREAT)
        try:
            if not _lock(descriptor, deadline):
                raise AlreadyRunningError(path, holder_pid(path))
            os.fchmod(descriptor, 0o600)  # an unusual umask, or a file that somebody else's program made
            if _is_at(path, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # somebody removed or replaced it meanwhile


def open_own_file(path: str, flags: int) -> int:
    """Open a plain file of this user in a directory of ours; a new one is private.

    Raises:
        RendezvousError: what is at *path* is something else; it was left as it is.
        OSError: it cannot be made; the error names it.
    """
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise RendezvousError(path, "is not a plain file", _CURE) from error
        if error.errno in (errno.EACCES, errno.EPERM) and os.path.lexists(path):
            raise RendezvousError(path, "cannot be opened by you", "look whose it is, then remove it") from error
        raise
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
        return descriptor
    os.close(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise RendezvousError(path, "is not a plain file", _CURE)
    raise RendezvousError(path, f"belongs to the user with id {found.st_uid}, not to you", _CURE)


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except OSError:
        return False


def _lock(descriptor: int, deadline: float) -> bool:
    attempts = 0
    while attempts < _ATTEMPTS or time.monotonic() < deadline:
        attempts += 1  # whoever only looks, in `is_instance_held`, has the lock for an instant
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return True
    return False
