"""HTTP: whether it is on and whom it lets in, who has its port, and that nothing of ours listens to the network."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from workroot.doctor.findings import Found, Name, Path, Private, note, ok, problem, warning
from workroot.errors import TokenError

__all__ = [
    "UNASKED",
    "Listener",
    "kept_port",
    "listeners_of_system",
    "look_at_addresses",
    "look_at_http",
    "look_at_kept_port",
    "look_at_port",
    "look_at_proxy",
    "port_of",
]


class Unasked:
    """No daemon runs that could say."""


UNASKED = Unasked()

_LOOPBACK = ("127.0.0.1",)
_PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


class Listener(NamedTuple):
    """A TCP port that a process listens on.

    Attributes:
        address: the local one.
        pid: None if it is another user's, or unknown.
        program: the process's name; None if unknown.
    """

    address: str
    port: int
    pid: int | None
    program: str | None


def look_at_http(
    *, is_on: bool, token_users: Callable[[], Sequence[str | None]], served: Mapping[str, object] | Unasked | None
) -> Iterator[Found]:
    """Look whether HTTP is served as it is set, and whom it lets in.

    Args:
        is_on: as it is set now.
        token_users: returns on whose behalf each token acts, None for the user's own, or raises `TokenError`.
        served: what the daemon says of it: None if it is off there; `UNASKED` if no daemon says anything.
    """
    if not isinstance(served, Unasked) and is_on != (served is not None):
        yield note(
            f"HTTP is set to be {'on' if is_on else 'off'}, and the daemon that runs has it {'off' if is_on else 'on'}",
            cure=("run `workroot stop`: the next daemon starts with what is set now",),
        )
    if isinstance(served, Mapping) and served.get("problem") is not None:
        yield problem(
            "the daemon cannot serve HTTP, and tries again every 30 s",
            Private(f": {served['problem']}"),
            cure=("do what the check of the port says; the daemon need not be restarted",),
        )
    try:
        users = token_users()
    except TokenError as error:
        yield problem(
            "the tokens cannot be read, so nobody is let in over HTTP",
            Private(f" ({error})"),
            cure=("correct the file as it says, or move it away and make new tokens: `workroot token create NAME`",),
        )
        return
    others = len({user for user in users if user is not None})
    counted = f"{len(users)} token{'' if len(users) == 1 else 's'}" + (f", for {others} other users" if others else "")
    if not is_on:
        yield ok(f"off ({counted})" if users else "off")
    elif not users:
        yield note("on, and there is no token: nobody is let in", cure=("run `workroot token create NAME`",))
    else:
        yield ok(f"on, {counted}; `workroot token list` shows them, `workroot token revoke NAME` takes one back")


def look_at_port(
    port: int | None,
    listeners: Sequence[Listener],
    *,
    is_on: bool,
    daemon_pid: int | None,
    served_port: int | None = None,
) -> Iterator[Found]:
    """Look who listens on the port that is ours.

    Args:
        port: as it is set or was chosen; None if there is none yet.
        listeners: who listens where.
        is_on: as it is set now.
        daemon_pid: None if no daemon answers.
        served_port: where the daemon says it serves; its socket may be a service manager's, too.
    """
    if port is None:
        yield ok("no port was chosen yet")
        return
    found = [listener for listener in listeners if listener.port == port]
    strangers = [listener for listener in found if daemon_pid is None or listener.pid != daemon_pid]
    if not strangers or served_port == port:
        yield ok(f"{port}, {'the daemon listens there' if found else 'free'}")
        return
    for stranger in strangers:
        who: tuple[str | Private, ...] = (
            ("a process of another user, or one that cannot be seen",)
            if stranger.pid is None
            else (Name(stranger.program or "a program"), f", pid {stranger.pid}")
        )
        if is_on:
            yield problem(
                f"port {port} is used by another program: ",
                *who,
                cure=("end that program, or set another port: http_port in config.toml",),
            )
        else:
            yield note(
                f"port {port}, kept for HTTP, is used by another program: ",
                *who,
                cure=("nothing as long as HTTP is off; else set another port: http_port in config.toml",),
            )


def look_at_kept_port(state: str) -> Iterator[Found]:
    """Look whether the file that keeps the port can be used; nothing is said if so, or if there is none."""
    path = os.path.join(state, "http-port")
    if os.path.lexists(path) and kept_port(state) is None:
        yield problem(
            Path(path),
            " holds no port number, so HTTP cannot be served",
            cure=("remove it, and a new port is chosen: `rm ", Path(path, quoted=True), "`"),
        )


def look_at_addresses(listeners: Sequence[Listener], *, daemon_pid: int | None) -> Iterator[Found]:
    """Look whether the daemon listens on anything that another machine could reach."""
    if daemon_pid is None:
        return
    ours = [listener for listener in listeners if listener.pid == daemon_pid]
    exposed = [listener for listener in ours if listener.address not in _LOOPBACK]
    for listener in exposed:
        yield problem(
            f"the daemon listens beyond 127.0.0.1, on port {listener.port}",
            cure=("run `workroot stop`, and report this: it must never be",),
        )
    if not exposed:
        yield ok(f"{len(ours)} TCP port{'' if len(ours) == 1 else 's'}, on 127.0.0.1 only" if ours else "no TCP port")


def look_at_proxy(environment: Mapping[str, str], *, is_on: bool) -> Iterator[Found]:
    """Look whether HTTP clients would ask a proxy for this machine's own address."""
    named = [name for name in _PROXIES if environment.get(name)]
    if not is_on or not named:
        return
    direct = {
        part.strip().lower() for name in ("no_proxy", "NO_PROXY") for part in environment.get(name, "").split(",")
    }
    if direct & {"127.0.0.1", "*", "127.0.0.0/8"}:
        yield ok(f"{named[0]} is set, and NO_PROXY leaves 127.0.0.1 out")
    else:
        yield warning(
            f"{named[0]} is set: clients may ask the proxy for 127.0.0.1, with their tokens",
            cure=("add 127.0.0.1 and localhost to NO_PROXY where your editors are started",),
        )


