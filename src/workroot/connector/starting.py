"""One daemon is started, however many connectors find none: they take turns, and look again when theirs has come.

The daemon gets nothing of the client that happened to need it: its own session, the root directory, an
environment by allow-list, no descriptor beyond the four that it is meant to have.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import stat
from contextlib import suppress
from time import monotonic

from workroot.connector.chosen import SERVE_COMMAND, serve_command
from workroot.connector.meeting import connect_nowait
from workroot.errors import DaemonStartError, RendezvousError
from workroot.instance import holder_pid, is_instance_held, open_own_file
from workroot.lost_disks import is_disk_lost, why_unwritable
from workroot.rendezvous import (
    READY_WORD,
    daemon_environment,
    instance_lock_path,
    log_path,
    make_private_directory,
    prepare_meeting_place,
    spawn_lock_path,
    stopped_path,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from workroot.connector.meeting import Pause, Reaching

__all__ = ["LOOK_AGAIN_SECONDS", "SERVE_COMMAND", "open_turn", "start_daemon", "start_in_turn", "take_turn"]

LOOK_AGAIN_SECONDS = 0.02
"""How long to wait before looking again at what nobody tells about."""

_TURN_SECONDS = 15.0  # whoever puts another daemon in place has the turn while the old one drains
_READY_SECONDS = 10.0
_TRIES = 3
_READY_DESCRIPTOR = 3
_MOST_DESCRIPTORS = 1 << 16
_LAST_LINE_BYTES = 32_768  # a record of the log is shorter, its traceback included


def start_daemon(state: str, command: Sequence[str] | None = None) -> Reaching:
    """Start the daemon of *state*, unless somebody else does, and return a connection to it.

    Args:
        state: the directory that the daemon is for.
        command: what starts it; None: the installation that the user chose, or this one.

    Raises:
        DaemonStartError: none came up in time; it names the log and, where there is one, its last line.
        RendezvousError: the meeting place is not this user's alone, or something else is in the way.
        OSError: a directory, the lock or the log cannot be created.
    """
    lock = open_turn(state)
    try:
        deadline = monotonic() + _TURN_SECONDS
        while not take_turn(lock):
            if monotonic() > deadline:
                raise DaemonStartError(log_path(state), f"somebody else has been starting it for {_TURN_SECONDS:.0f} s")
            yield None, LOOK_AGAIN_SECONDS
            if connection := connect_nowait(state):
                return connection
        return (yield from start_in_turn(state, command or serve_command(state)))
    finally:
        os.close(lock)


def open_turn(state: str) -> int:
    """Make the meeting place of *state*, and return the descriptor of its turns; closing it gives the turn to the next.

    Raises:
        RendezvousError: the place is not this user's alone, or something else is in the way.
        OSError: it cannot be made.
    """
    make_private_directory(state)
    path = prepare_meeting_place(state)
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):  # no daemon would listen there, however often one is started
            raise RendezvousError(path, "is in the way of the daemon's socket", f"run: rm -r '{path}'")
    try:
        make_private_directory(os.path.dirname(log_path(state)))
    except OSError as error:
        if not is_disk_lost(error):
            raise
    return open_own_file(spawn_lock_path(state), os.O_RDWR | os.O_CREAT)


def take_turn(lock: int) -> bool:
    """Take the turn to start a daemon if nobody has it; it ends when the descriptor is closed."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def start_in_turn(state: str, command: Sequence[str] = SERVE_COMMAND) -> Reaching:
    """Start the daemon of *state* if none runs, and return a connection to it; the caller has the turn.

    One that ends before it is ready is started again, a few times: somebody may have killed it.

    Raises:
        DaemonStartError: as `start_daemon`.
        OSError: the log cannot be written, or no process be made.
    """
    log, lock = log_path(state), instance_lock_path(state)
    deadline = monotonic() + _READY_SECONDS
    tries = 0
    while monotonic() < deadline:
        if connection := connect_nowait(state):
            return connection
        if is_instance_held(lock):
            yield None, LOOK_AGAIN_SECONDS  # its holder is starting and will answer, or stopping and will end
            continue
        with suppress(OSError):
            os.unlink(stopped_path(state))
        tries += 1
        size = _size(log)
        word = yield from _launch(command, log, deadline)
        if connection := connect_nowait(state):
            return connection  # ours, or one that somebody else started
        yield None, LOOK_AGAIN_SECONDS  # the lock may be one that ours lets go of in these moments
        if (word is None or tries == _TRIES) and not is_instance_held(lock):
            raise DaemonStartError(log, _describe_failure(word, log, size))
    raise DaemonStartError(log, _describe_silence(holder_pid(lock)))


