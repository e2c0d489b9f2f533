"""Who may begin when many want to."""

from __future__ import annotations

import anyio
import anyio.lowlevel
import pytest

from workroot.transports.pacing import Pace


async def test_nobody_waits_when_nobody_else_is_there() -> None:
    pace = Pace(rounds=10_000)
    with anyio.fail_after(5):
        await pace.turn()


async def test_who_asks_again_stands_behind_all_who_have_asked_before() -> None:
    pace = Pace()
    begun: list[str] = []

    async def ask(name: str, times: int) -> None:
        for _ in range(times):
            await pace.turn()
            begun.append(name)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "greedy", 4)
            tasks.start_soon(ask, "modest", 2)
            tasks.start_soon(ask, "late", 1)

    assert begun == ["greedy", "greedy", "modest", "late", "greedy", "modest", "greedy"]


async def test_the_next_one_begins_only_after_some_rounds_of_the_loop() -> None:
    pace, rounds = Pace(rounds=5), 0
    with anyio.fail_after(5):
        await pace.turn()
        async with anyio.create_task_group() as tasks:
            begun = anyio.Event()

            async def ask() -> None:
                await pace.turn()
                begun.set()

            tasks.start_soon(ask)
            while not begun.is_set():
                await anyio.lowlevel.checkpoint()
                rounds += 1

    assert rounds >= 5


@pytest.mark.parametrize("rounds", range(4))
async def test_one_who_is_cancelled_at_any_moment_holds_up_nobody(rounds: int) -> None:
    pace = Pace(rounds=1)
    with anyio.fail_after(5):
        await pace.turn()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pace.turn)
            for _ in range(rounds):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await pace.turn()
        await pace.turn()
