"""One watch, from its beginning to its end, in the thread that waits for it.

What is slow or hazardous about watching happens here: the watch is built, paths are told apart, and whatever
ends the watch is returned as a sentence, never raised.
"""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import watchfiles
from anyio import from_thread
from watchfiles import Change

__all__ = ["Bell", "Plan", "WatchFunction", "WatchThread", "is_watchable", "watch_files"]


class Bell(Protocol):
    """Tells a watch when to end."""

    def is_set(self) -> bool:
        """Return whether to end. To ask for the first time means: the watch is in force."""


WatchFunction = Callable[[Sequence[str], Bell], Generator[set[tuple[Change, str]], None, None]]
"""Watches directories, not what is below them, until the bell is set; yields what changed, raises if it cannot."""


def watch_files(directories: Sequence[str], bell: Bell) -> Generator[set[tuple[Change, str]], None, None]:
    """Watch with inotify, or with what the platform has instead.

    A change is told after one or two steps if nothing else happens, and after 100 ms otherwise. The defaults of
    watchfiles that come from the environment are set aside.
    """
    return watchfiles.watch(
        *directories,
        watch_filter=None,
        debounce=50,
        step=25,
        stop_event=bell,
        rust_timeout=0,  # when a timeout ends a wait, watchfiles drops what came in at that moment
        raise_interrupt=False,
        debug=False,
        force_polling=False,
        recursive=False,
        ignore_permission_denied=False,  # True would hide every error, ENOSPC included
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What is done about each directory.

    Attributes:
        watched: those that a watch tells of.
        waiting: those that cannot be watched: absent, unreadable, no directory, or without a name in UTF-8.
        left_out: those beyond the limit.
    """

    watched: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, directories: Iterable[str], most: int) -> Plan:
        """Look at each directory; the first *most* that can be watched are."""
        watched: list[str] = []
        waiting: list[str] = []
        left_out: list[str] = []
        for directory in directories:
            if not is_watchable(directory):
                waiting.append(directory)
            elif len(watched) < most:
                watched.append(directory)
            else:
                left_out.append(directory)
        return cls(tuple(watched), tuple(waiting), tuple(left_out))


def is_watchable(directory: str) -> bool:
    """Return whether a watch can be put on a directory; a symlink to one is none."""
    try:
        directory.encode()
        return stat.S_ISDIR(os.lstat(directory).st_mode) and os.access(directory, os.R_OK)
    except (OSError, ValueError):
        return False


class WatchThread:
    """Watches until told to stop. `run` blocks, in a worker thread of anyio's; the rest is for the event loop.

    Args:
        directories: those to watch, the most important ones first.
        most: how many may be watched.
        watch: does the watching.
        in_force: called in the event loop when the watch is in force.
        told: called in the event loop with the directories whose contents changed, and whether one of them
            came or went itself: what watched it is gone, even if a new one took its place and its inode number.
    """

    _ATTEMPTS = 3  # a directory may vanish between the look at it and the watch

    def __init__(
        self,
        directories: Sequence[str],
        *,
        most: int,
        watch: WatchFunction,
        in_force: Callable[[Plan], None],
        told: Callable[[frozenset[str], bool], None],
    ) -> None:
        self._directories, self._known, self._most = directories, frozenset(directories), most
        self._watch, self._in_force, self._told = watch, in_force, told
        self._plan: Plan | None = None
        self._is_in_force, self._stop = False, threading.Event()

    def stop(self) -> None:
        """Let `run` return soon."""
        self._stop.set()

    def is_set(self) -> bool:
        """Be the `Bell`."""
        if not self._is_in_force and self._plan is not None:
            self._is_in_force = True
            from_thread.run_sync(self._in_force, self._plan)
        return self._stop.is_set()

    def run(self) -> str | None:
        """Watch; return None if told to stop, else what went wrong."""
        left = self._ATTEMPTS
        while True:
            left -= 1
            try:
                self._run()
            except (FileNotFoundError, PermissionError) as error:
                if self._is_in_force or not left:
                    return _described(error)
            except BaseException as error:  # a boundary: a panic of the Rust part is no Exception
                return _described(error)
            else:
                return None if self._stop.is_set() else "the watch ended by itself"

    def _run(self) -> None:
        self._plan = Plan.of(self._directories, self._most)
        with closing(self._watch(self._plan.watched, self)) as watch:
            for changes in watch:
                changed, came_or_went = self._directories_of(changes)
                if changed:
                    from_thread.run_sync(self._told, changed, came_or_went)

    def _directories_of(self, changes: set[tuple[Change, str]]) -> tuple[frozenset[str], bool]:
        changed, came_or_went = set(), False
        for change, path in changes:
            parent = path.rpartition("/")[0] or "/"
            if parent in self._known:
                changed.add(parent)
            if path in self._known:
                changed.add(path)
                came_or_went = came_or_went or change is not Change.modified
        return frozenset(changed), came_or_went


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
