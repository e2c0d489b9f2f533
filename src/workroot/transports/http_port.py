"""The port of the HTTP face: on 127.0.0.1, the same at every start, because clients keep its number."""

from __future__ import annotations

import errno
import os
import secrets
import socket
from typing import TYPE_CHECKING

from workroot.errors import RendezvousError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DEFAULT_PORT", "HOST", "bind_port"]

DEFAULT_PORT = 7668
"""The port that is chosen when it is free at the first start."""

HOST = "127.0.0.1"
"""The only address that is served."""

_BACKLOG = 1024  # a connection beyond it is tried again by its client's system only after a second
_PORT_CURE = "choose another with the setting http_port (WORKROOT_HTTP_PORT), or end the program that uses it"


def bind_port(state_directory: Path, wanted: int | None = None) -> socket.socket:
    """Return a socket that listens on 127.0.0.1, on the same port at every start.

    Bound here and handed to `serve_http`, so that nobody takes the port in between.

    Args:
        state_directory: keeps the chosen port in the file `http-port`.
        wanted: the port that the user's settings name, or None: the kept one, else 7668 if it is free, else any.

    Raises:
        RendezvousError: the wanted or kept port belongs to somebody else, or what is kept is no port.
    """
    if wanted is not None:
        return _bind_or_explain(wanted)
    path = state_directory / "http-port"
    if (kept := _kept_port(path)) is not None:
        return _bind_or_explain(kept)
    try:
        listener = _bind(DEFAULT_PORT)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise RendezvousError(f"{HOST}:{DEFAULT_PORT}", f"cannot be used ({error.strerror})", _PORT_CURE) from error
        listener = _bind_or_explain(0)
    port: int = listener.getsockname()[1]
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(f"{port}\n")
            file.flush()
            os.fsync(file.fileno())  # an empty file, left when the power fails, would keep HTTP from being served
        temporary.replace(path)
        _sync_directory(state_directory)
    except OSError as error:
        listener.close()
        raise RendezvousError(
            str(path), f"cannot be written ({error.strerror})", "make room or correct its mode"
        ) from error
    return listener


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _kept_port(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        text = ""
    if not text.isdecimal() or len(text) > 5 or not 0 < int(text) < 65536:
        raise RendezvousError(str(path), "does not hold a port number", "remove it, and a new port is chosen")
    return int(text)


def _bind_or_explain(port: int) -> socket.socket:
    try:
        return _bind(port)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        problem = "is used by another program" if taken else f"cannot be used ({error.strerror})"
        raise RendezvousError(f"{HOST}:{port}", problem, _PORT_CURE) from error


def _bind(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the last run may linger
        listener.bind((HOST, port))
        listener.listen(_BACKLOG)  # two may bind the same port on some systems; only one may listen
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
