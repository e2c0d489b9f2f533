"""What the daemon says of itself, asked once; nobody who does not answer is waited for long."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from workroot.control_client import open_control
from workroot.errors import DaemonUnavailableError, WorkrootError
from workroot.instance import is_instance_held
from workroot.rendezvous import instance_lock_path, socket_path

__all__ = ["ANSWER_SECONDS", "Daemon", "Row", "ask_daemon"]

ANSWER_SECONDS = 2.0
"""How long the daemon may take for its first line, and again for its status."""

_FLAGS, _LISTENING = 3, b"00010000"  # a column of /proc/net/unix, and __SO_ACCEPTCON in it

Row: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """The daemon of a state directory, as it showed itself.

    Attributes:
        hello: its first line; None if there was none.
        status: its answer to `status`; None if there was none.
        failure: why it did not answer, in the words of the error; None if it did, or if none runs.
        is_held: a process holds the lock of the one daemon.
        is_listened_for: no daemon runs, and somebody listens in its place, as a service manager does.
        lock_failure: why that cannot be told, in the words of the error; None if it can.
    """

    hello: Row | None = None
    status: Row | None = None
    failure: str | None = None
    is_held: bool = False
    is_listened_for: bool = False
    lock_failure: str | None = None

    @property
    def pid(self) -> int | None:
        """The daemon's process, as it says itself."""
        for row in (self.hello, self.status):
            if row is not None and isinstance(pid := row.get("pid"), int) and pid > 0:
                return pid
        return None

    def text(self, name: str) -> str | None:
        """Return field *name* of what it said, as text; None if it is missing or null."""
        for row in (self.status, self.hello):
            if row is not None and row.get(name) is not None:
                return str(row[name])
        return None


def ask_daemon(state: str, *, seconds: float = ANSWER_SECONDS, listeners: str = "/proc/net/unix") -> Daemon:
    """Ask the daemon of *state*; none is started.

    Args:
        state: the state directory.
        seconds: how long each of its two answers may take.
        listeners: the kernel's table of Unix sockets.
    """
    path = socket_path(state)
    try:
        is_held = is_instance_held(instance_lock_path(state))
    except (WorkrootError, OSError) as error:
        return Daemon(lock_failure=str(error))
    if not is_held:  # to connect could start one: a service manager may hold the socket for it
        return Daemon(is_listened_for=_somebody_listens(path, listeners))
    hello: Row | None = None
    try:
        with open_control(path, answer_seconds=seconds) as client:
            hello = dict(client.daemon)
            return Daemon(hello=hello, status=client.ask("status"), is_held=True)
    except DaemonUnavailableError as error:  # its text advises to start one, and one is there
        return Daemon(hello=hello, failure=error.problem, is_held=True)
    except (WorkrootError, OSError) as error:
        return Daemon(hello=hello, failure=str(error), is_held=True)


def _somebody_listens(path: str, listeners: str) -> bool:
    """Tell whether the kernel knows of somebody who listens at *path*; where it does not say, nobody is assumed."""
    try:
        with open(listeners, "rb") as lines:
            found = [line.split(b" ") for line in lines if line.endswith(b" " + os.fsencode(path) + b"\n")]
    except OSError:
        return False
    return any(len(fields) > _FLAGS and fields[_FLAGS] == _LISTENING for fields in found)
