"""When nobody has needed the daemon for long enough."""

from __future__ import annotations

import anyio
import pytest

from workroot.daemon.idle_exit import IdleExit

SOON, FAR = 0.01, 60.0


async def is_over(idle: IdleExit, seconds: float = 0.05) -> bool:
    """Tell whether *idle* says within *seconds* that nobody needs the daemon."""
    with anyio.move_on_after(seconds):
        await idle.wait()
        return True
    return False


async def test_it_is_over_when_nobody_came() -> None:
    with anyio.fail_after(5):
        await IdleExit(SOON).wait()


async def test_it_is_not_over_as_long_as_somebody_is_there() -> None:
    idle = IdleExit(SOON)
    with idle.needed():
        with idle.needed():
            pass
        assert not await is_over(idle)
    with anyio.fail_after(5):
        await idle.wait()


async def test_who_comes_while_the_time_runs_begins_it_anew() -> None:
    idle = IdleExit(FAR)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(idle.wait)
        await anyio.wait_all_tasks_blocked()
        with idle.needed():
            idle.seconds = SOON
            await anyio.wait_all_tasks_blocked()
            assert tasks.cancel_scope.cancel_called is False
            assert not await is_over(IdleExit(0))
        with anyio.fail_after(5):
            await idle.wait()
        tasks.cancel_scope.cancel()


async def test_zero_seconds_mean_never() -> None:
    assert not await is_over(IdleExit(0))


async def test_a_new_time_holds_at_once() -> None:
    idle = IdleExit(0)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(idle.wait)
            await anyio.wait_all_tasks_blocked()
            idle.seconds = SOON


async def test_a_client_that_fails_needs_it_no_longer() -> None:
    idle = IdleExit(SOON)
    with pytest.raises(ZeroDivisionError), idle.needed():
        1 / 0  # noqa: B018 - any failure inside

    with anyio.fail_after(5):
        await idle.wait()
