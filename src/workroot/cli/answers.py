"""Reads the daemon's answers, whatever version gave them: a field that is missing is missing, not a crash."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias

from workroot import rendezvous
from workroot.control_client import ANSWER_SECONDS, ControlClient, open_control
from workroot.errors import DaemonSilentError, DaemonUnavailableError
from workroot.instance import holder_pid, is_instance_held

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Row", "all_rows", "number", "open_daemon", "row", "rows", "text", "texts"]

Row: TypeAlias = Mapping[str, object]


@contextmanager
def open_daemon(*, answer_seconds: float = ANSWER_SECONDS, wake: bool = True) -> Iterator[ControlClient]:
    """Connect to this user's daemon.

    Settings are not read for it: the place of the socket follows from the environment alone.

    Args:
        answer_seconds: how long each answer may take.
        wake: a service manager that listens in the daemon's place may start it for this question.

    Raises:
        DaemonUnavailableError: none is running.
        DaemonSilentError: one is, for it holds its lock, and does not answer.
    """
    state = rendezvous.state_directory()
    path, lock_path = rendezvous.socket_path(state), rendezvous.instance_lock_path(state)
    if not wake and not is_instance_held(lock_path):
        raise DaemonUnavailableError(path, "no daemon is running")
    try:
        with open_control(path, answer_seconds=answer_seconds) as client:
            yield client
    except DaemonUnavailableError as error:
        if is_instance_held(lock_path):
            raise DaemonSilentError(lock_path, holder_pid(lock_path), error.problem) from None
        raise


def row(answer: Row, name: str) -> Row | None:
    """Return the object in field *name*, or None."""
    value = answer.get(name)
    return value if isinstance(value, dict) else None


def rows(answer: Row, name: str) -> list[Row]:
    """Return the objects in field *name*; none if there is no such list."""
    value = answer.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def all_rows(daemon: ControlClient, command: str) -> list[Row]:
    """Return the objects of every page that *daemon* answers *command* with; the field has the command's name."""
    found: list[Row] = []
    cursor: str | None = None
    while True:
        answer = daemon.ask(command, cursor=cursor)
        found += rows(answer, command)
        if not isinstance(after := answer.get("cursor"), str):
            return found
        cursor = after


def text(answer: Row, name: str) -> str | None:
    """Return field *name* as text, or None if it is missing or null."""
    value = answer.get(name)
    return None if value is None else str(value)


def texts(answer: Row, name: str) -> list[str]:
    """Return the texts in field *name*; none if there is no such list."""
    value = answer.get(name)
    return [str(one) for one in value] if isinstance(value, list) else []


def number(answer: Row, name: str) -> float | None:
    """Return field *name* as a number, or None if it is not one."""
    value = answer.get(name)
    return float(value) if isinstance(value, int | float) else None
