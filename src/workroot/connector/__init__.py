"""`workroot connect`: the small process that an editor starts to reach the one daemon.

Standard library only, without asyncio, threads or `typing`: it is started for each conversation, often
twice, and has to be there in milliseconds. Its standard output is protocol; what is for people goes to standard error.
"""

from __future__ import annotations

import os

from workroot import __version__
from workroot.connector.conversation import Conversation, ReplayRefusedError
from workroot.connector.meeting import reach_daemon
from workroot.connector.relay import RECONNECT_SECONDS, DaemonRefusedError, Relay
from workroot.errors import DaemonStartError, DaemonUnavailableError, WorkrootError
from workroot.rendezvous import (
    ENVIRONMENT_SIGNS,
    hello_line,
    installation,
    log_path,
    state_directory,
    stopped_path,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workroot.connector.meeting import Reaching

__all__ = ["EXIT_LOST", "EXIT_NOT_RUNNING", "EXIT_NOT_STARTED", "EXIT_OK", "EXIT_USAGE", "main"]

EXIT_OK = 0
EXIT_USAGE = 2
EXIT_NOT_RUNNING = 3
"""No daemon answers, and `--no-spawn` was given."""
EXIT_NOT_STARTED = 4
"""No daemon could be started, or the place to meet it is not this user's alone."""
EXIT_LOST = 5
"""The daemon went away and none came back, or it refused this connector."""

_USAGE = "usage: workroot connect [--directory DIR] [--no-default-session] [--no-spawn]"


class _Options:
    """What the command line says."""

    __slots__ = ("default_session", "directory", "spawn")

    def __init__(self, arguments: Sequence[str]) -> None:
        self.directory: str | None = None
        self.default_session = self.spawn = True
        rest = iter(arguments)
        for argument in rest:
            name, equals, value = argument.partition("=")
            if name == "--directory":
                self.directory = value if equals else next(rest, None)
                if self.directory is None:
                    raise ValueError("--directory needs a value")
            elif argument == "--no-default-session":
                self.default_session = False
            elif argument == "--no-spawn":
                self.spawn = False
            else:
                raise ValueError(f"no such option: {argument}")


def main(
    arguments: list[str], *, serve_command: Sequence[str] | None = None, patience: float = RECONNECT_SECONDS
) -> int:
    """Carry one client's conversation and return the exit status.

    Args:
        arguments: what follows `workroot connect`.
        serve_command: what starts a daemon, the number of its ready descriptor to be appended; None: this
            installation's own.
        patience: for how many seconds a daemon that was lost may be away.
    """
    try:
        options = _Options(arguments)
    except ValueError as problem:
        _say(f"{problem}\n{_USAGE}")
        return EXIT_USAGE
    try:
        return _connect(options, serve_command, patience)
    except KeyboardInterrupt:
        return EXIT_OK


def _connect(options: _Options, serve_command: Sequence[str] | None, patience: float) -> int:
    _occupy_standard_descriptors()
    state = state_directory()
    alias, place = os.urandom(16).hex(), installation()
    directory = _own_directory()
    environment = {name: os.environ[name] for name in ENVIRONMENT_SIGNS if name in os.environ}

    def hello(reconnected: bool, listens: Sequence[object]) -> bytes:
        return hello_line(
            role="mcp",
            version=__version__,
            installation=place,
            alias=alias,
            directory=directory,
            option=_absolute(options.directory, directory),
            environment=environment,
            default_session=options.default_session,
            reconnected=reconnected or None,
            listens=listens or None,
        )

    def start(state: str) -> Reaching:
        try:
            from workroot.connector.starting import start_daemon
        except ImportError as changed:
            problem = "this installation of workroot has changed or gone meanwhile; restart this server in the client"
            raise DaemonStartError(log_path(state), problem) from changed
        return start_daemon(state, serve_command)

    def reach(patience: float, pause: float) -> Reaching:
        return reach_daemon(state, start if options.spawn else None, patience=patience, pause=pause)

    def replace(fields: Mapping[str, object]) -> Reaching | None:
        version, theirs = fields.get("version"), fields.get("installation")
        if version == __version__:
            return None
        if theirs != place:
            _say(
                f"this is version {__version__} of the installation in {place!r}, and the daemon is version "
                f"{version} of {theirs!r}; `workroot upgrade` makes the daemon the one of this installation"
            )
            return None
        from workroot.connector.replacing import is_replaceable, replace_daemon
        from workroot.connector.starting import SERVE_COMMAND

        if not options.spawn or not is_replaceable(fields):
            return None
        return replace_daemon(state, serve_command or SERVE_COMMAND, _say)

    def load_starting() -> None:
        """Load what starts a daemon, while its files are of this version: an upgrade in place may come any time."""
        try:
            import workroot.connector.starting  # noqa: F401 -- not when this module loads: the first answer waits for it
        except ImportError:
            return  # it has come; what a start says of it is for when one is needed

    def is_stopped() -> bool:
        return os.path.exists(stopped_path(state))

    relay = Relay(
        Conversation(is_stopped),
        hello,
        reach,
        _say,
        replace=replace,
        is_stopped=is_stopped,
        served=load_starting,
        patience=patience,
    )
    try:
        relay.run()
    except Exception as problem:
        said = _words_of(problem)
        relay.give_up(said)  # first of all: whatever it was, nobody is left waiting
        status = _status_of(problem, relay.was_connected)
        _say(said)
        return status
    return EXIT_OK


def _words_of(problem: Exception) -> str:
    if not isinstance(problem, OSError):
        return str(problem)
    from workroot.lost_disks import explained

    return explained(problem)


def _status_of(problem: Exception, was_connected: bool) -> int:
    """Return the exit status that tells of *problem*; what nobody foresaw is raised again."""
    if isinstance(problem, (DaemonRefusedError, ReplayRefusedError)):
        return EXIT_LOST
    if not isinstance(problem, (WorkrootError, OSError)):
        raise problem
    if was_connected:
        return EXIT_LOST
    return EXIT_NOT_RUNNING if isinstance(problem, DaemonUnavailableError) else EXIT_NOT_STARTED


def _own_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed, or may not be read
        return None


def _absolute(given: str | None, own: str | None) -> str | None:
    """Return a path as the daemon, which works elsewhere, has to see it.

    What the client should have replaced (`${workspaceFolder}`, `~`) stays as it is: in a path below our own
    directory nobody would recognise it.
    """
    if not given or own is None or given.startswith(("~", "$")) or "${" in given:
        return given
    return os.path.join(own, given)


def _occupy_standard_descriptors() -> None:
    """Open what the client left closed, so that no socket gets the number of a standard stream."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _say(message: str) -> None:
    try:
        os.write(2, f"workroot connect: {message}\n".encode(errors="backslashreplace"))
    except OSError:
        return  # nobody listens there
