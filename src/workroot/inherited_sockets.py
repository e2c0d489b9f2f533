"""What a service manager hands to the daemon: sockets that listen already, and a place to say how it goes.

The protocol is systemd's, and stable: sd_listen_fds(3) and sd_notify(3). A socket from outside is used only
if it is exactly the one that this daemon would have made; all else is refused, since its clients could be
anybody's. The socket's file belongs to whoever bound it: who uses such a socket never removes the file.
launchd hands over nothing here; it only starts the daemon, and restarts one that crashed.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.errors import RendezvousError
from workroot.rendezvous import check_private_directory

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

__all__ = [
    "LAUNCHD_LABEL",
    "READY",
    "STOPPING",
    "Inherited",
    "is_supervised",
    "notify",
    "reloading",
    "take_inherited",
]

LAUNCHD_LABEL = "workroot.daemon"
"""The name of the agent under launchd, as `workroot service install` writes it."""

READY = "READY=1"
"""The daemon accepts clients; also the end of what `reloading` began."""

STOPPING = "STOPPING=1"
"""The daemon has begun to stop."""

_FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
_MOST_DESCRIPTORS = 64
_LOOPBACK = "127.0.0.1"
_NOTIFY_SECONDS = 1.0
_CURE = "correct what hands it over; `workroot service install` writes units that fit"


@dataclass(frozen=True, slots=True)
class Inherited:
    """The sockets that came with the process; all listen, do not block, and end with it.

    Attributes:
        unix: at the path where this daemon's clients meet it; None if there is none.
        http: on 127.0.0.1; None if there is none.
    """

    unix: socket.socket | None = None
    http: socket.socket | None = None


def take_inherited(
    socket_path: str, *, http_port: int | None = None, environment: MutableMapping[str, str] = os.environ
) -> Inherited:
    """Take the listening sockets that a service manager opened for this process, once.

    The variables that announce them are removed, and the descriptors close on exec: no child takes them for its own.

    Args:
        socket_path: where this daemon's clients meet it.
        http_port: the only port on which HTTP may be served; None for any of 127.0.0.1.
        environment: the process' own.

    Raises:
        RendezvousError: one does not fit; it is named, and all of them are closed.
    """
    names = _announced(environment)
    for variable in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"):
        environment.pop(variable, None)
    descriptors = range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + len(names))
    opened: dict[str, socket.socket] = {}
    try:
        for descriptor, name in zip(descriptors, names, strict=True):
            shown = f"inherited descriptor {descriptor} ({name or 'without a name'})"
            listening = _open(descriptor, shown)
            kind = "unix" if listening.family == socket.AF_UNIX else "http"
            if kind in opened:
                listening.close()
                raise RendezvousError(shown, f"is the second listening socket for {kind}", _CURE)
            opened[kind] = listening
            if kind == "unix":
                _check_unix(listening, socket_path, shown)
            else:
                _check_http(listening, http_port, shown)
    except BaseException:
        for listening in opened.values():
            listening.close()
        for descriptor in descriptors:
            _close_if_open(descriptor)
        raise
    return Inherited(**opened)


def is_supervised(environment: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a service manager started this very process; asked before `take_inherited`.

    `INVOCATION_ID` alone proves nothing: a desktop that systemd started gives it to every program in it.
    """
    own = str(os.getpid())
    if environment.get("LISTEN_PID") == own or environment.get("NOTIFY_SOCKET"):
        return True
    if environment.get("XPC_SERVICE_NAME") == LAUNCHD_LABEL:
        return True
    # systemd has told a unit's main process who it is since version 248; before, this is the best there is
    return "INVOCATION_ID" in environment and environment.get("SYSTEMD_EXEC_PID", own) == own


def notify(state: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Tell the service manager how it goes, if one asked to be told; never fails, and waits for 1 s at most.

    Args:
        state: `READY`, `STOPPING`, what `reloading` returns, or other assignments of sd_notify(3), one a line.
        environment: names the manager's socket, as a path or, beginning with `@`, as an abstract address.

    Returns:
        Whether somebody was told.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@") or len(address) < 2:
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sending:
        sending.settimeout(_NOTIFY_SECONDS)
        try:
            sending.connect(f"\0{address[1:]}" if address[0] == "@" else address)
            sending.sendall(state.encode())
        except (OSError, ValueError):
            return False
    return True


def reloading() -> str:
    """Return what to tell when settings are about to be read again; `READY` follows when they have been."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def _announced(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the descriptors that are meant for this process, in order; a name may be empty."""
    if environment.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = environment.get("LISTEN_FDS", "")
    if not (count.isascii() and count.isdigit() and int(count[:6]) <= _MOST_DESCRIPTORS):
        raise RendezvousError("LISTEN_FDS", f"is no number from 0 to {_MOST_DESCRIPTORS}", _CURE)
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    return [names[index] if index < len(names) else "" for index in range(int(count))]


def _open(descriptor: int, shown: str) -> socket.socket:
    """Return the listening stream socket that *descriptor* is."""
    try:
        os.set_inheritable(descriptor, False)
        found = socket.socket(fileno=descriptor)
    except OSError as error:
        raise RendezvousError(shown, f"is not a socket ({error.strerror})", _CURE) from error
    is_stream = found.family in (socket.AF_UNIX, socket.AF_INET) and found.type == socket.SOCK_STREAM
    if not is_stream or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.close()
        raise RendezvousError(shown, "is not a listening Unix or IPv4 stream socket", _CURE)
    found.setblocking(False)
    return found


def _check_unix(listening: socket.socket, path: str, shown: str) -> None:
    at = listening.getsockname()
    if at != path:
        raise RendezvousError(shown, f"listens at {at!r}, but clients look for {path!r}", _CURE)
    check_private_directory(os.path.dirname(path))
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        raise RendezvousError(path, "was removed, so no client finds it", "restart the socket's unit") from None
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        raise RendezvousError(path, "is not a socket of this user", "remove it, then restart the socket's unit")
    if mode := stat.S_IMODE(found.st_mode) & 0o077:
        problem = f"can be reached by other users (mode {stat.S_IMODE(found.st_mode):04o}, {mode:03o} too much)"
        raise RendezvousError(path, problem, "set SocketMode=0600 in its unit")


def _check_http(listening: socket.socket, port: int | None, shown: str) -> None:
    host, at = listening.getsockname()
    if host != _LOOPBACK:
        raise RendezvousError(shown, f"listens on {host}, which is more than {_LOOPBACK}", _CURE)
    if port is not None and at != port:
        raise RendezvousError(shown, f"listens on port {at}, but clients were told {port}", _CURE)


def _close_if_open(descriptor: int) -> None:
    try:
        os.close(descriptor)
    except OSError:
        return  # it was closed with its socket
