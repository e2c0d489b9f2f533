"""One daemon per user: a lock that the kernel lets go of when its holder dies, not a pid file."""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from workroot.errors import AlreadyRunningError, RendezvousError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hold_instance", "prepare_private_directory"]


def prepare_private_directory(path: str) -> None:
    """Make sure that *path* is a directory that this user alone can use; parents are made as needed.

    Raises:
        RendezvousError: somebody else owns it or may look into it. Nothing was changed.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with suppress(FileExistsError):
        os.mkdir(path, 0o700)
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        raise RendezvousError(path, "is not a directory", "remove it and try again")
    if status.st_uid != os.geteuid():
        raise RendezvousError(path, f"belongs to user {status.st_uid}", "choose another WORKROOT_HOME")
    if status.st_mode & 0o077:
        raise RendezvousError(path, "is open to other users", f"run: chmod 700 {path}")


@contextmanager
def hold_instance(lock_path: str) -> Iterator[None]:
    """Be the one daemon of this user, until leaving.

    The file stays: removing it would let two daemons hold locks on two files of one name.

    Raises:
        AlreadyRunningError: another process is it.
    """
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError(lock_path) from None
        yield
    finally:
        os.close(lock)
