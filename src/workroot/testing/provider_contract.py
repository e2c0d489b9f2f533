"""What every provider of small values promises, as tests that its author runs.

Subclass `ProviderContract` in a test module, under a name that begins with `Test`, and say in the fixture `factory`
what opens a use of the provider:

    from workroot.testing.provider_contract import ProviderContract

    class TestMyProvider(ProviderContract):
        @pytest.fixture
        def factory(self):
            return my_provider.factory()

Each test begins with a provider that holds nothing under the keys which it uses: those are new in each. No plug-in of
pytest is needed: each test runs an event loop of its own, so the provider has to work in one after the other.
"""

# ruff: noqa: S101, D102 -- these are tests: they assert, and their names say what

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Coroutine
from enum import StrEnum
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, Concatenate, ParamSpec, TypeAlias, cast

import anyio
import pytest

from workroot.providers.contract import DEFAULT_TTL_SECONDS, MAX_KEY_BYTES, MAX_VALUE_BYTES

if TYPE_CHECKING:
    from workroot.providers.contract import ProviderFactory

__all__ = ["PassTime", "ProviderContract"]

PassTime: TypeAlias = Callable[[float], Awaitable[None]]
"""Returns when so many seconds have passed for the provider."""

_P = ParamSpec("_P")
_DEADLINE_SECONDS = 30.0
_CALLERS = 100
_BAD_TTLS = (0, -1, 0.0, -0.5, math.nan, math.inf, -math.inf, 1e12, 10**400, "60", None, True)
_NO_TEXTS = (None, 1, 1.5, b"bytes", {"a": 1}, ["a"], True)


def _in_a_loop(
    test: Callable[Concatenate[ProviderContract, _P], Coroutine[None, None, None]],
) -> Callable[Concatenate[ProviderContract, _P], None]:
    """Return *test* as pytest calls it without a plug-in."""

    @wraps(test)
    def run(self: ProviderContract, *args: _P.args, **kwargs: _P.kwargs) -> None:
        async def bounded() -> None:
            with anyio.fail_after(_DEADLINE_SECONDS):
                await test(self, *args, **kwargs)

        asyncio.run(bounded())

    return cast("Callable[Concatenate[ProviderContract, _P], None]", run)


