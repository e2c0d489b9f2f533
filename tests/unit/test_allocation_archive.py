"""Allocated sessions on their way from one daemon to another, in an archive."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fakes import DAY, HOUR, FakePlaces, ManualClock, place
from workroot.archive.document import records_of
from workroot.archive.records import Record, decode, encode
from workroot.archive.state import state_of
from workroot.archive.taking_in import TakingIn, keys_of
from workroot.core.allocations import SessionStatus
from workroot.core.sessions import Owner
from workroot.errors import SessionEndedError, TooManySessionsError
from workroot.session_context import SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore

ADA, EVE = Owner("uid:1000", "shop"), Owner("uid:1001", "shop")


@pytest.fixture
async def archived() -> SessionContextManager:
    """A manager that is to take an archive in."""
    return await manager_of(ManualClock())


async def manager_of(clock: ManualClock, *, most: int = 100) -> SessionContextManager:
    places = FakePlaces({"/work/app": place("/work/app")})
    rules = SessionRules(sweep_seconds=1e6 * DAY, max_allocated_sessions=most)
    manager = SessionContextManager(MemoryStore(), places, clock=clock, rules=rules)
    await manager._ledger.load()
    return manager


async def allocate(
    manager: SessionContextManager, name: str, *, seconds: float = HOUR, user: str | None = None
) -> None:
    await manager.allocations.allocate(ADA, session_id=name, user_id=user, seconds=seconds, values={"of": name})


async def take_in(manager: SessionContextManager, records: list[Record]) -> int:
    """Take an archive in, and return how many allocated sessions of it are new."""
    ledger, found = manager._ledger, state_of(records)
    taking = TakingIn(ledger, found, keys_of(found))
    await ledger.keep(taking.changes, taking.show)
    return taking.taken["allocation"]


def archive_of(manager: SessionContextManager) -> list[Record]:
    held = manager.held
    lines = [encode(record) for record in records_of(held.moment(), principal="uid:1000", now=held.idle.now())]
    return [decode(line.encode()) for line in lines]


def record(**changed: Any) -> Record:
    fields = {"kind": "allocation", "principal": ADA.principal, "sandbox": ADA.sandbox, "session_id": "there"}
    times = {"created_at": 5.0, "last_accessed": 5.0, "remaining_seconds": 60.0}
    return decode(json.dumps({**fields, **times, **changed}).encode())


async def status(manager: SessionContextManager, name: str) -> SessionStatus | None:
    found = await manager.allocations.find(ADA, name, user_id=None)
    return found.status if found is not None else None


async def test_a_session_goes_on_elsewhere_for_as_long_as_it_had_left_and_an_end_stays_one() -> None:
    there, here_clock = ManualClock(awake=77.0), ManualClock(wall=5.0, awake=1e6)
    old, here = await manager_of(there), await manager_of(here_clock)
    await allocate(old, "kept", seconds=HOUR, user="alice")
    await allocate(old, "ended")
    await allocate(old, "run-out", seconds=60.0)
    there.advance(HOUR / 4)
    await old.allocations.end(ADA, "ended", user_id=None, is_deleted=False)
    here_clock.advance(DAY)

    assert await take_in(here, archive_of(old)) == 3
    assert await take_in(here, archive_of(old)) == 0, "the second time nothing is new"

    assert await status(here, "ended") is SessionStatus.INVALIDATED
    assert await status(here, "run-out") is SessionStatus.EXPIRED
    here_clock.advance(HOUR * 3 / 4 - 1)
    assert await here.allocations.validate(ADA, "kept", user_id="alice")
    assert not await here.allocations.validate(ADA, "kept", user_id="bob")
    here_clock.advance(1)
    assert not await here.allocations.validate(ADA, "kept", user_id="alice")


async def test_what_ended_here_does_not_come_back_with_an_archive() -> None:
    clock = ManualClock()
    manager = await manager_of(clock)
    await allocate(manager, "fixed")
    await manager.set_working_directory("fixed", "/work/app", owner=ADA)
    archive = archive_of(manager)
    await manager.allocations.end(ADA, "fixed", user_id=None, is_deleted=True)

    await take_in(manager, archive)

    assert await status(manager, "fixed") is SessionStatus.TERMINATED
    with pytest.raises(SessionEndedError):
        await manager.set_working_directory("fixed", "/work/app", owner=ADA)


async def test_an_archive_of_more_sessions_than_may_be_loses_none_and_leaves_no_room() -> None:
    clock = ManualClock()
    old, here = await manager_of(clock), await manager_of(clock, most=2)
    for name in ("a", "b", "c"):
        await allocate(old, name)

    assert await take_in(here, archive_of(old)) == 3

    assert [await here.allocations.validate(ADA, name, user_id=None) for name in ("a", "b", "c")] == [True] * 3
    with pytest.raises(TooManySessionsError):
        await allocate(here, "d")
    for name in ("a", "b"):
        await here.allocations.end(ADA, name, user_id=None, is_deleted=True)
    await allocate(here, "d")


async def test_no_session_of_an_archive_lives_for_more_than_ten_years() -> None:
    clock = ManualClock()
    manager = await manager_of(clock)

    await take_in(manager, [record(remaining_seconds=1e11)])

    clock.advance(3650 * DAY - 1)
    assert await manager.allocations.validate(ADA, "there", user_id=None)
    clock.advance(1)
    assert not await manager.allocations.validate(ADA, "there", user_id=None)


async def test_an_end_in_an_archive_remembers_no_values() -> None:
    manager = await manager_of(ManualClock())

    await take_in(manager, [record(status="terminated", ended_at=6.0, metadata='{"secret":"x"}')])

    found = await manager.allocations.find(ADA, "there", user_id=None)
    assert found is not None
    assert (found.status, found.metadata) == (SessionStatus.TERMINATED, "{}")


@pytest.mark.parametrize(
    "metadata", ['{"x":' + "[" * 64 + "]" * 64 + "}", '{"x":NaN}', "[]", '{"x":"' + "y" * 65_536 + '"}']
)
def test_values_that_no_session_could_remember_are_refused(metadata: str) -> None:
    assert record(metadata='{"x":' + "[" * 63 + "]" * 63 + "}")
    with pytest.raises(ValueError, match="JSON object"):
        record(metadata=metadata)


async def test_an_end_in_an_archive_ends_nobody_who_works_here(archived: SessionContextManager) -> None:
    await archived.set_working_directory("there", "/work/app", owner=ADA)

    assert await take_in(archived, [record(status="terminated", ended_at=6.0)]) == 0

    assert await archived.get_working_directory("there", owner=ADA) == "/work/app"


async def test_an_id_under_which_somebody_else_works_here_is_not_taken(archived: SessionContextManager) -> None:
    await archived.set_working_directory("there", "/work/app", owner=EVE)

    assert await take_in(archived, [record()]) == 0

    assert await archived.get_working_directory("there", owner=EVE) == "/work/app"


async def test_nobody_works_again_under_an_id_that_has_ended_here(archived: SessionContextManager) -> None:
    elsewhere = await manager_of(ManualClock())
    await elsewhere.set_working_directory("fixed", "/work/app", owner=ADA)
    await allocate(archived, "fixed")
    await archived.allocations.end(ADA, "fixed", user_id=None, is_deleted=True)

    await take_in(archived, archive_of(elsewhere))

    assert archived.all_sessions() == []
