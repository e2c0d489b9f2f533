"""Values in memory: what is over takes no room, and what gives way when there is none."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import HOUR, ManualClock
from workroot.errors import ProviderFullError
from workroot.providers import memory
from workroot.providers.contract import MAX_VALUE_BYTES
from workroot.providers.memory import MemoryValues
from workroot.providers.timed_values import TimedValues

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abcd"), st.integers(1, 9)),
        st.tuples(st.just("put"), st.sampled_from("ab"), st.integers(1, 9)),
        st.tuples(st.just("remove"), st.sampled_from("abcd"), st.just(0)),
        st.tuples(st.just("wait"), st.just(""), st.integers(1, 5)),
        st.tuples(st.just("sweep"), st.just(""), st.integers(1, 4)),
    ),
    max_size=60,
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    yield
    memory.forget_all()


@settings(max_examples=300)
@given(STEPS)
def test_values_and_their_heap_agree_with_a_plain_dictionary(steps: list[tuple[str, str, int]]) -> None:
    values, model, now = TimedValues(), dict[str, tuple[str, float]](), 0.0
    for number, (step, key, amount) in enumerate(steps):
        if step == "put":
            values.put(key, str(number), now + amount, amount, now)
            model[key] = (str(number), now + amount)
        elif step == "remove":
            assert values.remove(key, now) == (model.pop(key, ("", 0.0))[1] > now)
        elif step == "wait":
            now += amount
        else:
            over = {key for key, (_, deadline) in model.items() if deadline <= now}
            swept = values.sweep(now, most=amount)
            assert set(swept) <= over
            assert len(swept) == min(amount, len(over))
            for each in swept:
                del model[each]
        assert {key: value[:2] for key, value in values.items()} == model
        first = values.first()
        assert (first and model[first][1]) == min((deadline for _, deadline in model.values()), default=None)
    assert values.size == sum(value.size for _, value in values.items())


def test_setting_one_key_again_and_again_takes_no_more_memory() -> None:
    values = TimedValues()
    tracemalloc.start()
    try:
        for number in range(20_000):
            values.put("key", "value", 1_000.0 - number / 100, 8, 0.0)  # each time earlier: the hard case
        assert tracemalloc.get_traced_memory()[0] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.row("P3", "B17")
@pytest.mark.parametrize("call", ["get", "delete", "set"])
async def test_values_that_are_over_are_swept_by_the_calls_that_follow(clock: ManualClock, call: str) -> None:
    values = MemoryValues(clock=clock)
    async with memory.factory(values=values)() as session:
        for number in range(2000):
            await session.setex(f"code:{number}", 600, "123456")
        await session.setex("stays", HOUR, "x")
        assert values.size > 2000 * len("123456")

        clock.advance(600)
        for _ in range(40):  # of whatever key
            if call == "set":
                await session.set("stays", "x")
            else:
                await getattr(session, call)("another")

        assert values.size == len("stays") + 1
        assert await session.get("stays") == "x"


async def test_no_call_sweeps_more_than_some(clock: ManualClock) -> None:
    values = MemoryValues(clock=clock)
    async with memory.factory(values=values)() as session:
        for number in range(1000):
            await session.setex(f"{number:04}", 1, "")
        clock.advance(1)
        await session.get("another")
        assert values.size > 800 * 4


@pytest.mark.row("P3")
async def test_of_too_many_values_those_that_end_first_give_way(clock: ManualClock) -> None:
    values = MemoryValues(clock=clock, max_values=3)
    async with memory.factory(values=values)() as session:
        await session.setex("late", 300, "x")
        await session.setex("soon", 100, "x")
        await session.setex("middle", 200, "x")

        await session.setex("new", 10, "x")  # though it ends before all others: it is what was asked for last

        assert [await session.get(key) for key in ("soon", "middle", "late", "new")] == [None, "x", "x", "x"]
        assert (len(values), values.given_way) == (3, 1)


async def test_values_that_are_over_give_way_before_all_others(clock: ManualClock) -> None:
    values = MemoryValues(clock=clock, max_values=2)
    async with memory.factory(values=values)() as session:
        await session.setex("over", 1, "x")
        await session.setex("live", 100, "x")
        clock.advance(1)
        await session.setex("new", 100, "x")
        assert await session.get("live") == "x"
        assert values.given_way == 0


async def test_values_take_no_more_bytes_than_they_may(clock: ManualClock) -> None:
    values = MemoryValues(clock=clock, max_bytes=1000)
    async with memory.factory(values=values)() as session:
        for number in range(50):
            await session.setex(f"{number:02}", 100 + number, "v" * 98)
            assert values.size <= 1000
        assert [await session.get(f"{number:02}") is not None for number in range(50)] == [False] * 40 + [True] * 10
        with pytest.raises(ProviderFullError, match="at most 100000 values of 1000 bytes together"):
            await session.setex("huge", 60, "v" * 1000)
        assert len(values) == 10


async def test_a_value_that_is_set_anew_takes_its_own_place_first(clock: ManualClock) -> None:
    values = MemoryValues(clock=clock, max_bytes=30)
    async with memory.factory(values=values)() as session:
        await session.setex("a", 10, "1" * 9)
        await session.setex("b", 20, "2" * 9)
        await session.setex("b", 20, "3" * 19)
        assert await session.get("a") == "1" * 9
        assert values.given_way == 0


async def test_steps_of_the_wall_clock_end_nothing_and_prolong_nothing(clock: ManualClock) -> None:
    async with memory.factory(values=MemoryValues(clock=clock))() as session:
        await session.setex("key", 60, "x")
        clock.jump_wall_to(clock.wall() + 10 * HOUR)
        assert await session.get("key") == "x"
        clock.jump_wall_to(0)
        clock.advance(60)
        assert await session.get("key") is None


@pytest.mark.row("P3")
def test_every_use_in_the_process_shares_its_values_in_whichever_event_loop() -> None:
    async def keep() -> None:
        async with memory.factory()() as session:
            await session.setex("shared", 60, "x")

    async def find() -> str | None:
        async with memory.factory()() as session:
            return await session.get("shared")

    asyncio.run(keep())
    assert asyncio.run(find()) == "x"
    memory.forget_all()
    assert asyncio.run(find()) is None


async def test_threads_share_the_values_too() -> None:
    async def count_up(name: int) -> None:
        async with memory.factory()() as session:
            for number in range(500):
                await session.setex(f"{name}:{number}", 60, "x")
                assert await session.delete(f"{name}:{number - 1}") is (number > 0)

    await asyncio.gather(*(asyncio.to_thread(asyncio.run, count_up(name)) for name in range(4)))
    async with memory.factory()() as session:
        assert [await session.get(f"{name}:499") for name in range(4)] == ["x"] * 4


class Sly(str):
    """Text that says that it is short, and plain."""

    def __len__(self) -> int:
        return 1

    def isascii(self) -> bool:
        return True

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return b"x"


async def test_the_text_of_a_subclass_counts_and_not_what_it_says_of_itself() -> None:
    async with memory.factory(values=MemoryValues())() as session:
        for bad in ("v" * (MAX_VALUE_BYTES + 1), "\ud800"):
            with pytest.raises(ValueError, match=r"."):
                await session.setex("key", 60, Sly(bad))
        await session.setex(Sly("key"), 60, Sly("kept"))
        assert type(await session.get("key")) is str
