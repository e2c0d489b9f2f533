"""What `workroot sweep` gets from the daemon: what ended, and what is looked at once more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest
from anyio.lowlevel import checkpoint

from fakes import DAY, FakePlaces, ManualClock
from workroot.control import Control
from workroot.core.changes import SessionSaved
from workroot.core.projects import Directory
from workroot.core.sessions import Owner, SessionContext, SessionId
from workroot.decisions import DecisionLog
from workroot.session_context import SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore

ADA = Owner("uid:1000")
STALE = 1_001


def session(number: int) -> SessionSaved:
    kept = SessionContext(
        session_id=SessionId(f"s{number}"),
        owner=ADA,
        working_directory=Directory("/work"),
        given_directory="/work",
        set_at=1.0,
        last_used=1.0,
    )
    return SessionSaved(kept, float(number))


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def manager(clock: ManualClock) -> AsyncIterator[SessionContextManager]:
    store = MemoryStore()
    await store.commit([session(number) for number in range(STALE)])
    async with SessionContextManager(
        store, FakePlaces({}), clock=clock, rules=SessionRules(sweep_seconds=1000 * DAY)
    ) as manager:
        yield manager


@pytest.fixture
def control(manager: SessionContextManager) -> Control:
    return Control(manager, DecisionLog(), owner=ADA, facts={}, stop=lambda _: None, connections=lambda: 0)


async def test_a_sweep_says_what_it_removed(control: Control, clock: ManualClock) -> None:
    assert await control("sweep", {}) == {"removed": []}

    clock.advance(DAY + 10.0 - (STALE - 1))
    assert await control("sweep", {}) == {"removed": [f"s{number}" for number in range(10)]}


async def test_a_sweep_says_what_it_postponed_and_for_how_long(
    control: Control, clock: ManualClock, manager: SessionContextManager
) -> None:
    clock.advance(2 * DAY)

    assert await control("sweep", {}) == {"removed": [], "postponed": {"sessions": STALE, "in_seconds": 60}}
    clock.advance(0.5)
    assert await control("sweep", {}) == {"removed": [], "postponed": {"sessions": STALE, "in_seconds": 60}}
    assert manager.postponed_sweep() == (STALE, 59.5)

    clock.advance(59.5)
    assert len((await control("sweep", {}))["removed"]) == STALE
    assert manager.postponed_sweep() is None


async def test_the_second_look_comes_by_itself(
    control: Control, clock: ManualClock, manager: SessionContextManager
) -> None:
    clock.advance(2 * DAY)
    await control("sweep", {})
    with anyio.fail_after(5):
        await clock.wait_sleepers(2)  # the sweep that is far away, and the second look

        clock.advance(60)

        while manager.postponed_sweep() is not None or await manager.get_session_count():
            await checkpoint()
