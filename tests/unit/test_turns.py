"""One turn per key."""

from __future__ import annotations

import anyio
import pytest
from anyio.lowlevel import checkpoint

from workroot.turns import Turns


@pytest.fixture
def turns() -> Turns:
    return Turns()


async def test_of_one_key_the_second_waits_until_the_first_has_gone(turns: Turns) -> None:
    order: list[str] = []
    waits = anyio.Event()

    async def second() -> None:
        waits.set()
        async with turns.take("a"):
            order.append("second")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, turns.take("a"):
            tasks.start_soon(second)
            await waits.wait()
            await checkpoint()
            order.append("first")

    assert order == ["first", "second"]


async def test_who_waits_is_served_in_the_order_of_coming(turns: Turns) -> None:
    order: list[int] = []

    async def wait(number: int) -> None:
        async with turns.take("a"):
            order.append(number)
            await checkpoint()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, turns.take("a"):
            for number in range(5):
                tasks.start_soon(wait, number)
                await checkpoint()

    assert order == [0, 1, 2, 3, 4]


async def test_different_keys_are_held_at_the_same_time(turns: Turns) -> None:
    with anyio.fail_after(5):
        async with turns.take("a"), turns.take("b"):
            assert len(turns) == 2


async def test_nothing_is_kept_of_a_turn_that_nobody_wants(turns: Turns) -> None:
    async with turns.take("a"):
        pass
    with pytest.raises(ZeroDivisionError):
        async with turns.take("a"):
            1 / 0  # noqa: B018 - any failure inside
    with turns.take_free_nowait(["a", "b"]):
        pass

    assert len(turns) == 0


@pytest.mark.parametrize("steps", range(6))
async def test_a_taker_cancelled_at_any_step_leaves_nothing_behind(turns: Turns, steps: int) -> None:
    async def take() -> None:
        async with turns.take("a"):
            await checkpoint()

    async with turns.take("a"), anyio.create_task_group() as tasks:
        tasks.start_soon(take)
        tasks.start_soon(take)
        for _ in range(steps):
            await checkpoint()
        tasks.cancel_scope.cancel()

    assert len(turns) == 0
    with anyio.fail_after(5):
        async with turns.take("a"):
            pass


async def test_only_free_turns_are_taken_without_waiting(turns: Turns) -> None:
    with anyio.fail_after(5):
        async with turns.take("held"):
            with turns.take_free_nowait(["held", "free"]) as free:
                assert free == {"free"}


async def test_who_comes_after_a_turn_was_taken_free_waits_for_its_end(turns: Turns) -> None:
    order: list[str] = []

    async def come() -> None:
        async with turns.take("a"):
            order.append("came")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            with turns.take_free_nowait(["a"]):
                tasks.start_soon(come)
                for _ in range(3):
                    await checkpoint()
                order.append("left")

    assert order == ["left", "came"]
    assert len(turns) == 0
