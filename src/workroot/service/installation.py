"""Which program, with which state, a service manager is to start: this installation, found again by its full path."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot import rendezvous
from workroot.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Installation", "find_installation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """A Python that has workroot, and the state directory that its daemon keeps.

    Attributes:
        python: absolute path of the interpreter, links not followed: a virtual environment's is a link.
        state: absolute path of the state directory.
        names_state: the daemon has to be told *state*, since it would not choose it by itself.
    """

    python: str
    state: str
    names_state: bool

    @property
    def command(self) -> tuple[str, ...]:
        """What starts the daemon in the foreground, isolated from whatever lies in the current directory."""
        return (self.python, "-I", "-m", "workroot", "serve")

    @property
    def socket_path(self) -> str:
        """Where the daemon's clients meet it."""
        return rendezvous.socket_path(self.state)

    @property
    def log_path(self) -> str:
        """What the daemon writes its standard error to, where the service manager keeps none."""
        return rendezvous.log_path(self.state)

    def is_passing(self, environment: Mapping[str, str] = os.environ) -> bool:
        """Tell whether the installation lies where files are removed unasked, as those of `uvx` and `pipx run` do."""
        home = rendezvous.home_directory(environment)
        caches = environment.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")
        places = (caches, os.path.join(home, "Library", "Caches"), tempfile.gettempdir())
        return any(self.python.startswith(f"{place.rstrip('/')}/") for place in places)


def find_installation(
    environment: Mapping[str, str] = os.environ, *, python: str = sys.executable, login_home: str | None = None
) -> Installation:
    """Return the installation that is running, for the state directory that *environment* chooses.

    Args:
        environment: the process' own.
        python: the running interpreter.
        login_home: the home directory of the user's services, which know nothing of this terminal's HOME;
            None for what the system's user table says.

    Raises:
        ServiceError: a path holds what cannot be written into a unit.
    """
    state = rendezvous.state_directory(environment)
    home = login_home if login_home is not None else pwd.getpwuid(os.geteuid()).pw_dir
    if not os.path.isabs(python):
        raise ServiceError("it is not known which Python runs this, so none can be named in a service")
    for path in (python, state):
        _check_text(path)
    return Installation(python=python, state=state, names_state=state != rendezvous.state_directory({"HOME": home}))


def _check_text(path: str) -> None:
    """Refuse what no unit and no property list can hold: control characters, and bytes that are not UTF-8."""
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in path):
        raise ServiceError(
            f"a service cannot be told the path {path!r}: it holds control characters or is not UTF-8; "
            f"choose another WORKROOT_HOME, or install workroot elsewhere"
        )
