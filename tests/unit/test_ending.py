"""How a daemon that is late is cut off, and how it is asked to end."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import anyio
import pytest

from workroot.daemon.ending import Deadline, Ending
from workroot.errors import RendezvousError

FAR = 60.0


class Leaving:
    """Takes down how it was left, instead of leaving."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.has_left = threading.Event()

    def __call__(self, status: int) -> None:
        self.status = status
        self.has_left.set()


@pytest.fixture
def leaving() -> Leaving:
    return Leaving()


@pytest.fixture
def deadline(leaving: Leaving) -> Iterator[Deadline]:
    made = Deadline(leaving)
    yield made
    made.close()


def deadline_threads() -> int:
    return sum(thread.name == "workroot-deadline" for thread in threading.enumerate())


async def test_who_is_late_leaves_with_a_failure_and_says_what_it_waited_for(
    leaving: Leaving, deadline: Deadline, caplog: pytest.LogCaptureFixture
) -> None:
    may_end = threading.Event()
    slow = threading.Thread(target=may_end.wait, name="slow-disk", daemon=True)
    slow.start()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.sleep_forever, name="a task that waits")
        await anyio.lowlevel.checkpoint()
        with caplog.at_level(logging.WARNING):
            deadline.begin(0, asyncio.get_running_loop())
            assert await anyio.to_thread.run_sync(leaving.has_left.wait, 5)
        tasks.cancel_scope.cancel()
    may_end.set()

    assert leaving.status == 1
    assert "it waits for: " in caplog.text
    assert "task a task that waits at " in caplog.text
    assert "thread slow-disk at " in caplog.text


async def test_what_still_hangs_when_all_is_closed_is_no_failure(leaving: Leaving, deadline: Deadline) -> None:
    deadline.begin(FAR, asyncio.get_running_loop())
    deadline.set_harmless()
    deadline.shorten(0)

    assert await anyio.to_thread.run_sync(leaving.has_left.wait, 5)
    assert leaving.status == 0


async def test_a_deadline_is_brought_forward_and_never_put_off(leaving: Leaving, deadline: Deadline) -> None:
    deadline.begin(0.05, asyncio.get_running_loop())
    deadline.shorten(FAR)

    assert await anyio.to_thread.run_sync(leaving.has_left.wait, 5)


async def test_who_is_in_time_is_left_alone(leaving: Leaving, deadline: Deadline) -> None:
    before = deadline_threads()
    deadline.begin(FAR, asyncio.get_running_loop())
    assert deadline_threads() == before + 1
    deadline.close()

    assert deadline_threads() == before
    assert leaving.status is None


async def test_a_log_that_hangs_does_not_keep_it_from_leaving(leaving: Leaving, deadline: Deadline) -> None:
    may_go_on = threading.Event()

    class Hung(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            may_go_on.wait()

    hung = Hung()
    logging.getLogger("workroot.daemon.ending").addHandler(hung)
    try:
        deadline.begin(0, asyncio.get_running_loop())
        assert await anyio.to_thread.run_sync(leaving.has_left.wait, 5)
    finally:
        may_go_on.set()
        logging.getLogger("workroot.daemon.ending").removeHandler(hung)


async def test_the_first_reason_to_end_counts() -> None:
    ending = Ending()
    ending.begin("asked")
    ending.fail(RendezvousError("/l", "is gone", "start again"))

    assert ending.stopping.is_set()
    assert not ending.hurrying.is_set()
    assert ending.failure is None


async def test_what_is_under_way_is_waited_for_until_there_is_a_hurry() -> None:
    ending, was_waited_for = Ending(), anyio.Event()

    async def wait_idle() -> None:
        was_waited_for.set()
        await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ending.drain, wait_idle, FAR)
            await was_waited_for.wait()
            ending.hurry()


async def test_what_is_under_way_is_waited_for_no_longer_than_it_may_take() -> None:
    with anyio.fail_after(5):
        await Ending().drain(anyio.sleep_forever, 0.01)
        await Ending().drain(anyio.lowlevel.checkpoint, FAR)


async def test_a_daemon_that_cannot_go_on_ends_with_the_reason() -> None:
    ending = Ending()
    ending.fail(error := RendezvousError("/l", "is gone", "start again"))

    assert ending.stopping.is_set()
    assert ending.failure is error
