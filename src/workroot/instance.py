"""One daemon per user: a lock that the kernel lets go of when its holder dies, not a pid file."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workroot.errors import AlreadyRunningError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hold_instance"]


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
