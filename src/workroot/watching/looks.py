"""How directories looked the last time: what changed while nobody watched shows in a second look.

A look costs a few `lstat` and opens nothing. Writing into a file leaves its directory as it was, so the files that
matter are looked at by name.
"""

from __future__ import annotations

import os
import stat
from enum import Enum, auto
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

__all__ = ["Look", "Looks", "Sight"]

_TICK_NS = 20_000_000
"""Files are stamped by a coarse clock: two changes within one of its ticks, at most 10 ms, look the same."""

_Identity = tuple[tuple[int, ...] | None, ...]


class Look(Enum):
    """What a look tells, compared with the one before."""

    SAME = auto()
    OTHER = auto()
    """Something changed."""
    FIRST = auto()
    """There is nothing to compare with: something may have changed."""


class Sight(NamedTuple):
    """What was seen of a directory, and since when that was looked at on the clock that stamps files."""

    identity: _Identity
    since_ns: int


class Looks:
    """The last look at each directory. `see` may run in any thread; the rest is for one.

    Args:
        config_names: paths of the configs, relative to a project root; their last components are looked at everywhere.
        now_ns: the clock that stamps files, in nanoseconds.
    """

    def __init__(self, config_names: Iterable[str], now_ns: Callable[[], int]) -> None:
        # A worktree's `.git` is a file as well, and git writes into it without replacing it.
        self._file_names = tuple(dict.fromkeys([*(PurePosixPath(name).name for name in config_names), ".git"]))
        self._now_ns = now_ns
        self._seen: dict[str, _Identity] = {}

    def see(self, directory: str) -> Sight:
        """Look at a directory, absent ones included; may hang if the disk does."""
        now_ns = self._now_ns()
        return Sight(_identity(directory, self._file_names), now_ns)

    def compare(self, directory: str, sight: Sight) -> Look:
        """Compare what was seen of a directory with what was seen the last time."""
        before, now = self._seen.get(directory), sight.identity
        if any(part is not None and part[-1] > sight.since_ns - _TICK_NS for part in now):
            self._seen.pop(directory, None)  # the next change may leave no trace: look at it as if for the first time
        else:
            self._seen[directory] = now
        if before is None:
            return Look.FIRST
        return Look.SAME if before == now else Look.OTHER

    def forget(self, directory: str) -> None:
        """Let the next look at a directory be the first one."""
        self._seen.pop(directory, None)

    def keep_only(self, directories: Container[str]) -> None:
        """Forget every other directory."""
        self._seen = {each: seen for each, seen in self._seen.items() if each in directories}


def _identity(directory: str, file_names: tuple[str, ...]) -> _Identity:
    """Return what tells one state of a directory from another; each part ends with its ctime."""
    itself = _lstat(directory)
    if itself is None or not stat.S_ISDIR(itself.st_mode):
        return (None if itself is None else (itself.st_dev, itself.st_ino, itself.st_ctime_ns),)
    parts: list[tuple[int, ...] | None] = [(itself.st_dev, itself.st_ino, itself.st_mtime_ns, itself.st_ctime_ns)]
    for name in file_names:
        file = _lstat(f"{directory}/{name}")
        is_plain = file is not None and stat.S_ISREG(file.st_mode)
        parts.append((file.st_ino, file.st_size, file.st_mtime_ns, file.st_ctime_ns) if file and is_plain else None)
    return tuple(parts)


def _lstat(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (OSError, ValueError):  # ValueError: NUL
        return None
