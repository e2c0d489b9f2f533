"""What is seen at the levels of a real path: their owners, configs and repositories.

A config is opened relative to its directory's descriptor, and what counts is what was opened, not what its name
stood for a moment before. Neither a link nor a second name of somebody's key file is read, and nothing waits.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from workroot.core.discovery import Attributes, FoundConfig
from workroot.core.projects import ConfigProblem, Directory, Repository
from workroot.project_config import MAX_CONFIG_BYTES, parse_config
from workroot.project_finder.evidence import Evidence, Refusal
from workroot.project_finder.version_control import find_repository

if TYPE_CHECKING:
    from workroot.core.discovery import Rules

__all__ = ["LevelView"]

_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LevelView:
    """Implements `core.discovery.View`.

    Args:
        evidence: gathers the proofs, and the directories to watch.
        rules: whose files are read.
        config_names: what to look for at each level, first match wins.
    """

    def __init__(self, evidence: Evidence, rules: Rules, config_names: tuple[str, ...]) -> None:
        self._evidence = evidence
        self._rules = rules
        self._config_names = config_names

    def attributes(self, level: Directory) -> Attributes:
        """See `View`."""
        return _attributes(self._evidence.see_from_outside(level))

    def repository(self, level: Directory) -> Repository | None:
        """See `View`."""
        self._look_into(level)
        return find_repository(level, self._evidence)

    def config(self, level: Directory) -> FoundConfig | None:
        """See `View`."""
        self._look_into(level)
        for name in self._config_names:
            path = f"{level.rstrip('/')}/{name}"
            holder = self._holder(level, name)
            if holder is None:
                continue
            if isinstance(holder, ConfigProblem):
                return FoundConfig(root=level, path=path, content=holder)
            found = self._config_in(level, path)
            if found is not None:
                return found
        return None

    def _holder(self, level: Directory, name: str) -> str | ConfigProblem | None:
        """Return the directory where a config may lie; None if there is none. No link leads there."""
        holder = level.rstrip("/")
        for part in name.split("/")[:-1]:
            holder = f"{holder}/{part}"
            try:
                kind = stat.S_IFMT(self._evidence.identify(holder).st_mode)
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as error:
                if error.errno == errno.ENAMETOOLONG:
                    return None  # nor can a way lead to a file below it
                return ConfigProblem(path=f"{level.rstrip('/')}/{name}", problem=_cannot_be_read(error))
            if kind == stat.S_IFLNK:
                problem = "lies behind a symbolic link, which is not followed"
                return ConfigProblem(path=f"{level.rstrip('/')}/{name}", problem=problem)
            if kind != stat.S_IFDIR:
                return None
            self._evidence.rest_on(holder)
        return holder or "/"

    def _look_into(self, level: Directory) -> None:
        self._evidence.identify(level)
        self._evidence.rest_on(level)

    def _config_in(self, level: Directory, path: str) -> FoundConfig | None:
        try:
            holder = os.open(os.path.dirname(path), _DIRECTORY_FLAGS)
        except FileNotFoundError:  # it was there when it was proven
            self._evidence.is_settled = False
            return None
        except OSError as error:
            return _unusable(level, path, _cannot_be_read(error))
        try:
            refusal = self._refuses(level, os.fstat(holder))
            content = self._evidence.read(
                path,
                MAX_CONFIG_BYTES,
                directory=holder,
                refuses=lambda opened: refusal or self._refuses(level, opened) or _has_other_names(opened),
            )
        finally:
            os.close(holder)
        if content is None:
            return None
        if isinstance(content, Refusal):
            return _unusable(level, path, content.problem)
        return FoundConfig(root=level, path=path, content=parse_config(content, path))

    def _refuses(self, level: Directory, status: os.stat_result) -> str | None:
        if self._rules.may_read(level, _attributes(status)):
            return None
        return "belongs to another user, or others may write to it"


def _has_other_names(status: os.stat_result) -> str | None:
    """Refuse a hard link: the file may be somebody's key, given another name by who made this directory."""
    if stat.S_ISDIR(status.st_mode) or status.st_nlink <= 1:
        return None
    return "is a hard link: the file has another name, too, so it may not be this project's; copy it instead"


def _cannot_be_read(error: OSError) -> str:
    return f"cannot be read ({os.strerror(error.errno or 0)})"


def _unusable(level: Directory, path: str, problem: str) -> FoundConfig:
    return FoundConfig(root=level, path=path, content=ConfigProblem(path=path, problem=problem))


def _attributes(status: os.stat_result) -> Attributes:
    return Attributes(
        device=status.st_dev,
        inode=status.st_ino,
        owner_id=status.st_uid,
        group_id=status.st_gid,
        mode=stat.S_IMODE(status.st_mode),
    )
