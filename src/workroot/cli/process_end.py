"""Waits until another process has really ended, and with it let go of its lock.

Its pid comes from the process itself over a connection that is still open, so that it cannot be
another's by then; what is watched is a descriptor of the process, not its number.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workroot.instance import is_instance_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["watch_process_end"]

_LOOK_SECONDS = 0.05


@contextmanager
def watch_process_end(pid: int | None, lock_path: str) -> Iterator[Callable[[float], bool]]:
    """Return a function that waits for the end of process *pid* and tells whether it came before a deadline.

    The deadline is a time of `time.monotonic`. Where the system has no descriptors of processes
    (macOS, an old Linux), the lock is looked at instead, every 50 ms.

    Args:
        pid: the process; None if it is not known.
        lock_path: the lock that it holds as long as it lives.
    """
    if sys.platform != "linux" or pid is None:
        yield lambda deadline: _wait_lock_free(lock_path, deadline)
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield lambda _deadline: True
        return
    except OSError:
        yield lambda deadline: _wait_lock_free(lock_path, deadline)
        return
    try:
        yield lambda deadline: _wait_readable(descriptor, deadline)
    finally:
        os.close(descriptor)


def _wait_readable(descriptor: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))


def _wait_lock_free(lock_path: str, deadline: float) -> bool:
    pause = threading.Event()  # waiting in flock itself has no deadline, and would take the lock from a new daemon
    while is_instance_held(lock_path):
        if time.monotonic() >= deadline:
            return False
        pause.wait(_LOOK_SECONDS)
    return True
