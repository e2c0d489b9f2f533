"""Looks at what may hang, in threads that may be lost: nothing that hangs there is waited for longer than said.

A thread that asked a dead mount comes back when the mount does, or never. So there are few, no mount gets more than
two of them, and a mount that did not answer in time is left alone for a while: a breaker is open, and whoever asks
meanwhile is told so at once. The threads are daemon threads of our own; those of `concurrent.futures` and of anyio
would keep the process from ending.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable

    from workroot.project_finder.mounts import Mount

__all__ = ["FilePool", "NoAnswerError", "Touch"]

THREADS = 8
THREADS_PER_MOUNT = 2
ANSWER_SECONDS = 2.0
BREAKER_SECONDS = 10.0

_IDLE_SECONDS = 10.0

T = TypeVar("T")


class NoAnswerError(Exception):
    """A mount did not answer in time, or was not asked since it did not before.

    Not an `OSError`: those are what a mount answers.

    Attributes:
        problem: says which mount, and when it is tried again.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class Touch:
    """What a look calls before it touches another mount than the one it was started for."""

    def __init__(self, pool: FilePool, job: _Job) -> None:
        self._pool, self._job = pool, job

    def __call__(self, mount: Mount) -> None:
        """Go on to *mount*.

        Raises:
            NoAnswerError: it has not answered others; do not touch it.
        """
        self._pool.move_to(self._job, mount)


@dataclass(slots=True, eq=False)
class _Job:
    mount: Mount
    look: Callable[[Touch], object]
    outcome: Future[object]
    started_at: float | None = None


class FilePool:
    """A few threads for looks at mounts that may hang. `run` is for one event loop; the threads start when needed.

    Args:
        threads: how many there are at most.
        answer_seconds: how long one look may take, waiting for a thread included.
        breaker_seconds: for how long a mount that did not answer is left alone.
        clock: seconds that never go back; what is late and which breaker is open goes by it.
    """

    def __init__(
        self,
        *,
        threads: int = THREADS,
        answer_seconds: float = ANSWER_SECONDS,
        breaker_seconds: float = BREAKER_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_threads = threads
        self._answer_seconds = answer_seconds
        self._breaker_seconds = breaker_seconds
        self._clock = clock
        self._change = threading.Condition()
        self._waiting: deque[_Job] = deque()
        self._running: set[_Job] = set()
        self._threads = 0
        self._left_alone_until: dict[Mount, float] = {}

    async def run(self, mount: Mount, look: Callable[[Touch], T]) -> T:
        """Return what *look* returns, or raise what it raises; it runs in a thread.

        Args:
            mount: what it touches first.
            look: does file calls and nothing else; a result that comes too late is dropped.

        Raises:
            NoAnswerError: there was no answer in time, or nothing was asked.
        """
        job = _Job(mount, look, Future())
        self._submit(job)
        try:
            with anyio.move_on_after(self._answer_seconds):
                return cast("T", await asyncio.wrap_future(job.outcome))
        finally:
            self._forget(job)
        raise NoAnswerError(self._give_up(job))

    def _submit(self, job: _Job) -> None:
        with self._change:
            self._refuse(job.mount)
            if self._threads < min(len(self._running) + len(self._waiting) + 1, self._max_threads):
                threading.Thread(target=self._work, name="workroot-files", daemon=True).start()
                self._threads += 1
            self._waiting.append(job)
            self._change.notify()

    def _forget(self, job: _Job) -> None:
        """Let go of a job that nobody waits for any more, unless it runs: that cannot be stopped."""
        with self._change:
            if job in self._waiting:
                self._waiting.remove(job)

    def _refuse(self, mount: Mount) -> None:
        """Raise where asking cannot help: a breaker is open, or every thread that could ask is stuck."""
        now = self._clock()
        left = self._left_alone_until.get(mount, now) - now
        if left > 0:
            raise NoAnswerError(f"{mount.point} did not answer of late; it is tried again in {math.ceil(left)} s")
        stuck = [job for job in self._running if self._is_late(job, now)]
        if sum(job.mount == mount for job in stuck) >= THREADS_PER_MOUNT:
            raise NoAnswerError(f"{mount.point} does not answer; it is tried again when an earlier look at it ends")
        if len(stuck) >= self._max_threads:
            points = ", ".join(sorted({job.mount.point for job in stuck}))
            raise NoAnswerError(f"{mount.point} cannot be asked until one of {points} answers an earlier look")

    def _is_late(self, job: _Job, now: float) -> bool:
        return job.started_at is not None and now - job.started_at >= self._answer_seconds

    def _give_up(self, job: _Job) -> str:
        """Return what to say of a job that is too late; if it had begun, its mount is left alone from now on."""
        with self._change:
            if job.started_at is None:
                return f"{job.mount.point} could not be asked within {self._answer_seconds:g} s; try again"
            now = self._clock()
            self._left_alone_until = {mount: until for mount, until in self._left_alone_until.items() if until > now}
            self._left_alone_until[job.mount] = now + self._breaker_seconds
        return (
            f"{job.mount.point} did not answer within {self._answer_seconds:g} s; "
            f"it is tried again in {math.ceil(self._breaker_seconds)} s"
        )

    # In the threads

    def move_to(self, job: _Job, mount: Mount) -> None:
        """Let a running job go on to another mount; see `Touch`."""
        if mount != job.mount:
            with self._change:
                self._refuse(mount)
                job.mount = mount

    def _work(self) -> None:
        while (job := self._next()) is not None:
            try:
                result = job.look(Touch(self, job))
            except BaseException as error:  # whatever it is, it belongs to the one who asked
                self._end(job)
                job.outcome.set_exception(error)
                del error
            else:
                self._end(job)
                job.outcome.set_result(result)
                del result
            del job  # an idle thread keeps nothing

    def _next(self) -> _Job | None:
        """Wait for a job whose mount is not asked by enough others; None: there was none for a while."""
        with self._change:
            while True:
                for job in self._waiting:
                    if sum(other.mount == job.mount for other in self._running) < THREADS_PER_MOUNT:
                        self._waiting.remove(job)
                        break
                else:
                    if not self._change.wait(_IDLE_SECONDS) and not self._waiting:
                        self._threads -= 1
                        return None
                    continue
                if job.outcome.set_running_or_notify_cancel():
                    job.started_at = self._clock()
                    self._running.add(job)
                    return job

    def _end(self, job: _Job) -> None:
        with self._change:
            self._running.discard(job)
            self._change.notify_all()