class ProviderContract:
    """The suite; a subclass overrides `factory`, and better `pass_time` too.

    Attributes:
        holds_clock: `pass_time` moves a clock that the provider was given, and waits for nothing. Otherwise the suite
            waits for some seconds in all, and leaves out what would take an hour.
        default_ttl_seconds: for how long `set` keeps a value.
    """

    holds_clock: ClassVar[bool] = False
    default_ttl_seconds: ClassVar[float] = DEFAULT_TTL_SECONDS

    @pytest.fixture
    def factory(self) -> ProviderFactory:
        """What opens a use of the provider; each use of one test sees the same values."""
        raise NotImplementedError("override the fixture `factory`: return what opens a use of your provider")

    @pytest.fixture
    def pass_time(self) -> PassTime:
        """What lets time pass for the provider; by default the test waits."""
        return asyncio.sleep

    @pytest.fixture
    def key(self) -> str:
        """A key that nobody has used."""
        return f"contract:{secrets.token_hex(8)}"

    # What is kept

    @pytest.mark.parametrize(
        "value",
        ["", "alice", "0", " two\nlines\t", "na\u00efve \U0001f600", "nul\0inside", '{"a": [1, null]}', "'; --"],
    )
    @_in_a_loop
    async def test_a_value_comes_back_as_it_was_kept(self, factory: ProviderFactory, key: str, value: str) -> None:
        async with factory() as session:
            await session.setex(key, 60, value)
            assert await session.get(key) == value

    @_in_a_loop
    async def test_text_of_a_subclass_of_str_is_text(self, factory: ProviderFactory, key: str) -> None:
        class Kind(StrEnum):
            KEY = key
            VALUE = "kept"

        async with factory() as session:
            await session.setex(Kind.KEY, 60, Kind.VALUE)
            assert await session.get(key) == "kept"
            assert await session.get(Kind.KEY) == "kept"
            assert await session.delete(Kind.KEY) is True

    @_in_a_loop
    async def test_there_is_nothing_under_a_key_that_was_never_used(self, factory: ProviderFactory, key: str) -> None:
        async with factory() as session:
            assert await session.get(key) is None

    @_in_a_loop
    async def test_keys_that_look_alike_are_different_keys(self, factory: ProviderFactory, key: str) -> None:
        keys = [key + end for end in ("", "A", "a", " ", "\0", "*", "%", "_", "\u00e9", "e\u0301", "/../x", ":1")]
        async with factory() as session:
            for each in keys:
                await session.setex(each, 60, f"of {each}")
            assert [await session.get(each) for each in keys] == [f"of {each}" for each in keys]

    @_in_a_loop
    async def test_a_later_value_takes_the_place_and_the_time_of_the_earlier(
        self, factory: ProviderFactory, key: str, pass_time: PassTime
    ) -> None:
        async with factory() as session:
            await session.setex(key, 0.5, "first")
            await session.setex(key, 60, "second")
            await pass_time(0.6)
            assert await session.get(key) == "second"
            await session.setex(key, 0.5, "third")
            await pass_time(0.6)
            assert await session.get(key) is None

    @_in_a_loop
    async def test_values_outlive_the_use_that_kept_them(self, factory: ProviderFactory, key: str) -> None:
        async with factory() as session:
            await session.setex(key, 60, "kept")
        async with factory() as session:
            assert await session.get(key) == "kept"

    @_in_a_loop
    async def test_two_uses_at_the_same_time_see_the_same_values(self, factory: ProviderFactory, key: str) -> None:
        async with factory() as one, factory() as other:
            await one.setex(key, 60, "kept")
            assert await other.get(key) == "kept"
            assert await other.delete(key) is True
            assert await one.get(key) is None

    # Time

    @_in_a_loop
    async def test_a_time_to_live_is_exact_and_its_fraction_counts(
        self, factory: ProviderFactory, key: str, pass_time: PassTime
    ) -> None:
        async with factory() as session:
            await session.setex(key, 1.75, "kept")
            await pass_time(1.25)
            assert await session.get(key) == "kept", "its time was cut to whole seconds"
            await pass_time(0.5)
            assert await session.get(key) is None, "it outlived its time"

    @_in_a_loop
    async def test_a_time_to_live_below_a_second_is_one(
        self, factory: ProviderFactory, key: str, pass_time: PassTime
    ) -> None:
        async with factory() as session:
            await session.setex(key, 0.5, "kept")
            assert await session.get(key) == "kept"
            await pass_time(0.5)
            assert await session.get(key) is None

    @_in_a_loop
    async def test_reading_a_value_does_not_prolong_it(
        self, factory: ProviderFactory, key: str, pass_time: PassTime
    ) -> None:
        async with factory() as session:
            await session.setex(key, 0.6, "kept")
            await pass_time(0.3)
            await session.get(key)
            await pass_time(0.3)
            assert await session.get(key) is None

    @pytest.mark.parametrize("ttl", _BAD_TTLS, ids=lambda ttl: repr(ttl)[:9])
    @_in_a_loop
    async def test_what_is_no_time_to_live_is_an_error_and_changes_nothing(
        self, factory: ProviderFactory, key: str, ttl: object
    ) -> None:
        async with factory() as session:
            with pytest.raises((ValueError, TypeError)):
                await session.setex(key, cast("float", ttl), "new")
            assert await session.get(key) is None
            await session.setex(key, 60, "old")
            with pytest.raises((ValueError, TypeError)):
                await session.setex(key, cast("float", ttl), "new")
            assert await session.get(key) == "old"

    @_in_a_loop
    async def test_set_keeps_a_value_for_the_default_time(
        self, factory: ProviderFactory, key: str, pass_time: PassTime
    ) -> None:
        async with factory() as session:
            await session.set(key, "kept")
            assert await session.get(key) == "kept"
            if self.holds_clock:
                await pass_time(self.default_ttl_seconds - 0.5)
                assert await session.get(key) == "kept"
                await pass_time(0.5)
                assert await session.get(key) is None

    # Removing

    @_in_a_loop
    async def test_delete_tells_whether_there_was_a_value(
        self, factory: ProviderFactory, key: str, pass_time: PassTime
    ) -> None:
        async with factory() as session:
            assert await session.delete(key) is False, "there was none"
            await session.setex(key, 60, "kept")
            assert await session.delete(key) is True
            assert await session.get(key) is None
            assert await session.delete(key) is False, "it was deleted before"
            await session.setex(key, 0.25, "kept")
            await pass_time(0.25)
            assert await session.delete(key) is False, "its time was over"

    @_in_a_loop
    async def test_one_of_many_who_delete_a_value_is_told_that_it_did(self, factory: ProviderFactory, key: str) -> None:
        async with factory() as session:
            await session.setex(key, 60, "valid once")
            told = await asyncio.gather(*(session.delete(key) for _ in range(_CALLERS)))
            assert sorted(told) == [False] * (_CALLERS - 1) + [True]

    @_in_a_loop
    async def test_deleting_one_value_leaves_the_others(self, factory: ProviderFactory, key: str) -> None:
        async with factory() as session:
            await session.setex(key, 60, "gone")
            await session.setex(f"{key}:more", 60, "kept")
            await session.delete(key)
            assert await session.get(f"{key}:more") == "kept"

    @_in_a_loop
    async def test_closing_twice_is_closing_and_touches_no_other_use(self, factory: ProviderFactory, key: str) -> None:
        async with factory() as other:
            async with factory() as session:
                await session.setex(key, 60, "kept")
                await session.close()
                await session.close()
            assert await other.get(key) == "kept"

    # What cannot be kept

    @pytest.mark.parametrize("thing", _NO_TEXTS, ids=repr)
    @_in_a_loop
    async def test_a_value_that_is_no_text_is_an_error_and_changes_nothing(
        self, factory: ProviderFactory, key: str, thing: object
    ) -> None:
        async with factory() as session:
            await session.setex(key, 60, "old")
            with pytest.raises(TypeError):
                await session.setex(key, 60, cast("str", thing))
            with pytest.raises(TypeError):
                await session.set(key, cast("str", thing))
            assert await session.get(key) == "old"

    @pytest.mark.parametrize("thing", _NO_TEXTS, ids=repr)
    @_in_a_loop
    async def test_a_key_that_is_no_text_is_an_error_in_every_call(
        self, factory: ProviderFactory, thing: object
    ) -> None:
        key = cast("str", thing)
        async with factory() as session:
            calls: tuple[Callable[[], Awaitable[Any]], ...] = (
                lambda: session.setex(key, 60, "x"),
                lambda: session.set(key, "x"),
                lambda: session.get(key),
                lambda: session.delete(key),
            )
            for call in calls:
                with pytest.raises(TypeError):
                    await call()

    @_in_a_loop
    async def test_the_longest_key_and_value_are_kept_and_longer_ones_are_errors(
        self, factory: ProviderFactory, key: str
    ) -> None:
        longest_key, longest = key.ljust(MAX_KEY_BYTES, "k"), "v" * MAX_VALUE_BYTES
        async with factory() as session:
            await session.setex(longest_key, 60, longest)
            assert await session.get(longest_key) == longest
            for bad_key, value in (
                (longest_key + "k", "x"),
                (key, longest + "v"),
                (key, "\u00e9" * (len(longest) - 9)),
            ):
                with pytest.raises(ValueError, match=r"."):
                    await session.setex(bad_key, 60, value)
            assert await session.get(key) is None
            assert await session.delete(longest_key) is True

    @pytest.mark.parametrize("text", ["\ud800", "half \udfff a pair"], ids=ascii)
    @_in_a_loop
    async def test_half_a_surrogate_pair_is_an_error(self, factory: ProviderFactory, key: str, text: str) -> None:
        async with factory() as session:
            with pytest.raises(ValueError, match=r"."):
                await session.setex(key, 60, text)
            with pytest.raises(ValueError, match=r"."):
                await session.setex(key + text, 60, "x")
            assert await session.get(key) is None

    @_in_a_loop
    async def test_an_empty_key_is_an_error(self, factory: ProviderFactory) -> None:
        async with factory() as session:
            with pytest.raises(ValueError, match=r"."):
                await session.setex("", 60, "x")

    # Many callers

    @_in_a_loop
    async def test_callers_at_the_same_time_lose_nothing(self, factory: ProviderFactory, key: str) -> None:
        async with factory() as session:
            await asyncio.gather(*(session.setex(f"{key}:{n}", 60, str(n)) for n in range(_CALLERS)))
            assert [await session.get(f"{key}:{n}") for n in range(_CALLERS)] == [str(n) for n in range(_CALLERS)]

    @pytest.mark.parametrize("steps", range(6))
    @_in_a_loop
    async def test_a_call_that_is_cancelled_leaves_the_provider_usable(
        self, factory: ProviderFactory, key: str, steps: int
    ) -> None:
        async with factory() as session:
            await session.setex(key, 60, "old")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(session.setex, key, 60, "new")
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                tasks.cancel_scope.cancel()
            assert await session.get(key) in {"old", "new"}
            await session.setex(key, 60, "newest")
            assert await session.get(key) == "newest"
