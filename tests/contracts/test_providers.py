"""What every provider of small values promises, held against the built-in ones by the suite that others run too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fakes import ManualClock
from workroot.errors import NotTextError, TimeToLiveError, ValueRefusedError
from workroot.providers import memory, shared_file
from workroot.providers.memory import MemoryValues
from workroot.testing.provider_contract import PassTime, ProviderContract

if TYPE_CHECKING:
    from workroot.providers import ProviderFactory


class HeldClockContract(ProviderContract):
    """The suite, with a clock that the test holds."""

    holds_clock = True

    @pytest.fixture
    def clock(self) -> ManualClock:
        return ManualClock()

    @pytest.fixture
    def pass_time(self, clock: ManualClock) -> PassTime:
        async def advance(seconds: float) -> None:
            clock.advance(seconds)

        return advance


BY_EVERY_CALL: tuple[tuple[str, tuple[object, ...]], ...] = (
    *(("setex", ("key", ttl, "x")) for ttl in (0, -1, 1.5, 0.25, math.nan, math.inf, True, "60", None, 10**400)),
    *(
        ("setex", ("key", 60, value))
        for value in ("", "x", {"a": 1}, b"x", 1, None, "\ud800", "x" * 2**20, "x" * 2**21)
    ),
    *(("set", ("key", value)) for value in ("x", ["x"], None)),
    *((call, (key,)) for call in ("get", "delete") for key in ("key", "none", "", "k" * 1025, 1, None, b"key")),
)


async def meant_by(factory: ProviderFactory, call: str, arguments: tuple[object, ...]) -> tuple[object, ...]:
    """Return what a call returns or raises where there is one value, what is there after it, and what `delete` says."""
    outcome: object
    async with factory() as session:
        await session.setex("key", 60, "old")
        try:
            outcome = await getattr(session, call)(*arguments)
        except (NotTextError, TimeToLiveError, ValueRefusedError) as error:
            outcome = type(error), str(error)
        return call, outcome, await session.get("key"), await session.delete("key"), await session.delete("key")


@pytest.mark.row("P2", "B18")
async def test_every_call_means_the_same_to_every_provider(tmp_path: Path) -> None:
    in_file, in_memory = shared_file.factory(tmp_path / "values.db"), memory.factory(values=MemoryValues())

    meant = [await meant_by(in_file, *each) for each in BY_EVERY_CALL]

    assert meant == [await meant_by(in_memory, *each) for each in BY_EVERY_CALL]
    assert {type(told) for *_, first, second in meant for told in (first, second)} == {bool}
    await shared_file.close_files()


class TestMemory(HeldClockContract):
    @pytest.fixture
    def factory(self, clock: ManualClock) -> ProviderFactory:
        return memory.factory(values=MemoryValues(clock=clock))


class TestSqlite(HeldClockContract):
    @pytest.fixture
    def factory(self, tmp_path: Path, clock: ManualClock) -> ProviderFactory:
        return shared_file.factory(tmp_path / "values.db", clock=clock)
