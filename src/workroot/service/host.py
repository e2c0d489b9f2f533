"""What of a system says which service manager it has, and how that one's own program is run.

The program is looked for where systems keep theirs, never along PATH, which a repository can have a part in;
it gets few variables, no input, and not for ever to answer.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from workroot.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Answered", "Host", "Program"]

_PASSED = (
    "HOME",
    "LANG",
    "LC_ALL",
    "LOGNAME",
    "USER",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
)
_DEADLINE_SECONDS = 60.0
_LONGEST_REASON = 500  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """A system and a user of it; built without arguments, this one.

    Attributes:
        environment: the user's.
        program_directories: where the system's own programs are.
        booted_mark: what is there when systemd is the first process; source: sd_booted(3).
        runtime_directories: holds one directory for each user who is logged in.
    """

    platform: str = sys.platform
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    program_directories: tuple[str, ...] = ("/usr/bin", "/bin", "/run/current-system/sw/bin")
    booted_mark: str = "/run/systemd/system"
    runtime_directories: str = "/run/user"
    kernel: str = field(default_factory=lambda: os.uname().release)
    user_id: int = field(default_factory=os.geteuid)

    @property
    def has_systemd(self) -> bool:
        """Whether systemd runs this system."""
        return self.platform == "linux" and os.path.isdir(self.booted_mark)

    @property
    def is_wsl(self) -> bool:
        """Whether this is Linux inside Windows."""
        return "microsoft" in self.kernel.lower()

    def program(self, name: str) -> Program | None:
        """Return one of the system's programs, or None if it has none of that name."""
        passed = {key: value for key, value in self.environment.items() if key in _PASSED}
        passed["PATH"] = os.pathsep.join(self.program_directories)
        own = os.path.join(self.runtime_directories, str(self.user_id))
        if "XDG_RUNTIME_DIR" not in passed and os.path.isdir(own):
            passed["XDG_RUNTIME_DIR"] = own  # a terminal opened by `su` or over an editor's back end may lack it
        for directory in self.program_directories:
            path = os.path.join(directory, name)
            if os.access(path, os.X_OK) and not os.path.isdir(path):
                return Program(path, passed)
        return None


@dataclass(frozen=True, slots=True)
class Answered:
    """How a program ended.

    Attributes:
        text: what it wrote to standard output.
        reason: what it wrote to standard error, at most 500 characters on one line.
    """

    is_ok: bool
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Program:
    """A service manager's program."""

    path: str
    environment: Mapping[str, str]

    def ask(self, *arguments: str) -> Answered:
        """Run it to its end, whatever that is.

        Raises:
            ServiceError: it cannot be run, or does not end within a minute.
        """
        line = f"{os.path.basename(self.path)} {' '.join(arguments)}"
        try:
            ended = subprocess.run(  # noqa: S603 -- an absolute path of the system's, and arguments of our own
                [self.path, *arguments],
                env=dict(self.environment),
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_DEADLINE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ServiceError(f"`{line}` has not ended within {_DEADLINE_SECONDS:g} s") from None
        except OSError as error:
            raise ServiceError(f"`{line}` cannot be run: {error.strerror}") from error
        reason = " ".join(ended.stderr.decode(errors="replace").split())[:_LONGEST_REASON]
        return Answered(ended.returncode == 0, ended.stdout.decode(errors="replace"), reason)

    def run(self, *arguments: str) -> str:
        """Run it, and return what it wrote.

        Raises:
            ServiceError: it failed; what it said is in the text.
        """
        answered = self.ask(*arguments)
        if not answered.is_ok:
            said = answered.reason or "it does not say why"
            raise ServiceError(f"`{os.path.basename(self.path)} {' '.join(arguments)}` failed: {said}")
        return answered.text
