"""Asks a running daemon: one line out, one line back, over the Unix socket.

Blocking, and of the standard library only, so that `workroot status` starts fast. The answers are
checked no further than being objects: an older or newer daemon may leave out or add fields.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from workroot import __version__
from workroot.errors import ControlError, DaemonUnavailableError, RendezvousError
from workroot.rendezvous import hello_line, installation, parse_hello

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ANSWER_SECONDS", "ControlClient", "check_socket_owner", "open_control"]

ANSWER_SECONDS = 10.0
"""How long the daemon may take to answer one line."""

_LONGEST_ANSWER = 64 * 1024 * 1024  # bytes; a list of 100,000 sessions is half of it
_READ_BYTES = 65536


class ControlClient:
    """A connection to the daemon, opened by `open_control`.

    Attributes:
        daemon: the fields of the daemon's hello line: `version`, `installation`, `boot`, `pid`.
    """

    def __init__(self, connection: socket.socket, path: str, answer_seconds: float) -> None:
        self._connection, self._path, self._answer_seconds = connection, path, answer_seconds
        self._read = bytearray()
        try:
            self.daemon = parse_hello(self._exchange(_hello_line()))
        except ValueError as error:
            raise ControlError(f"{error}; look what listens at {path}, end it and try again") from None

    def ask(self, command: str, **arguments: object) -> dict[str, object]:
        """Return the daemon's result for *command*; arguments that are None are left out.

        Raises:
            ControlError: the daemon refused, or its answer is not one.
            DaemonUnavailableError: it went away, or did not answer in time.
        """
        said = {name: value for name, value in arguments.items() if value is not None}
        line = self._exchange(json.dumps({"command": command, "arguments": said}).encode() + b"\n")
        try:
            answer: object = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if isinstance(answer, dict):
            if isinstance(result := answer.get("result"), dict):
                return result
            if isinstance(error := answer.get("error"), dict):
                raise ControlError(str(error.get("message") or "no reason given"), _text(error.get("code")))
        raise ControlError(f"the daemon at {self._path} answered {command!r} with what is not an answer")

    def _exchange(self, line: bytes) -> bytes:
        """Send *line*, return the next one without its newline."""
        deadline = time.monotonic() + self._answer_seconds
        try:
            self._connection.settimeout(self._answer_seconds)
            self._connection.sendall(line)
            while (end := self._read.find(b"\n")) < 0:
                received = self._receive(deadline)
                if not received:
                    raise DaemonUnavailableError(self._path, "the daemon went away without an answer")
                self._read += received
                if len(self._read) > _LONGEST_ANSWER:
                    raise ControlError(f"the daemon at {self._path} answered without an end")
        except TimeoutError:
            raise DaemonUnavailableError(
                self._path, f"the daemon did not answer within {self._answer_seconds:g} s"
            ) from None
        except OSError as error:
            raise DaemonUnavailableError(self._path, f"the daemon went away ({error.strerror or error})") from None
        answer = bytes(self._read[:end])
        del self._read[: end + 1]
        return answer

    def _receive(self, deadline: float) -> bytes:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._connection.settimeout(remaining)
        return self._connection.recv(_READ_BYTES)


@contextmanager
def open_control(path: str, *, answer_seconds: float = ANSWER_SECONDS) -> Iterator[ControlClient]:
    """Connect to the daemon whose socket is *path*, and say hello.

    Args:
        path: of the socket, as `rendezvous.socket_path` gives it.
        answer_seconds: how long each answer may take, that to the hello line included.

    Raises:
        DaemonUnavailableError: no daemon listens there, or it does not answer.
        RendezvousError: others could have put that socket there.
        ControlError: what listens there does not speak this protocol.
    """
    check_socket_owner(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(answer_seconds)
        try:
            connection.connect(path)
        except TimeoutError:
            raise DaemonUnavailableError(path, f"the daemon did not answer within {answer_seconds:g} s") from None
        except (FileNotFoundError, ConnectionRefusedError):
            raise DaemonUnavailableError(path, "no daemon is running") from None
        except OSError as error:
            raise DaemonUnavailableError(path, f"no daemon can be reached ({error.strerror or error})") from None
        yield ControlClient(connection, path, answer_seconds)


def check_socket_owner(path: str) -> None:
    """Refuse a socket in a directory where others may write: its listener could be anybody.

    Raises:
        DaemonUnavailableError: there is no such directory, so no daemon runs.
        RendezvousError: others could have put the socket there.
    """
    directory = os.path.dirname(path)
    try:
        status = os.lstat(directory)
    except FileNotFoundError:
        raise DaemonUnavailableError(path, "no daemon is running") from None
    except OSError as error:
        raise RendezvousError(directory, f"cannot be looked at ({error.strerror})", "make it yours") from None
    if not stat.S_ISDIR(status.st_mode):
        raise RendezvousError(directory, "is not a directory", "move it away")
    if status.st_uid != os.geteuid():
        raise RendezvousError(directory, "belongs to another user", "remove it, or choose another WORKROOT_HOME")
    if status.st_mode & 0o022:
        raise RendezvousError(directory, "can be written to by other users", f"run `chmod 700 {directory}`")


def _hello_line() -> bytes:
    return hello_line(role="control", version=__version__, installation=installation())


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
