"""One daemon per user: a lock that the kernel lets go of when its holder dies, not a pid file."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager

from workroot.errors import AlreadyRunningError

TYPE_CHECKING = False  # not from typing: the connector imports this when it starts a daemon
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hold_instance", "is_instance_held"]

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.01


@contextmanager
def hold_instance(lock_path: str) -> Iterator[None]:
    """Be the one daemon of this user, until leaving.

    The file stays: removing it would let two daemons hold locks on two files of one name.

    Raises:
        AlreadyRunningError: another process is it.
    """
    lock = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if not _lock(lock):
            raise AlreadyRunningError(lock_path)
        yield
    finally:
        os.close(lock)


def is_instance_held(lock_path: str) -> bool:
    """Tell whether a daemon holds the lock at this moment: one that starts, runs or has not quite ended."""
    try:
        lock = os.open(lock_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _lock(descriptor: int) -> bool:
    for _ in range(_ATTEMPTS):  # whoever only looks, in `is_instance_held`, has the lock for an instant
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE_SECONDS)
        else:
            return True
    return False
