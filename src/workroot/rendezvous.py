"""Where the daemon and its clients meet: the place of the socket, and the first line on it.

Computed from HOME alone, because some clients pass their children nothing else. Standard library
only, and of that only what starts in a millisecond: the connector imports this before it can answer.
"""

from __future__ import annotations

import json
import os
import pwd
import stat
import sys

from workroot.errors import RendezvousError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ENVIRONMENT_SIGNS",
    "MAX_LINE_BYTES",
    "PASSED_ENVIRONMENT",
    "READY_WORD",
    "WIRE_VERSION",
    "check_private_directory",
    "daemon_environment",
    "hello_line",
    "home_directory",
    "instance_lock_path",
    "log_path",
    "make_private_directory",
    "parse_hello",
    "prepare_meeting_place",
    "run_directory",
    "socket_path",
    "state_directory",
]

WIRE_VERSION = 1
"""Protocol number of the hello line and of what follows it."""

MAX_LINE_BYTES = 1024 * 1024
"""Longest line either side accepts, its newline not counted."""

ENVIRONMENT_SIGNS = ("CLAUDE_PROJECT_DIR", "WORKSPACE_FOLDER_PATHS", "PWD")
"""The variables that a connector tells the daemon about."""

PASSED_ENVIRONMENT = ("HOME", "LANG", "LC_ALL", "LC_CTYPE", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER")
"""The variables that a daemon inherits from whoever starts it, beside `WORKROOT_*`."""

READY_WORD = b"ready\n"
"""What a daemon writes to the descriptor of `--ready-fd` once it accepts clients."""

_LONGEST_SOCKET_PATH = 100  # sun_path is 108 bytes on Linux, 104 on macOS


def home_directory(environment: Mapping[str, str] = os.environ) -> str:
    """Return the user's home directory: HOME if it is an absolute path, else what the system's user table says."""
    home = environment.get("HOME", "")
    return home if os.path.isabs(home) else pwd.getpwuid(os.getuid()).pw_dir


def state_directory(environment: Mapping[str, str] = os.environ) -> str:
    """Return the directory where all state lives: `WORKROOT_HOME`, or the system's usual place below HOME."""
    if chosen := environment.get("WORKROOT_HOME"):
        return os.path.abspath(chosen)
    below_home = "Library/Application Support/workroot" if sys.platform == "darwin" else ".local/state/workroot"
    return os.path.join(home_directory(environment), below_home)


def run_directory(state: str) -> str:
    """Return the directory of what lives as long as a daemon; by host, since a home may be shared by several."""
    host = "".join(letter if letter.isalnum() or letter in "-." else "_" for letter in os.uname().nodename)
    return os.path.join(state, "run", host or "localhost")


def socket_path(state: str) -> str:
    """Return where the daemon of *state* listens.

    A path that is too long for the system goes through a short directory whose name derives from it.
    """
    path = os.path.join(run_directory(state), "daemon.sock")
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    import hashlib  # not needed by most, and it costs a millisecond

    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:20]
    return f"/tmp/workroot-{os.getuid()}-{digest}/daemon.sock"  # noqa: S108 -- its owner and mode are checked before use


def instance_lock_path(state: str) -> str:
    """Return the file whose `flock` the one daemon of *state* holds from before it listens until it has ended."""
    return os.path.join(run_directory(state), "daemon.lock")


def log_path(state: str) -> str:
    """Return the file that a daemon started by a connector writes its standard error to."""
    return os.path.join(state, "log", "daemon.log")


def check_private_directory(path: str) -> None:
    """Make sure that nobody else can put anything into a directory of ours, or look into it.

    Raises:
        RendezvousError: it is no directory (a symbolic link is none), or another user owns or may enter it.
        FileNotFoundError: there is nothing at *path*.
    """
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode):
        problem, cure = "is not a directory", "move it away, or set WORKROOT_HOME to another directory"
    elif found.st_uid != os.geteuid():
        problem = f"belongs to the user with id {found.st_uid}, not to you"
        cure = "do not use it; set WORKROOT_HOME to a directory of your own"
    elif mode := stat.S_IMODE(found.st_mode) & 0o077:
        problem = f"can be entered by other users (mode {stat.S_IMODE(found.st_mode):04o}, {mode:03o} too much)"
        cure = f"look whether anything in it is not yours, then run: chmod 700 '{path}'"
    else:
        return
    raise RendezvousError(path, problem, cure)


def make_private_directory(path: str) -> None:
    """Create a directory for this user alone, and what is missing above it; one that exists is only checked.

    Raises:
        RendezvousError: as `check_private_directory`.
        OSError: it cannot be created; the error names the path.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    else:
        os.chmod(path, 0o700)  # an unusual umask may have taken too much
    check_private_directory(path)


def prepare_meeting_place(state: str) -> str:
    """Create the directories that a daemon of *state* and its clients meet in, and return the socket's path.

    Raises:
        RendezvousError: one of them is not this user's alone; nothing was changed about it.
        OSError: one cannot be created; the error names the path.
    """
    host = run_directory(state)
    socket = socket_path(state)
    for directory in dict.fromkeys((os.path.dirname(host), host, os.path.dirname(socket))):
        make_private_directory(directory)
    return socket


def daemon_environment(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment that a daemon is started with: an allow-list, so that no project's leaks into it."""
    passed = {
        name: value for name, value in environment.items() if name in PASSED_ENVIRONMENT or name.startswith("WORKROOT_")
    }
    if passed.get("WORKROOT_HOME"):
        passed["WORKROOT_HOME"] = state_directory(environment)  # the daemon works in another directory than we do
    return passed


def hello_line(**fields: object) -> bytes:
    """Return the first line of either side; *fields* that are None are left out."""
    said = {name: value for name, value in fields.items() if value is not None}
    return json.dumps({"workroot": WIRE_VERSION, **said}).encode() + b"\n"


def parse_hello(line: bytes) -> dict[str, object]:
    """Return the fields of the other side's first line.

    Raises:
        ValueError: it is not a hello line of a protocol known here; the text says what it is.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("the first line is not a workroot hello") from None
    if not isinstance(fields, dict) or "workroot" not in fields:
        raise ValueError("the first line is not a workroot hello")
    if fields["workroot"] != WIRE_VERSION:
        raise ValueError(f"the other side speaks protocol {fields['workroot']!r}, this one {WIRE_VERSION}")
    return fields