def _launch(command: Sequence[str], log: str, deadline: float) -> Generator[Pause, None, bytes | None]:
    """Start *command* and return what it says about being ready; None if it says nothing in time."""
    said, saying = os.pipe()
    try:
        errors = _open_log(log)
        try:
            _spawn_detached((*command, str(_READY_DESCRIPTOR)), saying, errors)
        finally:
            os.close(errors)
            os.close(saying)
        os.set_blocking(said, False)
        word = b""
        while not word.endswith(b"\n"):
            if (left := deadline - monotonic()) <= 0:
                return None
            yield said, left
            try:
                piece = os.read(said, 64)
            except BlockingIOError:
                continue
            if not piece:
                break
            word += piece
        return word
    finally:
        os.close(said)


def _open_log(log: str) -> int:
    """Open the log for what the daemon says before it has opened it itself; it runs without one where none can be."""
    try:
        return open_own_file(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    except OSError as error:
        if not (is_disk_lost(error) or isinstance(error, FileNotFoundError)):  # its directory could not be made
            raise
        return os.open(os.devnull, os.O_WRONLY)


def _spawn_detached(command: Sequence[str], saying: int, errors: int) -> None:
    """Start *command* as nobody's child: whoever starts a daemon must not keep its remains when it ends.

    A plain fork is safe, as a connector has one thread. `subprocess` leaves a zombie until its parent asks.
    """
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return
    try:
        os.setsid()
        if os.fork():
            os._exit(0)
        _become(command, saying, errors)
    except BaseException as failure:
        os.write(2, f"{command[0]} cannot be started: {failure}\n".encode(errors="replace"))  # most likely the log
    finally:
        os._exit(127)


def _become(command: Sequence[str], saying: int, errors: int) -> None:
    environment = daemon_environment()  # before the directory changes: WORKROOT_HOME may be relative to it
    # In an order in which no descriptor is overwritten before it is used, whichever numbers they have.
    nothing = os.open(os.devnull, os.O_RDWR)
    kept = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in (nothing, nothing, errors, saying)]
    for number, descriptor in enumerate(kept):
        os.dup2(descriptor, number)
    os.closerange(_READY_DESCRIPTOR + 1, _MOST_DESCRIPTORS)
    os.chdir("/")
    os.umask(0o077)
    for name in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored stays so
        signal.signal(name, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execve(command[0], list(command), environment)  # noqa: S606 -- no shell is what is wanted


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _describe_silence(pid: int | None) -> str:
    who = "one" if pid is None else f"process {pid}"
    cure = "" if pid is None else f"; if it hangs, run: kill -9 {pid}"
    return f"{who} holds the daemon's lock, and does not answer{cure}"


def _describe_failure(word: bytes | None, log: str, start: int) -> str:
    """Return why a daemon that was started is not there: the last line it wrote, if it wrote any."""
    if word == READY_WORD:
        return "it said that it was ready, and does not answer"
    try:
        with open(log, "rb") as lines:
            lines.seek(max(start, _size(log) - _LAST_LINE_BYTES))
            written = lines.read(_LAST_LINE_BYTES).decode(errors="replace").split("\n")
    except FileNotFoundError:
        written = []
    nothing = "; ".join(filter(None, ("it wrote nothing", why_unwritable(log))))
    last = _message_of(next((line.strip() for line in reversed(written) if line.strip()), nothing))
    last = "".join(letter if letter.isprintable() else "?" for letter in last)
    return f"it was not ready within {_READY_SECONDS:.0f} s: {last}" if word is None else last


def _message_of(line: str) -> str:
    """Return what a line of the log says: a record is a JSON object, what a crash leaves is plain text."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return line
    message = fields.get("message") if isinstance(fields, dict) else None
    return message if isinstance(message, str) else line
