"""Looks that hang, without a file system: gates stand for mounts that do not answer."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator

import anyio
import pytest

from workroot.project_finder.file_pool import FilePool, NoAnswerError, Touch
from workroot.project_finder.mounts import Mount

A, B, C, D, E = (Mount(f"/{name}") for name in "abcde")


class Gate:
    """Hangs until it is opened; counts who came."""

    def __init__(self) -> None:
        self.opened, self._came = threading.Event(), threading.Semaphore(0)
        self.came = 0
        self._lock = threading.Lock()

    def __call__(self, touch: Touch) -> str:
        with self._lock:
            self.came += 1
        self._came.release()
        assert self.opened.wait(10)
        return "answer"

    def wait_came(self) -> None:
        assert self._came.acquire(timeout=5)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


class Clock:
    """Stands still unless told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def threads_of_pools() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "workroot-files"}


async def refusal(pool: FilePool, mount: Mount, gate: Gate) -> str:
    with pytest.raises(NoAnswerError) as raised:
        await pool.run(mount, gate)
    return raised.value.problem


async def test_a_look_gives_what_it_returns_and_raises_what_it_raises() -> None:
    pool = FilePool()

    assert await pool.run(A, lambda _: 7) == 7
    for error in (FileNotFoundError("x"), TimeoutError("the mount's own"), ValueError("y")):

        def fail(_: Touch, error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error), match=str(error)):
            await pool.run(A, fail)


async def test_the_threads_are_daemons_and_are_used_again() -> None:
    pool, before = FilePool(), threads_of_pools()

    names = {await pool.run(A, lambda _: threading.get_ident()) for _ in range(20)}

    assert len(names) == 1
    assert all(thread.daemon for thread in threads_of_pools() - before)


async def test_two_threads_ask_one_mount_and_the_others_are_free(gate: Gate) -> None:
    pool, before = FilePool(answer_seconds=60), threads_of_pools()
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(pool.run, A, gate)
        with anyio.fail_after(5):
            while gate.came < 2:
                await anyio.lowlevel.checkpoint()
            for mount in (B, C, D):
                assert await pool.run(mount, lambda _: "free") == "free"
        assert gate.came == 2
        assert len(threads_of_pools() - before) <= 8
        gate.opened.set()  # then all of them get their turn
    assert gate.came == 20


async def test_a_mount_that_is_too_late_is_left_alone_and_then_tried_again(gate: Gate, clock: Clock) -> None:
    pool = FilePool(answer_seconds=0.05, breaker_seconds=10, clock=clock)

    assert await refusal(pool, A, gate) == "/a did not answer within 0.05 s; it is tried again in 10 s"
    clock.now = 7.5
    assert await refusal(pool, A, gate) == "/a did not answer of late; it is tried again in 3 s"
    assert gate.came == 1
    assert await pool.run(B, lambda _: "free") == "free"

    clock.now = 10
    assert "did not answer within" in await refusal(pool, A, gate)
    assert gate.came == 2


async def test_a_mount_with_two_stuck_threads_is_not_asked_until_one_comes_back(gate: Gate, clock: Clock) -> None:
    pool = FilePool(answer_seconds=0.05, clock=clock)
    for clock.now in (0, 20):
        await refusal(pool, A, gate)

    clock.now = 40
    assert await refusal(pool, A, gate) == "/a does not answer; it is tried again when an earlier look at it ends"
    assert gate.came == 2

    gate.opened.set()
    with anyio.fail_after(5):
        while True:
            try:
                assert await pool.run(A, lambda _: "again") == "again"
                break
            except NoAnswerError:
                await anyio.lowlevel.checkpoint()


async def test_with_all_threads_stuck_everything_is_refused_at_once(gate: Gate, clock: Clock) -> None:
    pool, before = FilePool(answer_seconds=0.05, clock=clock), threads_of_pools()
    for mount in (A, A, B, B, C, C, D, D):
        await refusal(pool, mount, gate)
        clock.now += 20

    assert await refusal(pool, E, gate) == "/e cannot be asked until one of /a, /b, /c, /d answers an earlier look"
    assert gate.came == 8
    assert len(threads_of_pools() - before) <= 8


async def test_a_look_that_got_no_thread_in_time_does_not_open_the_breaker(gate: Gate) -> None:
    pool = FilePool(answer_seconds=0.05, threads=1, clock=lambda: 0.0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(refusal, pool, A, gate)
        with anyio.fail_after(5):
            while not gate.came:
                await anyio.lowlevel.checkpoint()
        assert await refusal(pool, B, gate) == "/b could not be asked within 0.05 s; try again"
    gate.opened.set()
    with anyio.fail_after(5):
        while True:
            try:
                assert await pool.run(B, lambda _: "now") == "now"
                break
            except NoAnswerError:
                await anyio.lowlevel.checkpoint()


async def test_a_look_that_goes_on_to_another_mount_is_charged_to_that_one(gate: Gate, clock: Clock) -> None:
    pool = FilePool(answer_seconds=0.05, clock=clock)

    def go_on(touch: Touch) -> str:
        touch(A)
        touch(B)
        return gate(touch)

    with pytest.raises(NoAnswerError, match="/b did not answer within"):
        await pool.run(A, go_on)
    assert await pool.run(A, lambda _: "free") == "free"

    with pytest.raises(NoAnswerError, match="/b did not answer of late"):
        await pool.run(A, go_on)


async def test_who_stops_waiting_takes_a_look_back_that_has_not_begun(gate: Gate) -> None:
    pool = FilePool(answer_seconds=60, threads=1)
    asked: list[str] = []
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pool.run, A, gate)
        await anyio.to_thread.run_sync(gate.wait_came)
        async with anyio.create_task_group() as leaving:
            leaving.start_soon(pool.run, B, lambda _: asked.append("left"))
            await anyio.wait_all_tasks_blocked()
            leaving.cancel_scope.cancel()
        gate.opened.set()

    await pool.run(B, lambda _: asked.append("stayed"))
    assert asked == ["stayed"]


async def test_nothing_is_kept_of_a_look_that_nobody_waits_for_any_more(gate: Gate, clock: Clock) -> None:
    pool = FilePool(answer_seconds=0.05, threads=1, clock=clock)
    await refusal(pool, A, gate)

    class Held:
        def __call__(self, _: Touch) -> None: ...

    held = Held()
    kept = weakref.ref(held)
    with pytest.raises(NoAnswerError):
        await pool.run(B, held)
    del held

    with anyio.fail_after(5):
        while kept() is not None:
            await anyio.lowlevel.checkpoint()  # the event loop lets go of the wait
            gc.collect()
