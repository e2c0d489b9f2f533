"""From a daemon that a connector started to one of the service manager's: only one holds the lock at a time.

The connection to the old one is opened before the service manager takes the socket's path, and used after: then
no client meets a closed door, and none starts a third.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from workroot import rendezvous
from workroot.cli.process_end import watch_process_end
from workroot.control_client import open_control
from workroot.errors import DaemonUnavailableError, ServiceError
from workroot.instance import is_instance_held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workroot.control_client import ControlClient

__all__ = ["reach_other_daemon"]

_STOP_SECONDS = 10.0


@contextmanager
def reach_other_daemon(state: str, service_pid: int | None) -> Iterator[Callable[[], int | None]]:
    """Connect to a running daemon that is not the service's; yields what stops it and returns its pid, if there is one.

    Args:
        state: the state directory.
        service_pid: the pid of the daemon that the service manager has started; that one is left alone.

    Raises:
        ControlError: what runs there speaks another protocol.
        ServiceError: from the function: it has not ended after 10 s.
    """
    lock_path = rendezvous.instance_lock_path(state)
    with ExitStack() as stack:
        daemon = None
        if is_instance_held(lock_path):  # asked first: to connect could start the service
            with suppress(DaemonUnavailableError):  # it is ending
                daemon = stack.enter_context(open_control(rendezvous.socket_path(state)))
        pid = daemon.daemon.get("pid") if daemon is not None else None
        if daemon is None or not isinstance(pid, int) or pid == service_pid:
            yield lambda: None
            return
        wait_end = stack.enter_context(watch_process_end(pid, lock_path))
        yield lambda: _stop(daemon, pid, wait_end)


def _stop(daemon: ControlClient, pid: int, wait_end: Callable[[float], bool]) -> int:
    with suppress(DaemonUnavailableError):  # it may be gone before its answer is out
        daemon.ask("stop")
    if not wait_end(time.monotonic() + _STOP_SECONDS):
        raise ServiceError(
            f"the service is set up, but the daemon that ran before (pid {pid}) was asked to stop and still runs after "
            f"{_STOP_SECONDS:g} s; the service takes its place when it ends"
        )
    return pid
