"""The daemon, and the way to it."""

from __future__ import annotations

from workroot.errors.tree import WorkrootError

__all__ = [
    "AlreadyRunningError",
    "ControlError",
    "DaemonSilentError",
    "DaemonStartError",
    "DaemonUnavailableError",
    "RendezvousError",
    "ServiceError",
    "SocketTakenError",
]


class RendezvousError(WorkrootError):
    """The place where daemon and clients meet is not safe or not usable."""

    code = "rendezvous"

    def __init__(self, path: str, problem: str, cure: str) -> None:
        self.path = path
        super().__init__(f"{path} {problem}; {cure}")


class SocketTakenError(RendezvousError):
    """Somebody else listens where the daemon's clients look for it; that one was left alone."""

    code = "socket_taken"

    def __init__(self, path: str) -> None:
        super().__init__(
            path,
            "is held by another program, most likely a service manager",
            "let that one start the daemon (`systemctl --user start workroot.service`), or stop its socket first",
        )


class AlreadyRunningError(WorkrootError):
    """A daemon of this user runs already."""

    code = "already_running"

    def __init__(self, lock_path: str, pid: int | None = None) -> None:
        self.pid = pid
        who = "it" if pid is None else f"pid {pid}"
        super().__init__(f"a daemon runs already ({who} holds {lock_path}); `workroot status` shows it")


class DaemonUnavailableError(WorkrootError):
    """No daemon answers."""

    code = "daemon_unavailable"

    def __init__(self, socket_path: str, problem: str = "no daemon answers") -> None:
        self.problem = problem
        super().__init__(f"{problem} at {socket_path}; start one with `workroot serve`")


class DaemonSilentError(WorkrootError):
    """A daemon is there, for it holds the lock, and does not answer: it starts, ends, is held up or was suspended."""

    code = "daemon_silent"

    def __init__(self, lock_path: str, pid: int | None, problem: str) -> None:
        self.pid = pid
        who = "a daemon" if pid is None else f"the daemon with pid {pid}"
        super().__init__(
            f"{who} runs, for it holds {lock_path}, and does not answer ({problem}); it may be starting, ending or "
            f"suspended: try again, and see its log"
        )


class ControlError(WorkrootError):
    """The daemon answered a command with an error, or with what cannot be understood.

    Attributes:
        daemon_code: the code that the daemon gave; that of this class where it gave none.
    """

    code = "control"

    def __init__(self, message: str, daemon_code: str | None = None) -> None:
        self.daemon_code = daemon_code or self.code
        super().__init__(message)


class DaemonStartError(WorkrootError):
    """A daemon was started and did not come up."""

    code = "daemon_start"

    def __init__(self, log_path: str, problem: str) -> None:
        super().__init__(f"the daemon did not start: {problem}; see {log_path}")


class ServiceError(WorkrootError):
    """The daemon cannot be made a service, or be one no more; the text says what was done before, if anything was."""

    code = "service"
