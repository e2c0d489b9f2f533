"""How the daemon ends: asked for once, hurried by a second signal, and over in bounded time whatever hangs.

What was acknowledged is on disk by then, so that a process that has to be cut off loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from workroot.errors import WorkrootError

__all__ = ["Deadline", "Ending"]

logger = logging.getLogger(__name__)

_LAST_WORDS_SECONDS = 0.3
_MOST_NAMED = 12
_SKIPPED = ("MainThread", "workroot-deadline", "workroot-last-words", "workroot-signals")


class Ending:
    """That the daemon is to end, why, and how soon.

    Attributes:
        stopping: set once it is to end.
        hurrying: set when what is under way should not be waited for any longer.
        failure: why it cannot go on, if that is the reason.
    """

    def __init__(self) -> None:
        self.stopping, self.hurrying = anyio.Event(), anyio.Event()
        self.failure: WorkrootError | None = None

    def begin(self, why: str) -> None:
        """End; *why* goes into the log."""
        if not self.stopping.is_set():
            logger.info("going to stop: %s", why)
            self.stopping.set()

    @contextmanager
    def come_what_may(self) -> Iterator[None]:
        """See to it that the end has begun when the body is left, by an error too: what bounds it waits for that."""
        try:
            yield
        finally:
            self.stopping.set()

    def hurry(self) -> None:
        """Do not wait for what is under way."""
        self.hurrying.set()

    async def drain(self, wait_idle: Callable[[], Awaitable[None]], seconds: float) -> None:
        """Wait for what is under way, for *seconds* at most, or until there is a hurry."""
        async with anyio.create_task_group() as draining:

            async def give_up() -> None:
                await self.hurrying.wait()
                draining.cancel_scope.cancel()

            draining.start_soon(give_up)
            with anyio.move_on_after(seconds):
                await wait_idle()
            draining.cancel_scope.cancel()

    def fail(self, error: WorkrootError) -> None:
        """End, since there is no going on."""
        if not self.stopping.is_set():
            logger.error("going to stop: %s", error)
            self.failure = error
            self.stopping.set()


class Deadline:
    """Ends this process when it is late, from a thread, since the event loop or the disk may be what hangs.

    Args:
        leave: ends the process at once, given its exit status.
    """

    def __init__(self, leave: Callable[[int], object] = os._exit) -> None:
        self._leave = leave
        self._change = threading.Condition()
        self._due: float | None = None
        self._status = 1
        self._began = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._is_over = False

    def begin(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Leave in *seconds*, unless it has begun already; called in any thread.

        Args:
            seconds: from now.
            loop: whose tasks are named if it comes to that.
        """
        with self._change:
            if self._thread is not None:
                return
            self._loop, self._began = loop, time.monotonic()
            self._due = self._began + seconds
            self._thread = threading.Thread(target=self._run, name="workroot-deadline", daemon=True)
            self._thread.start()

    def shorten(self, seconds: float) -> None:
        """Leave in *seconds*, if that is earlier."""
        with self._change:
            if self._due is not None:
                self._due = min(self._due, time.monotonic() + seconds)
                self._change.notify()

    def set_harmless(self) -> None:
        """Note that what has to be closed is closed: what still hangs is no failure."""
        self._status = 0

    def close(self) -> None:
        """Leave no more: the process ends by itself."""
        with self._change:
            self._is_over = True
            self._change.notify()
        if self._thread is not None:
            self._thread.join(_LAST_WORDS_SECONDS)

    def _run(self) -> None:
        with self._change:
            while not self._is_over:
                left = (self._due or 0.0) - time.monotonic()
                if left <= 0:
                    break
                self._change.wait(left)
            else:
                return
        # In a thread of its own: the log's disk may be what hangs.
        saying = threading.Thread(target=self._say, name="workroot-last-words", daemon=True)
        saying.start()
        saying.join(_LAST_WORDS_SECONDS)
        self._leave(self._status)

    def _say(self) -> None:
        waits = "; ".join((*self._tasks(), *_threads())[:_MOST_NAMED]) or "nothing that can be named"
        seconds = time.monotonic() - self._began
        logger.warning(
            "still there %.1f s after it was asked to stop, and leaves now; it waits for: %s", seconds, waits
        )
        for handler in logging.getLogger().handlers:
            with suppress(OSError, ValueError):
                handler.flush()

    def _tasks(self) -> list[str]:
        named: list[str] = []
        with suppress(RuntimeError):  # the loop may change its tasks meanwhile
            for task in asyncio.all_tasks(self._loop):
                stack = task.get_stack(limit=1)
                where = f" at {_place(stack[0].f_code.co_filename, stack[0].f_lineno)}" if stack else ""
                named.append(f"task {task.get_name()[:80]}{where}")
        return named


def _threads() -> list[str]:
    frames = sys._current_frames()
    named = []
    for thread in threading.enumerate():
        frame = frames.get(thread.ident or 0)
        if thread.name not in _SKIPPED and frame is not None:
            named.append(f"thread {thread.name} at {_place(frame.f_code.co_filename, frame.f_lineno)}")
    return named


def _place(file: str, line: int | None) -> str:
    return f"{'/'.join(file.rsplit('/', 2)[-2:])}:{line}"
