"""One watcher for all projects: it pushes what changed, and goes on when watching fails.

Watchers lose events: queues overflow, directories are recreated, limits are reached. So whatever no watch tells of
is looked at in intervals, everything is looked at again after each change of the watch, and a watch that fails
makes changes late, never lost.
"""

from __future__ import annotations

import logging
import time
from functools import partial
from typing import TYPE_CHECKING

import anyio

from workroot.core.projects import CONFIG_NAMES
from workroot.watching.asking import Asker
from workroot.watching.health import WatchHealth
from workroot.watching.looks import Look, Looks
from workroot.watching.thread import Plan, WatchFunction, WatchThread, is_watchable, watch_files

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from anyio.abc import TaskGroup

__all__ = ["Watcher"]

logger = logging.getLogger(__name__)

_SLICE = 64  # directories asked at a time: half a millisecond
_ATTEMPTS = 3  # a directory may vanish between the look at it and the watch
_POLLED_AT_ONCE = 1024  # directories; a hundredth of a processor, every second

# Nothing else runs while a watch is built: watchfiles holds the interpreter lock, for 11 to 130 us per directory as the
# system wakes its thread. That is 3 to 30 ms for these, and up to 250 ms for 2,048.
_MOST = 256


class Watcher:
    """Tells which directories may have changed. One thread and one inotify instance; none while nothing is wished.

    Args:
        config_names: where configs are, relative to a project root.
        most: how many directories are watched, 2,048 at most; further ones are looked at.
        rearm_seconds: how long a watch is left alone at least: a change of what is wished replaces it.
        check_seconds: how often everything is looked at, for events that were lost.
        poll_seconds: how often what is not watched is looked at, up to 1,024 directories at a time.
        retry_seconds: how long to go without a watch after it failed; one that lasts as long is trusted again.
        watch_function: does the watching.
        sleep: waits for seconds; what the intervals are kept by.
        now_ns: the clock that stamps files.
        asker: asks the disk; None stands for one of its own.
    """

    def __init__(
        self,
        *,
        config_names: Sequence[str] = CONFIG_NAMES,
        most: int = _MOST,
        rearm_seconds: float = 0.2,
        check_seconds: float = 30.0,
        poll_seconds: float = 1.0,
        retry_seconds: float = 60.0,
        watch_function: WatchFunction = watch_files,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
        now_ns: Callable[[], int] = time.time_ns,
        asker: Asker | None = None,
    ) -> None:
        self._most, self._watch_function, self._sleep = most, watch_function, sleep
        self._rearm_seconds, self._check_seconds = rearm_seconds, check_seconds
        self._poll_seconds, self._retry_seconds = poll_seconds, retry_seconds
        self._looks = Looks(config_names, now_ns)
        self._asker = asker if asker is not None else Asker()
        self._wished: dict[str, None] = {}  # a set that keeps its order
        self._plan: Plan | None = None  # None: nothing is watched, everything is polled
        self._rearm, self._more_to_poll = anyio.Event(), anyio.Event()
        self._proof: anyio.CancelScope | None = None  # while a new watch has to show that it lasts
        self._is_trusted, self._is_failure_said, self._is_limit_said = True, False, False
        self._on_change: Callable[[frozenset[str]], None] = lambda _: None
        self._failures = 0
        self._last_failure: str | None = None

    def health(self) -> WatchHealth:
        """Return how it is doing."""
        return WatchHealth(
            watched=len(self._plan.watched) if self._plan is not None else 0,
            polled=len(self._polled()),
            failures=self._failures,
            last_failure=self._last_failure,
            is_working=not self._is_failure_said,
        )

    def watch(self, directories: Iterable[str]) -> None:
        """Watch these from now on, and no others. Cheap; may be called at any time in the event loop.

        Directories that were not watched before are told once as changed: whoever looked at them looked earlier.

        Args:
            directories: absolute, symlinks resolved, on local mounts, the most important ones first; need not exist.
        """
        wished = dict.fromkeys(directories)
        if wished.keys() != self._wished.keys():
            self._wished = wished
            self._looks.keep_only(wished)
            self._rearm.set()
            self._more_to_poll.set()

    async def run(self, on_change: Callable[[frozenset[str]], None]) -> None:
        """Call *on_change* with directories that may have changed, until cancelled.

        Args:
            on_change: called in the event loop; what it raises is logged.
        """
        self._on_change, self._plan, self._proof = on_change, None, None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._check)
            tasks.start_soon(self._poll)
            await self._keep_watching(tasks)

    async def _keep_watching(self, tasks: TaskGroup) -> None:
        while True:
            self._rearm = anyio.Event()
            if not self._wished:
                self._plan = None
                await self._rearm.wait()
                continue
            failure, was_in_force = await self._watch_once(tasks)
            if failure is not None:
                await self._take_failure(failure, was_in_force=was_in_force)

    async def _watch_once(self, tasks: TaskGroup) -> tuple[str | None, bool]:
        """Watch what is wished now until that changes; return what went wrong, and if it did so while in force."""
        for _ in range(_ATTEMPTS):
            plan, in_force = await self._plan_now(), anyio.Event()

            def take(changed: frozenset[str], came_or_went: bool) -> None:
                tasks.start_soon(self._take, changed, came_or_went)

            watch = WatchThread(
                plan,
                watch=self._watch_function,
                in_force=partial(self._begin, tasks, plan, in_force),
                told=take,
            )
            async with anyio.create_task_group() as helpers:
                helpers.start_soon(self._catch_up, in_force)
                helpers.start_soon(self._stop_when_due, watch)
                failure = await watch.run()
                helpers.cancel_scope.cancel()
            if not watch.has_missed:
                break
        return failure, in_force.is_set()

    async def _plan_now(self) -> Plan:
        wished, answers = tuple(self._wished), dict[str, bool]()
        for some in _slices(wished):
            answers |= await self._asker.ask(is_watchable, some)
        return Plan.of(wished, answers, self._most)

    def _begin(self, tasks: TaskGroup, plan: Plan, in_force: anyio.Event) -> None:
        """Take up that a watch is in force."""
        self._plan = plan
        self._more_to_poll.set()
        in_force.set()
        self._say_left_out(plan)
        if not self._is_trusted and self._proof is None:
            self._proof = anyio.CancelScope()
            tasks.start_soon(self._prove, self._proof)

    async def _stop_when_due(self, watch: WatchThread) -> None:
        try:
            await anyio.sleep(self._rearm_seconds)
            await self._rearm.wait()
        finally:
            watch.stop()  # cancelled or not

    async def _catch_up(self, in_force: anyio.Event) -> None:
        """See to what happened while nothing was watched."""
        await in_force.wait()
        await self._compare(tuple(self._wished))
        if self._plan is not None:
            await self._take_up(self._plan.waiting)

    async def _take(self, changed: frozenset[str], came_or_went: bool) -> None:
        """Report what a watch tells; it is looked at, so that a comparison does not report it a second time."""
        wished = tuple(changed.intersection(self._wished))
        seen = {} if self._asker.is_busy else await self._asker.ask(self._looks.see, wished[:_SLICE])
        for directory in wished:
            if directory in seen and directory in self._wished:
                self._looks.compare(directory, seen[directory])
            else:
                self._looks.forget(directory)
        self._report(changed)
        if came_or_went:
            self._rearm.set()

    async def _take_failure(self, failure: str, *, was_in_force: bool) -> None:
        if self._proof is not None:
            self._proof.cancel()
            self._proof = None
        self._failures, self._last_failure = self._failures + 1, failure
        if self._is_trusted and was_in_force:
            logger.debug("file watching is begun anew after a failure: %s", failure)
            self._is_trusted = False
            return
        self._is_trusted, self._plan = False, None
        self._more_to_poll.set()
        if not self._is_failure_said:
            self._is_failure_said = True
            logger.warning(
                "file watching fails (%s): directories are looked at every %g seconds, and watching is tried again",
                failure,
                self._poll_seconds,
            )
        await self._sleep(self._retry_seconds)

    async def _prove(self, proof: anyio.CancelScope) -> None:
        """Trust watching again when it has worked for a while: one that dies again and again is said once."""
        with proof:
            await self._sleep(self._retry_seconds)
            self._is_trusted, self._proof = True, None
            if self._is_failure_said:
                self._is_failure_said = False
                logger.info("file watching works again")

    async def _check(self) -> None:
        while True:
            await self._sleep(self._check_seconds)
            if self._plan is not None and Look.OTHER in (await self._compare(self._plan.watched)).values():
                self._rearm.set()  # the watch did not tell: it may be deaf

    async def _poll(self) -> None:
        begin = 0
        while True:
            if not self._polled():  # most of the time: no timer runs then
                self._more_to_poll = anyio.Event()
                await self._more_to_poll.wait()
                continue
            await self._sleep(self._poll_seconds)
            plan, polled = self._plan, self._polled()
            begin = begin if begin < len(polled) else 0
            found = await self._compare(polled[begin : begin + _POLLED_AT_ONCE])
            begin += _POLLED_AT_ONCE
            if plan is not None:
                await self._take_up(tuple(found.keys() & set(plan.waiting)))

    def _polled(self) -> Sequence[str]:
        """Return the directories that no watch tells of."""
        return tuple(self._wished) if self._plan is None else self._plan.waiting + self._plan.left_out

    async def _compare(self, directories: Sequence[str]) -> dict[str, Look]:
        """Look at directories; report and return those that do not look the same as before."""
        found: dict[str, Look] = {}
        for some in _slices(directories):
            seen = await self._asker.ask(self._looks.see, [each for each in some if each in self._wished])
            looks = {each: self._looks.compare(each, sight) for each, sight in seen.items() if each in self._wished}
            changed = {each: look for each, look in looks.items() if look is not Look.SAME}
            self._report(frozenset(changed))
            found |= changed
        return found

    async def _take_up(self, waiting: Sequence[str]) -> None:
        """Begin a new watch if one of these directories can be watched by now."""
        for some in _slices(waiting):
            if any((await self._asker.ask(is_watchable, some)).values()):
                self._rearm.set()

    def _report(self, directories: frozenset[str]) -> None:
        wished = directories.intersection(self._wished)
        if not wished:
            return
        try:
            self._on_change(wished)
        except Exception:  # a boundary: whoever is told must not end the watching
            logger.exception("a change of %d directories was not taken up", len(wished))

    def _say_left_out(self, plan: Plan) -> None:
        if plan.left_out and not self._is_limit_said:
            self._is_limit_said = True
            logger.warning(
                "%d directories are watched, which is the limit; further ones (%d now) are looked at every %g seconds",
                len(plan.watched),
                len(plan.left_out),
                self._poll_seconds,
            )


def _slices(directories: Sequence[str]) -> Iterator[Sequence[str]]:
    for begin in range(0, len(directories), _SLICE):
        yield directories[begin : begin + _SLICE]
