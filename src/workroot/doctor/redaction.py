"""A report that may go into a public bug report: no name in it that its user or their machine chose.

Paths keep their shape. A part of one is shown if it is a word of workroot's or the system's own; every other
is replaced, the same name by the same `<name-1>`. What is left is searched once more for the names of the
user, of their home and of the machine, and for anything that looks like a handle or a token.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from workroot.rendezvous import home_directory

if TYPE_CHECKING:
    from workroot.doctor.findings import Text

__all__ = ["Redaction", "redaction_of"]

_KNOWN_WORDS = frozenset(
    {
        *("", "..", "~", "bin", "dev", "etc", "home", "lib", "lib64", "mnt", "opt", "private", "proc", "root", "run"),
        *("sbin", "shm", "srv", "sys", "tmp", "usr", "var", "volumes", "users", "user", "local", "share", "state"),
        *(".local", ".cache", ".config", ".venv", "venv", "venvs", "pipx", "uv", "tools", "site-packages"),
        *("library", "application support", "homebrew", "cellar", "python", "python3", "systemd", "launchagents"),
        *("workroot", "workroot.db", "workroot.db-wal", "workroot.db-shm", "workroot.db.lock", "config.toml", "log"),
        *("daemon.log", "daemon.sock", "daemon.lock", "daemon.key", "spawn.lock", "tokens.json", "trust.json"),
        *("http-port", "chosen.json", "stopped", "workroot.service", "workroot.socket", "backups"),
    }
)
_KNOWN_PROGRAMS = frozenset(
    {"node", "code", "cursor", "claude", "docker-proxy", "java", "nginx", "ruby", "deno", "bun"}
)
_KNOWN_SHAPE = re.compile(r"python3?\.\d{1,2}|daemon\.log\.\d|workroot\.db\.v\d{1,4}\.bak")
_SECRET = re.compile(r"wr[th]?_[A-Za-z0-9_-]+|(?i:\bbearer)\s+\S+")
_LONG = re.compile(r"[A-Za-z0-9_+/=-]{40,}")  # no word of ours is so long; a key or a digest is


class Redaction:
    """Replaces names, and remembers by what, so that one report is consistent.

    Args:
        home: the user's home directory, shown as `~`; None if it is not known.
        names: what must not be in the result whatever it is part of: of the user, of the machine.
    """

    def __init__(self, *, home: str | None, names: Iterable[str]) -> None:
        self._home = home.rstrip("/") if home and home.rstrip("/") else None
        self._stands_for: dict[str, str] = {}
        wanted = {name for name in names if name.lower() not in _KNOWN_WORDS}
        wanted |= {part for part in (self._home or "").split("/") if part.lower() not in _KNOWN_WORDS}
        ordered = sorted(wanted, key=lambda name: (-len(name), name))
        self._last_look = _any_of(ordered) if ordered else None

    def path(self, path: str) -> str:
        """Return *path* with every part replaced that is not a word of workroot's or the system's."""
        if self._home is not None and (path == self._home or path.startswith(f"{self._home}/")):
            path = f"~{path[len(self._home) :]}"
        return "/".join(self._part(part) for part in path.split("/"))

    def name(self, name: str) -> str:
        """Return *name* if it is a word of the system's, else what stands for it."""
        return name if name.lower() in _KNOWN_PROGRAMS else self._part(name)

    def text(self, text: Text) -> str:
        """Return *text* as others may read it."""
        return "".join(self._words(part) if isinstance(part, str) else part.veiled(self) for part in text)

    def _part(self, name: str) -> str:
        if name.lower() in _KNOWN_WORDS or _KNOWN_SHAPE.fullmatch(name):
            return name
        return self._stands_for.setdefault(name, f"<name-{len(self._stands_for) + 1}>")

    def _words(self, text: str) -> str:
        """Look through our own words, too: this is where a forgotten mark would show."""
        text = _LONG.sub("<withheld>", _SECRET.sub("<withheld>", text))
        return self._last_look.sub("<withheld>", text) if self._last_look is not None else text


def _any_of(names: Sequence[str]) -> re.Pattern[str]:
    """Return what finds each of *names* as a word of its own; a short one is a part of many words."""
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, names))})(?![^\W_])", re.IGNORECASE)


def redaction_of(environment: Mapping[str, str]) -> Redaction:
    """Return what leaves this user's, this home's and this machine's names out."""
    names = {environment.get(name, "") for name in ("USER", "LOGNAME")} | {os.uname().nodename}
    names |= {name.partition(".")[0] for name in names}
    with suppress(KeyError, OSError):  # a user without a name
        names.add(getpass.getuser())
    return Redaction(home=home_directory(environment), names=names)