def kept_port(state: str) -> int | None:
    """Return the port that was chosen once, or None."""
    try:
        with open(os.path.join(state, "http-port"), encoding="ascii") as file:
            text = file.read(64).strip()
    except (OSError, UnicodeDecodeError):
        return None
    return int(text) if text.isdecimal() and len(text) <= 5 and 0 < int(text) < 65536 else None


def port_of(url: str | None) -> int | None:
    """Return the port in *url*, or None."""
    try:
        return urllib.parse.urlsplit(url).port if url else None
    except ValueError:
        return None


def listeners_of_system(daemon_pid: int | None) -> Sequence[Listener]:
    """Return who listens on TCP ports, as far as this user may see it.

    Args:
        daemon_pid: looked at by itself where the system shows an ordinary user no table of all.
    """
    import psutil

    try:
        return [
            Listener(entry.laddr.ip, entry.laddr.port, entry.pid, _program(entry.pid))
            for entry in psutil.net_connections("tcp")
            if entry.status == psutil.CONN_LISTEN and entry.laddr
        ]
    except (psutil.Error, OSError):
        return _listeners_of(daemon_pid) if daemon_pid is not None else ()


def _listeners_of(pid: int) -> Sequence[Listener]:
    import psutil

    try:
        return [
            Listener(entry.laddr.ip, entry.laddr.port, pid, _program(pid))
            for entry in psutil.Process(pid).net_connections("tcp")
            if entry.status == psutil.CONN_LISTEN and entry.laddr
        ]
    except (psutil.Error, OSError):
        return ()


def _program(pid: int | None) -> str | None:
    import psutil

    try:
        return psutil.Process(pid).name() if pid is not None else None
    except (psutil.Error, OSError):
        return None
