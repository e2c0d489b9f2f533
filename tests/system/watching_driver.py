"""What tests of watching share: a listener that can be waited for, and a watch function in the test's hands."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from workroot.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator, Sequence
    from pathlib import Path

    from watchfiles import Change

    from workroot.watching.thread import Bell

__all__ = ["NEVER", "FakeWatch", "Hearer", "inotify_descriptors", "inotify_watches", "open_watcher"]

NEVER = 3600.0


class Hearer:
    """Is told what changed."""

    def __init__(self) -> None:
        self.heard: set[str] = set()
        self._news = anyio.Event()

    def __call__(self, directories: frozenset[str]) -> None:
        self.heard |= directories
        self._news.set()
        self._news = anyio.Event()

    def forget(self) -> None:
        self.heard.clear()

    async def wait_for(self, *directories: Path) -> None:
        """Return when all of these have been heard of since the last `forget`."""
        while not self.heard.issuperset(map(str, directories)):
            await self._news.wait()


@asynccontextmanager
async def open_watcher(watcher: Watcher, *directories: Path) -> AsyncIterator[Hearer]:
    """Run *watcher*; what it tells when a watch is in force for the first time is waited for and forgotten."""
    hearer = Hearer()
    watcher.watch(map(str, directories))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watcher.run, hearer)
        with anyio.fail_after(5):
            await hearer.wait_for(*directories)
        hearer.forget()
        yield hearer
        tasks.cancel_scope.cancel()


class FakeWatch:
    """A watch function that tells, dies and refuses when the test says so."""

    def __init__(self) -> None:
        self.watched: list[tuple[str, ...]] = []
        self.refusals: deque[BaseException] = deque()
        self.held: deque[threading.Event] = deque()
        self._orders: queue.SimpleQueue[set[tuple[Change, str]] | BaseException | None] = queue.SimpleQueue()

    def __call__(self, directories: Sequence[str], bell: Bell) -> Generator[set[tuple[Change, str]], None, None]:
        self.watched.append(tuple(directories))
        if self.refusals:
            raise self.refusals.popleft()
        if self.held:
            self.held.popleft().wait(5)
        while not bell.is_set():
            try:
                order = self._orders.get(timeout=0.005)
            except queue.Empty:
                continue
            if order is None:
                return
            if isinstance(order, BaseException):
                raise order
            yield order

    def tell(self, *changes: tuple[Change, Path]) -> None:
        self._orders.put({(change, str(path)) for change, path in changes})

    def die(self, error: BaseException | None = None) -> None:
        """Let the watch raise *error*, or end by itself."""
        self._orders.put(error)


def inotify_descriptors() -> list[str]:
    """Return the inotify instances of this process."""
    found = []
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            if "inotify" in os.readlink(f"/proc/self/fd/{descriptor}"):
                found.append(descriptor)
        except OSError:
            continue  # the one that listed the directory
    return found


def inotify_watches() -> int:
    """Return how many directories this process watches."""
    count = 0
    for descriptor in inotify_descriptors():
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as info:
            count += sum(line.startswith("inotify wd:") for line in info)
    return count
