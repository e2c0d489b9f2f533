"""The way to a daemon: connect to the one that runs, have one started if none does, and do not wait for ever.

Nothing here blocks. `reach_daemon` is a generator: it yields what it waits for, and whoever drives it goes on
serving the client meanwhile.
"""

from __future__ import annotations

import os
import sys
from _socket import AF_UNIX, SOCK_STREAM, SOL_SOCKET, socket  # `socket` takes 3 ms longer, for enums not used here
from time import monotonic

from workroot.errors import DaemonStartError, DaemonUnavailableError, RendezvousError
from workroot.rendezvous import check_private_directory, socket_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Pause = tuple[int | None, float]
    """A descriptor to become readable, or None, and how many seconds to wait at most."""

    Reaching = Generator[Pause, None, socket]
    Starter = Callable[[str], Reaching]

__all__ = ["FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "connect_nowait", "reach_daemon"]

FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0

_BUSY_SECONDS = 10.0
_SO_PEERCRED = 17  # Linux; _socket has the name only there


def connect_nowait(state: str) -> socket | None:
    """Return a connection to the daemon of *state*, or None if none answers.

    Raises:
        RendezvousError: the meeting place, or the process that listens there, is not this user's.
        BlockingIOError: a daemon is there, and has no room for another connection right now.
    """
    path = socket_path(state)
    try:
        check_private_directory(os.path.dirname(path))
    except FileNotFoundError:
        return None
    connection = socket(AF_UNIX, SOCK_STREAM)
    try:
        connection.setblocking(False)
        connection.connect(path)
        _check_server(connection, path)
    except (FileNotFoundError, ConnectionRefusedError):
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def reach_daemon(state: str, start: Starter | None, *, patience: float, pause: float = 0.0) -> Reaching:
    """Connect to the daemon of *state*; one is started if none answers.

    Args:
        state: the directory that the daemon is for.
        start: how to start one; None: wait for somebody else to do so.
        patience: for how many seconds to try again after a failure.
        pause: how many seconds to wait before the first attempt.

    Raises:
        DaemonUnavailableError: none answers, and none was to be started.
        DaemonStartError: one was started and did not come up.
        RendezvousError: the meeting place is not this user's alone.
        OSError: the system refused, for instance since a directory cannot be created.
    """
    deadline = monotonic() + patience
    busy_until = monotonic() + max(patience, _BUSY_SECONDS)
    if pause:
        yield None, pause
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            if connection := connect_nowait(state):
                return connection
            if start is not None:
                return (yield from start(state))
            problem: Exception = _unavailable(state)
        except BlockingIOError as busy:
            if monotonic() >= busy_until:
                raise _unavailable(state, "the daemon accepts no connection") from busy
            yield None, pause
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            continue
        except Exception as failure:
            if not _may_pass(failure):
                raise
            problem = failure
        if monotonic() + pause > deadline:
            raise problem
        yield None, pause
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _check_server(connection: socket, path: str) -> None:
    """Make sure that this user's process listens, whatever the modes on the way say.

    Only Linux is asked; elsewhere the directory, which is ours alone, has to do.
    """
    if sys.platform != "linux":
        return
    credentials = connection.getsockopt(SOL_SOCKET, _SO_PEERCRED, 12)  # struct ucred: pid, uid, gid
    server = int.from_bytes(credentials[4:8], sys.byteorder)
    if server != os.geteuid():
        raise RendezvousError(
            path,
            f"is served by the user with id {server}, not by you",
            "remove it, or set WORKROOT_HOME to a directory of your own",
        )


def _unavailable(state: str, problem: str = "no daemon answers") -> Exception:
    return DaemonUnavailableError(socket_path(state), problem)


def _may_pass(failure: Exception) -> bool:
    """Return whether waiting may help: the disk may have room again, an unsafe directory does not become safe."""
    return isinstance(failure, (DaemonStartError, OSError))
