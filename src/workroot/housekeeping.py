"""What a manager does by itself: jobs at intervals, and writes that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
import math
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import anyio

from workroot.core.changes import (
    AllocationTouched,
    IdleMarked,
    ProjectForgotten,
    ProjectIdKept,
    ProjectSeen,
    SessionTouched,
)
from workroot.errors import ChangeRefusedError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

    from workroot.core.ports import Clock, SessionStore

__all__ = ["Housekeeping", "LateChange", "WriteBehind"]

logger = logging.getLogger(__name__)

_SLICE = 500  # late writes in one commit: more would hold the event loop up

LateChange: TypeAlias = SessionTouched | AllocationTouched | ProjectSeen | ProjectForgotten | ProjectIdKept | IdleMarked
"""What may be written late."""


class Housekeeping:
    """Runs jobs, each at its own interval, from `start` to `stop`.

    Args:
        every: pairs of seconds and the job that is due after each such time.
        first_seconds: from the start to the first run of each of them, where its interval is not shorter.
        after: triples of seconds, what waits for a reason to run, and the job that is due so long after each reason:
            while there is none, no clock runs for it.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        every: Sequence[tuple[float, Callable[[], Awaitable[object]]]],
        first_seconds: float = math.inf,
        after: Sequence[tuple[float, Callable[[], Awaitable[object]], Callable[[], Awaitable[object]]]] = (),
    ) -> None:
        self._clock, self._seconds = clock, {job: seconds for seconds, job in every}
        self._first_seconds = {job: first_seconds for _, job in every}
        self._seconds.update((job, seconds) for seconds, _, job in after)
        self._wait_reason = {job: wait_reason for _, wait_reason, job in after}
        self._waiting: dict[Callable[[], Awaitable[object]], anyio.CancelScope] = {}  # for an interval to pass
        self._task: asyncio.Task[None] | None = None

    def change_interval(self, job: Callable[[], Awaitable[object]], seconds: float) -> None:
        """Run *job* after each *seconds* from now on; the time that it has waited already does not count."""
        if self._seconds[job] != seconds:
            self._seconds[job] = seconds
            if (waiting := self._waiting.get(job)) is not None:
                waiting.cancel()

    def start(self) -> None:
        """Begin; the first run of each job is due after its interval, or `first_seconds`. Idempotent."""
        # A task of its own, not of a task group: `start` and `stop` may be called from different tasks,
        # which a cancel scope forbids. `stop` is the parent that awaits it.
        loop, task = asyncio.get_running_loop(), self._task
        if task is None or task.done() or task.cancelling() or task.get_loop() is not loop:
            self._leave()
            self._task = loop.create_task(self._run(), name="housekeeping")

    @property
    def is_running(self) -> bool:
        """Whether the jobs go on, in an event loop that does."""
        task = self._task
        return task is not None and not (task.done() or task.cancelling() or task.get_loop().is_closed())

    @property
    def is_ending(self) -> bool:
        """Whether the jobs of this event loop come to an end though nobody stopped them: the loop itself ends."""
        task = self._task
        if task is None or task.get_loop() is not asyncio.get_running_loop():
            return False
        return task.done() or bool(task.cancelling())

    async def stop(self) -> None:
        """Stop after the step at hand. Idempotent."""
        self._leave()
        task = self._task
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])  # not `await task`: whose cancellation that raised could not be told
        if self._task is task:  # else it was started again meanwhile
            self._task = None
        if not task.cancelled():
            task.result()

    def _leave(self) -> None:
        """Have nothing more to do with the task of another event loop: that has ended, or its own user ends it."""
        task = self._task
        if task is not None and task.get_loop() is not asyncio.get_running_loop():
            self._task = None
            if not task.get_loop().is_closed():
                task.get_loop().call_soon_threadsafe(task.cancel)

    async def _run(self) -> None:
        async with anyio.create_task_group() as jobs:
            for job in self._seconds:
                jobs.start_soon(self._repeat, job)

    async def _repeat(self, job: Callable[[], Awaitable[object]]) -> None:
        at_most = self._first_seconds.get(job, math.inf)
        while True:
            if (wait_reason := self._wait_reason.get(job)) is not None:
                await wait_reason()
            if await self._is_due(job, at_most):
                at_most = math.inf
                try:
                    await job()
                except Exception:  # a boundary: one failure must not end the sweeping for good
                    logger.exception("housekeeping failed; it is tried again in %s seconds", self._seconds[job])

    async def _is_due(self, job: Callable[[], Awaitable[object]], at_most: float) -> bool:
        """Wait for the job's interval to pass, or so many seconds; False: it was changed meanwhile, and begins anew."""
        with anyio.CancelScope() as waiting:
            self._waiting[job] = waiting
            try:
                await self._clock.sleep(min(self._seconds[job], at_most))
            finally:
                if self._waiting.get(job) is waiting:  # else it goes on in another event loop by now
                    del self._waiting[job]
        return not waiting.cancel_called


class WriteBehind:
    """Writes that may come seconds late: of one thing, the last one counts.

    Args:
        store: where to.
        beside: returns what else is worth a write, now that there is one anyway, or None.
    """

    def __init__(self, store: SessionStore, beside: Callable[[], LateChange | None] = lambda: None) -> None:
        self._store, self._beside = store, beside
        self._waiting: dict[Hashable, LateChange] = {}
        self._noted = anyio.Event()

    def __len__(self) -> int:
        """How many writes wait."""
        return len(self._waiting)

    def note(self, change: LateChange) -> None:
        """Write *change* at the next flush."""
        self._waiting[_thing(change)] = change
        self._noted.set()

    def renew(self) -> None:
        """Let go of who waits in an event loop that has ended: nobody can be woken there."""
        self._noted = anyio.Event()

    async def wait_noted(self) -> None:
        """Return when there is something to write."""
        while not self._waiting:
            self._noted = anyio.Event()
            await self._noted.wait()

    async def flush(self) -> None:
        """Write what waits, in slices; on failure it goes on waiting. What the store will never keep is dropped."""
        if not self._waiting:
            return
        if (beside := self._beside()) is not None:
            self.note(beside)
        waiting, self._waiting = self._waiting, {}
        try:
            while some := dict(islice(waiting.items(), _SLICE)):
                try:
                    await self._store.commit(tuple(some.values()))
                except ChangeRefusedError:
                    await self._commit_each(some, waiting)
                for key in some:
                    waiting.pop(key, None)
        except StoreUnavailableError as error:
            logger.warning("%d late writes wait on: %s", len(waiting), error)
            self._waiting = waiting | self._waiting
        except BaseException:
            self._waiting = waiting | self._waiting
            raise

    async def _commit_each(self, some: dict[Hashable, LateChange], waiting: dict[Hashable, LateChange]) -> None:
        """Write one by one, and take from *waiting* what is done with."""
        for key, change in some.items():
            try:
                await self._store.commit((change,))
            except ChangeRefusedError as error:
                logger.warning("a late write is dropped: %s", error)
            del waiting[key]


def _thing(change: LateChange) -> Hashable:
    """Return what a change is about."""
    match change:
        case SessionTouched(key):
            return key
        case AllocationTouched(key):
            return (AllocationTouched, key)
        case ProjectSeen(owner, project):
            return (owner, project.root)
        case ProjectForgotten(owner, root):
            return (owner, root)
        case IdleMarked():
            return IdleMarked
        case _:
            return (ProjectIdKept, change.known.key)
