"""Which installation's daemon is started, where a user has several: the one that `workroot upgrade` chose last.

Else the first connector after a crash would put another version in the place of the one that was chosen.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress

from workroot.errors import RendezvousError
from workroot.instance import open_own_file
from workroot.rendezvous import chosen_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SERVE_COMMAND", "choose_this", "serve_command"]

_ARGUMENTS = ("-I", "-m", "workroot", "serve", "--ready-fd")
_LONGEST = 16_384  # bytes
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

SERVE_COMMAND = (sys.executable, *_ARGUMENTS)
"""Starts the daemon of this installation; the descriptor's number is appended."""


def serve_command(state: str) -> Sequence[str]:
    """Return what starts the daemon that was chosen for *state*; this installation's if none was, or if it is gone."""
    chosen = _read_chosen(chosen_path(state))
    python, package = chosen.get("python"), chosen.get("package")
    if not isinstance(python, str) or not isinstance(package, str):
        return SERVE_COMMAND
    is_program = os.path.isabs(python) and os.path.isfile(python) and os.access(python, os.X_OK)
    return (python, *_ARGUMENTS) if is_program and os.path.isdir(package) else SERVE_COMMAND


def choose_this(state: str) -> None:
    """Let connectors of all installations start this one's daemon for *state* from now on.

    Raises:
        RendezvousError: something else is in the way.
        OSError: it could not be written; what was chosen before stays.
    """
    path = chosen_path(state)
    with suppress(FileNotFoundError):
        os.close(open_own_file(path, os.O_RDONLY))
    said = json.dumps({"python": sys.executable, "package": _PACKAGE}).encode() + b"\n"
    temporary = f"{path}.{os.getpid()}"
    descriptor = open_own_file(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(said)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _read_chosen(path: str) -> dict[str, object]:
    """Return what the file says; nothing if there is none, or if it says nothing that can be read."""
    try:
        descriptor = open_own_file(path, os.O_RDONLY)
    except (OSError, RendezvousError):
        return {}
    try:
        said = json.loads(os.pread(descriptor, _LONGEST, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    finally:
        os.close(descriptor)
    return said if isinstance(said, dict) else {}
