"""One watch, from its beginning to its end, in the thread that waits for it.

What is slow or hazardous about watching happens here: the watch is built, paths are told apart, and whatever
ends the watch is returned as a sentence, never raised. The thread is a daemon thread: if the disk keeps it, it is
left behind, and neither a cancellation nor the end of the process waits for it.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import anyio
import watchfiles
from watchfiles import Change

__all__ = ["Bell", "Plan", "WatchFunction", "WatchThread", "is_watchable", "watch_files"]


class Bell(Protocol):
    """Tells a watch when to end."""

    def is_set(self) -> bool:
        """Return whether to end. To ask for the first time means: the watch is in force."""


_END_SECONDS = 1.0

WatchFunction = Callable[[Sequence[str], Bell], Generator[set[tuple[Change, str]], None, None]]
"""Watches directories, not what is below them, until the bell is set; yields what changed, raises if it cannot."""


def watch_files(directories: Sequence[str], bell: Bell) -> Generator[set[tuple[Change, str]], None, None]:
    """Watch with inotify, or with what the platform has instead.

    A change is told after one or two steps if nothing else happens, and after 100 ms otherwise; each step wakes a
    thread, watched or not. The defaults of watchfiles that come from the environment are set aside.
    """
    return watchfiles.watch(
        *directories,
        watch_filter=None,
        debounce=80,
        step=40,
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
        waiting: those that cannot be watched: absent, unreadable, no directory, without a name in UTF-8, or without
            an answer from their disk.
        left_out: those beyond the limit.
    """

    watched: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @classmethod
    def of(cls, directories: Iterable[str], answers: Mapping[str, bool], most: int) -> Plan:
        """Return what to do: the first *most* are watched of those that can be, as *answers* say."""
        watched: list[str] = []
        waiting: list[str] = []
        left_out: list[str] = []
        for directory in directories:
            if not answers.get(directory, False):
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
    """Watches until told to stop. Everything with a name that is not private is for the event loop, save `is_set`.

    Args:
        plan: what to watch, and of what else to tell if the watch speaks of it.
        watch: does the watching.
        in_force: called in the event loop when the watch is in force.
        told: called in the event loop with the directories whose contents changed, and whether one of them
            came or went itself: what watched it is gone, even if a new one took its place and its inode number.

    Attributes:
        has_missed: a directory vanished between the look at it and the watch, which never was in force.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        watch: WatchFunction,
        in_force: Callable[[], None],
        told: Callable[[frozenset[str], bool], None],
    ) -> None:
        self._watched = plan.watched
        self._known = frozenset((*plan.watched, *plan.waiting, *plan.left_out))
        self._watch, self._in_force, self._told = watch, in_force, told
        self._is_in_force, self._stop = False, threading.Event()
        self._is_let_go = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self.has_missed = False

    def stop(self) -> None:
        """Let `run` return soon."""
        self._stop.set()

    def is_set(self) -> bool:
        """Be the `Bell`."""
        if not self._is_in_force:
            self._is_in_force = True
            self._tell(self._in_force)
        return self._stop.is_set()

    async def run(self) -> str | None:
        """Watch; return None if told to stop, else what went wrong. Cancelled, it waits a second for the thread."""
        self._loop = asyncio.get_running_loop()
        outcome: Future[str | None] = Future()
        outcome.set_running_or_notify_cancel()
        ended = asyncio.wrap_future(outcome)
        threading.Thread(target=lambda: outcome.set_result(self._outcome()), name="workroot-watch", daemon=True).start()
        try:
            await asyncio.wait([ended])
        finally:
            self._stop.set()
            with anyio.CancelScope(shield=True):
                await asyncio.wait([ended], timeout=_END_SECONDS)
            self._is_let_go = True
        return ended.result()

    # In the thread

    def _outcome(self) -> str | None:
        try:
            with closing(self._watch(self._watched, self)) as watch:
                for changes in watch:
                    changed, came_or_went = self._directories_of(changes)
                    if changed:
                        self._tell(partial(self._told, changed, came_or_went))
        except BaseException as error:  # a boundary: a panic of the Rust part is no Exception
            self.has_missed = isinstance(error, FileNotFoundError | PermissionError) and not self._is_in_force
            return f"{type(error).__name__}: {error}"
        return None if self._stop.is_set() else "the watch ended by itself"

    def _tell(self, tell: Callable[[], None]) -> None:
        """Call *tell* in the event loop, unless nobody listens any more."""

        def call() -> None:
            if not self._is_let_go:
                tell()

        if self._loop is not None:
            self._loop.call_soon_threadsafe(call)

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
