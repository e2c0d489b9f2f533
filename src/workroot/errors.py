"""Every error raised on purpose, as one tree.

Each says what happened, to what, and what to do about it. `code` is stable: scripts and
clients may rely on it. Nothing here imports anything of the package.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not from typing: the connector must be able to import this in no time
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import ClassVar

__all__ = [
    "AlreadyRunningError",
    "ArchiveError",
    "ChangeRefusedError",
    "ClosedSessionError",
    "ConfigError",
    "ConfirmationError",
    "ControlError",
    "DaemonSilentError",
    "DaemonStartError",
    "DaemonUnavailableError",
    "DirectoryError",
    "ExpiredSessionError",
    "JoinRefusedError",
    "NotStartedError",
    "ProjectUnknownError",
    "RendezvousError",
    "ServiceError",
    "SessionError",
    "SettingsError",
    "SignsDisagreeError",
    "SocketTakenError",
    "StoreError",
    "StoreInUseError",
    "StoreTooNewError",
    "StoreUnavailableError",
    "TokenError",
    "TrustError",
    "UnknownSessionError",
    "WorkrootError",
]


class WorkrootError(Exception):
    """The root of the tree: catch this to catch all that workroot raises on purpose.

    Attributes:
        code: stable name of the kind of error, for programs.
    """

    code: ClassVar[str] = "workroot_error"


# Directories and projects


class DirectoryError(WorkrootError):
    """A directory cannot be worked in; nothing was changed.

    The texts before the first full stop are those that users of earlier systems know.
    """

    code = "invalid_directory"

    def __init__(self, directory: str, problem: str) -> None:
        self.directory, self.problem = directory, problem
        super().__init__(f"{problem}: {directory}")


class ConfigError(WorkrootError):
    """A project's config cannot be used.

    Attributes:
        path: the file.
        line: 1-based line of the fault, or None where the format gives none.
        field: dotted name of the faulty field, or None for a syntax error.
        problem: what is wrong; never holds the file's content.
    """

    code = "invalid_config"

    def __init__(self, path: str, problem: str, *, line: int | None = None, field: str | None = None) -> None:
        self.path, self.problem, self.line, self.field = path, problem, line, field
        where = f"{path}:{line}" if line is not None else path
        super().__init__(f"{where}: {f'{field}: ' if field else ''}{problem}")


class ConfirmationError(WorkrootError):
    """Only a person at a terminal can decide this, and there is none; nothing was changed."""

    code = "confirmation_needed"

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what}, and nobody can be asked without a terminal: {cure}; nothing was changed")


class ProjectUnknownError(WorkrootError):
    """What was asked for names no known project, or more than one.

    Attributes:
        candidates: projects to choose from, each as name, id and root.
        is_ambiguous: all of them have the name or id asked for.
    """

    code = "unknown_project"

    def __init__(
        self, wanted: str, candidates: Sequence[tuple[str, str, str]] = (), *, is_ambiguous: bool = False
    ) -> None:
        self.wanted, self.candidates, self.is_ambiguous = wanted, tuple(candidates), is_ambiguous
        known = "; ".join(f"{name} at {root} (id {project_id})" for name, project_id, root in self.candidates)
        if is_ambiguous:
            text = f"several known projects have the id or name {wanted[:200]!r}, name one by its root: {known}"
        else:
            some = f", for example {known}" if known else ""
            text = f"no known project has the id, name or root {wanted[:200]!r}; list_projects shows all{some}"
        super().__init__(text)


class JoinRefusedError(WorkrootError):
    """A project cannot be joined with others; nothing was changed."""

    code = "cannot_join"

    def __init__(self, directory: str, problem: str) -> None:
        self.directory = directory
        super().__init__(f"{directory} cannot be joined with another project: {problem}")


class ArchiveError(WorkrootError):
    """A file that was to be imported is no whole archive; nothing was imported.

    Attributes:
        line: where it is wrong, from 1; None if no line is.
    """

    code = "bad_archive"

    def __init__(self, name: str, problem: str, *, line: int | None = None) -> None:
        self.line = line
        where = f"{name}, line {line}" if line is not None else name
        super().__init__(f"{where}: {problem}")


class ProjectNeededError(WorkrootError):
    """A call needs a project, and it is not known in which one its caller works; nothing was done.

    Attributes:
        candidates: directories to choose from.
    """

    code = "project_needed"

    def __init__(self, why: str, candidates: Sequence[str] = ()) -> None:
        self.candidates = tuple(candidates)
        among = f", for example one of: {'; '.join(candidates)}" if candidates else ""
        super().__init__(f"this needs a project, and {why}; call set_working_directory(directory=ABSOLUTE PATH){among}")


class DryRunError(WorkrootError):
    """A project with `dry_run` was to be entered: that is reported, and nothing was done."""

    code = "dry_run"


class StrictModeError(WorkrootError):
    """A project with `strict_mode` answers only for directories inside its root; nothing was done."""

    code = "strict_mode"

    def __init__(self, directory: str, project: str, root: str) -> None:
        self.directory = directory
        super().__init__(
            f"project {project!r} has strict_mode on and answers only for directories inside {root}, "
            f"not for {directory}; move there with set_working_directory if that is meant"
        )


class MoveRefusedError(WorkrootError):
    """The user's settings do not let an argument reach this directory; nothing was done.

    Attributes:
        candidates: directories that it may reach.
    """

    code = "move_refused"

    def __init__(self, directory: str, setting: str, candidates: Sequence[str] = ()) -> None:
        self.directory, self.candidates = directory, tuple(candidates)
        within = {"known": "projects that are known already", "roots": "what your client itself names"}[setting]
        allowed = f": {'; '.join(candidates)}" if candidates else ""
        super().__init__(
            f"{directory} is out of reach: the user's setting model_may_move = {setting!r} allows only "
            f"{within}{allowed}; ask the user to open the project in the client, or to change the setting"
        )


# Sessions


class SessionError(WorkrootError):
    """A session handle cannot be used.

    Attributes:
        session_id: the handle as it was given.
    """

    code = "invalid_session"

    def __init__(self, session_id: str, message: str) -> None:
        self.session_id = session_id
        super().__init__(message)


class NotStartedError(WorkrootError):
    """A manager was used before it knew what its store keeps; nothing changed."""

    code = "not_started"

    def __init__(self) -> None:
        super().__init__("the session manager is not started: call start(), or use it as a context manager")


class UnknownSessionError(SessionError):
    """Nobody opened this session, or somebody else did: a stranger learns no more than that."""

    code = "unknown_session"

    def __init__(self, session_id: str) -> None:
        super().__init__(
            session_id,
            f"unknown session {session_id!r}: call set_working_directory without session_id to open a new one, "
            f"and pass on the session_id that it returns",
        )


class ClosedSessionError(SessionError):
    """The owner closed this session; it does not come back."""

    code = "closed_session"

    def __init__(self, session_id: str, last_directory: str) -> None:
        self.last_directory = last_directory
        super().__init__(
            session_id,
            f"session {session_id!r} was closed (it worked in {last_directory}): "
            f"call set_working_directory(directory={last_directory!r}) without session_id to open a new one",
        )


class ExpiredSessionError(SessionError):
    """This session was idle for too long; it does not come back."""

    code = "expired_session"

    def __init__(self, session_id: str, last_directory: str) -> None:
        self.last_directory = last_directory
        super().__init__(
            session_id,
            f"session {session_id!r} expired after being idle (it worked in {last_directory}): "
            f"call set_working_directory(directory={last_directory!r}) without session_id, "
            f"then repeat this call with the session_id that it returns",
        )


class SignsDisagreeError(WorkrootError):
    """Two signs of equal authority name different things; neither was followed."""

    code = "signs_disagree"

    def __init__(self, what: str, first: tuple[str, str], second: tuple[str, str]) -> None:
        super().__init__(
            f"two signs of equal authority name a different {what}: "
            f"{first[0]} says {first[1]!r}, {second[0]} says {second[1]!r}; send only one of them"
        )


# The store


class StoreError(WorkrootError):
    """The store of sessions cannot be used."""

    code = "store_error"


class StoreUnavailableError(StoreError):
    """Nothing was written; the call may be repeated."""

    code = "store_unavailable"


class ChangeRefusedError(StoreError):
    """The store will not keep this, now or later: repeating the call does not help. Nothing of it was kept."""

    code = "change_refused"

    def __init__(self, what: str, problem: str) -> None:
        super().__init__(f"{what} cannot be kept: {problem}")


class StoreTooNewError(StoreError):
    """The database was written by a newer workroot; it was left untouched."""

    code = "store_too_new"

    def __init__(self, path: str, found: int, supported: int) -> None:
        super().__init__(
            f"{path} has schema version {found}, this workroot reads up to {supported}: "
            f"start the newer workroot again, or move the file away to begin anew"
        )


class StoreInUseError(StoreError):
    """Another process owns the database."""

    code = "store_in_use"

    def __init__(self, path: str, pid: str | None = None, host: str | None = None, here: str | None = None) -> None:
        if host is not None and host != here:
            super().__init__(
                f"{path} is in use by process {pid} on host {host!r}, this one is {here!r}: a state directory serves "
                f"one host at a time; run `workroot stop` there, or give each host a WORKROOT_HOME of its own"
            )
            return
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(f"{path} is in use by {who}; connect to the running daemon instead")


# The daemon and the way to it


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


class SettingsError(WorkrootError):
    """The user's settings cannot be used."""

    code = "invalid_settings"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class TokenError(WorkrootError):
    """A token command cannot be carried out."""

    code = "invalid_token"


class DaemonKeyError(WorkrootError):
    """The key that proves what the daemon said earlier cannot be read or made."""

    code = "invalid_daemon_key"


class TrustError(WorkrootError):
    """What the user allows cannot be read or changed; nothing was allowed."""

    code = "trust"
