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
    from typing import TypeGuard

__all__ = [
    "ENVIRONMENT_SIGNS",
    "MAX_LINE_BYTES",
    "OLDEST_WIRE_VERSION",
    "PASSED_ENVIRONMENT",
    "READY_WORD",
    "WIRE_VERSION",
    "backup_directory",
    "check_private_directory",
    "chosen_path",
    "common_wire",
    "daemon_environment",
    "hello_line",
    "home_directory",
    "installation",
    "instance_lock_path",
    "log_path",
    "make_private_directory",
    "parse_client_hello",
    "parse_hello",
    "prepare_meeting_place",
    "run_directory",
    "socket_path",
    "spawn_lock_path",
    "state_directory",
    "stopped_path",
]

WIRE_VERSION = 1
"""Protocol number of the hello line and of what follows it."""

OLDEST_WIRE_VERSION = 1
"""The lowest protocol number that is still understood here."""

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


def spawn_lock_path(state: str) -> str:
    """Return the file whose `flock` is the turn to start the daemon of *state*, or to put another in its place."""
    return os.path.join(run_directory(state), "spawn.lock")


def stopped_path(state: str) -> str:
    """Return the file that is there when the user stopped the daemon of *state*, until one is started again."""
    return os.path.join(run_directory(state), "stopped")


def chosen_path(state: str) -> str:
    """Return the file that says which installation's daemon the user chose for *state*, with `workroot upgrade`."""
    return os.path.join(run_directory(state), "chosen.json")


def backup_directory(state: str) -> str:
    """Return the directory of the copies of the database that were made before an upgrade."""
    return os.path.join(state, "backups")


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


def installation() -> str:
    """Return what tells this installation from others of the same user: the place that it was installed to.

    That is the environment that holds the package, so that it stays the same over an upgrade in place; a package
    outside of it (a checkout) stands for itself.
    """
    prefix = os.path.realpath(sys.prefix)
    packages = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    return prefix if packages.startswith(os.path.join(prefix, "")) else packages


def hello_line(**fields: object) -> bytes:
    """Return the first line of either side; *fields* that are None are left out."""
    said = {name: value for name, value in fields.items() if value is not None}
    return json.dumps({"workroot": WIRE_VERSION, "oldest": OLDEST_WIRE_VERSION, **said}).encode() + b"\n"


def parse_hello(line: bytes) -> dict[str, object]:
    """Return the fields of the other side's first line, whatever protocol it speaks.

    Raises:
        ValueError: it is not a hello line; the text says so.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        fields = None
    if not isinstance(fields, dict) or not _is_number(fields.get("workroot")):
        raise ValueError("the first line is not a workroot hello")
    return fields


def parse_client_hello(line: bytes) -> dict[str, object]:
    """Return the fields of a client's first line, for the daemon.

    Control requests are the same in every protocol, or a daemon that is too old could not be told to stop.

    Raises:
        ValueError: it is not a hello line, or no protocol is known to both; the text says what to do.
    """
    fields = parse_hello(line)
    if fields.get("role") != "control":
        common_wire(fields, sender="client")
    return fields


def common_wire(fields: Mapping[str, object], *, sender: str) -> int:
    """Return the highest protocol number that both sides know.

    Args:
        fields: what the other side said of itself, from `parse_hello`.
        sender: what the other side is, `daemon` or `client`.

    Raises:
        ValueError: there is none; the text says which side is older, and what to do.
    """
    newest, oldest = fields.get("workroot"), fields.get("oldest")
    newest = newest if _is_number(newest) else 0
    oldest = oldest if _is_number(oldest) and oldest <= newest else newest  # one that says no range knows one number
    if max(oldest, OLDEST_WIRE_VERSION) <= min(newest, WIRE_VERSION):
        return min(newest, WIRE_VERSION)
    receiver = "client" if sender == "daemon" else "daemon"
    older = sender if newest < OLDEST_WIRE_VERSION else receiver
    cure = "run `workroot upgrade`" if older == "daemon" else "restart this server in the editor, or upgrade it there"
    raise ValueError(
        f"the {sender} speaks protocol {_span(oldest, newest)}, this {receiver} "
        f"{_span(OLDEST_WIRE_VERSION, WIRE_VERSION)}: the {older} is the older one; {cure}"
    )


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _span(oldest: int, newest: int) -> str:
    return str(newest) if oldest == newest else f"{oldest} to {newest}"
