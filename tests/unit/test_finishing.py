"""Work that comes to its end whoever cancels."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from fakes import Gate
from workroot.finishing import finish


class Work:
    """Waits at a gate, and then fails or not."""

    def __init__(self, error: Exception | None = None) -> None:
        self.gate, self.is_done, self._error = Gate(), False, error

    async def run(self) -> None:
        await self.gate.pass_through()
        self.is_done = True
        if self._error is not None:
            raise self._error


async def start(work: Work) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(finish(work.run()))
    await work.gate.reached.wait()
    return task


async def test_it_is_waited_for_and_its_error_is_raised() -> None:
    work, failing = Work(), Work(ValueError("no"))
    work.gate.open()
    failing.gate.open()

    await finish(work.run())
    with pytest.raises(ValueError, match="no"):
        await finish(failing.run())

    assert work.is_done
    assert failing.is_done


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("error", [None, ValueError("no")])
async def test_whoever_waits_is_cancelled_when_it_has_ended(times: int, error: Exception | None) -> None:
    work = Work(error)
    task = await start(work)
    for _ in range(times):
        task.cancel()
        await anyio.wait_all_tasks_blocked()
        assert not task.done()

    work.gate.open()
    with anyio.fail_after(5), pytest.raises(asyncio.CancelledError) as cancelled:
        await task

    assert work.is_done
    assert cancelled.value.__cause__ is error


async def test_a_cancelled_scope_waits_for_its_end_without_turning_round() -> None:
    work = Work()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(lambda: finish(work.run()))
            await work.gate.reached.wait()
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.wait_all_tasks_blocked()  # nobody is busy with being cancelled
                assert not work.is_done
                work.gate.open()

    assert work.is_done


async def test_it_is_over_when_the_work_itself_is_cancelled() -> None:
    async def give_up() -> None:
        raise asyncio.CancelledError

    with anyio.fail_after(5), pytest.raises(asyncio.CancelledError):
        await finish(give_up())
