"""How a `workroot` program ends. Scripts rely on these numbers; the README lists them."""

from __future__ import annotations

from enum import IntEnum

from workroot.errors import DaemonStartError, DaemonUnavailableError, WorkrootError

__all__ = ["ExitCode", "exit_code_of"]


class ExitCode(IntEnum):
    """The exit codes of all commands."""

    OK = 0
    """It did what was asked. `stop` ends with it too when no daemon was running."""
    FAILED = 1
    """Something failed; a line on standard error says what. Nothing was changed unless it says so.
    `serve` ends with it when a daemon runs already."""
    USAGE = 2
    """The command line cannot be understood, or this system is not supported."""
    NOT_RUNNING = 3
    """No daemon is running, and the command needs one."""
    NOT_STARTED = 4
    """A daemon was started and did not come up; its log says why."""
    GAVE_UP = 5
    """The connector lost the daemon and could not get it back."""


def exit_code_of(error: WorkrootError) -> ExitCode:
    """Return how a command ends that failed with *error*."""
    if isinstance(error, DaemonUnavailableError):
        return ExitCode.NOT_RUNNING
    if isinstance(error, DaemonStartError):
        return ExitCode.NOT_STARTED
    return ExitCode.FAILED
