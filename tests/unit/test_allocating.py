"""Sessions that are allocated for a time: what is promised of them, over a store and a clock that the test holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.lowlevel import checkpoint

from fakes import DAY, HOUR, FakePlaces, HeldStore, ManualClock, place
from workroot.core.allocations import AllocatedSession, JsonValue, SessionStatus
from workroot.core.changes import AllocationSaved, AllocationTouched, SessionEnded
from workroot.core.sessions import Alias, Ending, Owner, SessionId, SessionKey
from workroot.core.signs import Signs
from workroot.errors import (
    ClosedSessionError,
    MetadataError,
    NotStartedError,
    SessionEndedError,
    SessionError,
    SessionTakenError,
    StoreUnavailableError,
    TimeToLiveError,
    TooManySessionsError,
    UnknownSessionError,
    UserIdError,
)
from workroot.redaction import short_session
from workroot.session_context import SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore

if TYPE_CHECKING:
    from workroot.allocating import LedgerAllocations
    from workroot.session_service import SessionService

ADA, EVE, ADA_ELSEWHERE = Owner("uid:1000", "shop"), Owner("uid:1001", "shop"), Owner("uid:1000", "library")
FIXED = "conversation-1"
RULES = SessionRules(sweep_seconds=1e6 * DAY)  # only the test sweeps


@dataclass
class World:
    """A manager with all that it stands on."""

    clock: ManualClock
    store: HeldStore
    manager: SessionContextManager

    @property
    def allocations(self) -> LedgerAllocations:
        return self.manager.allocations

    async def new(
        self,
        owner: Owner = ADA,
        *,
        session_id: str | None = None,
        user_id: str | None = None,
        seconds: float = HOUR,
        values: Mapping[str, object] | None = None,
    ) -> str:
        made = await self.allocations.allocate(
            owner, session_id=session_id, user_id=user_id, seconds=seconds, values=values or {}
        )
        return made.session.session_id

    async def status(self, session_id: str, owner: Owner = ADA) -> SessionStatus | None:
        found = await self.allocations.find(owner, session_id, user_id=None)
        return found.status if found is not None else None

    async def values(self, session_id: str, owner: Owner = ADA) -> dict[str, JsonValue]:
        found = await self.allocations.find(owner, session_id, user_id=None)
        assert found is not None
        return found.values()

    async def is_active(self, session_id: str, owner: Owner = ADA, user_id: str | None = None) -> bool:
        return await self.allocations.validate(owner, session_id, user_id=user_id)

    async def housekeep(self) -> None:
        await self.manager._upkeep.sweeper.housekeep()

    def restarted(self) -> SessionContextManager:
        """Return a second manager over what the store keeps."""
        return manager_over(self.store, self.clock)


def manager_over(store: HeldStore, clock: ManualClock) -> SessionContextManager:
    places = FakePlaces({"/work/app": place("/work/app", project="app"), "/work/tool": place("/work/tool")})
    return SessionContextManager(store, places, clock=clock, rules=RULES)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    clock, store = ManualClock(), HeldStore(MemoryStore())
    async with manager_over(store, clock) as manager:
        yield World(clock, store, manager)


def test_a_manager_of_this_process_is_a_session_service() -> None:
    service: SessionService = manager_over(HeldStore(MemoryStore()), ManualClock())

    assert service.allocations is not None


# Allocating


@pytest.mark.row("C2")
async def test_a_session_is_made_with_what_was_asked_for(world: World) -> None:
    made = await world.allocations.allocate(
        ADA, session_id=FIXED, user_id="alice", seconds=90.0, values={"plan": "pro"}
    )

    assert made.is_new
    assert (made.session.session_id, made.session.owner, made.session.user_id) == (FIXED, ADA, "alice")
    assert made.session.values() == {"plan": "pro"}
    assert made.session.status is SessionStatus.ACTIVE
    assert made.session.created_at == world.clock.wall()
    assert await world.allocations.expires_at(made.session) == world.clock.wall() + 90.0
    assert (await world.store.load()).allocations == (made.session,)


@pytest.mark.row("B12")
async def test_ids_that_are_minted_can_be_ids_and_hold_144_random_bits(world: World) -> None:
    ids = [await world.new() for _ in range(300)]

    assert len({session_id[-24:] for session_id in ids}) == 300, "24 characters of 6 bits each are random"
    for session_id in ids:
        assert await world.new(session_id=session_id) == session_id, "it passes the check of ids that callers choose"
    assert len({short_session(session_id) for session_id in ids}) == 300, "what is shown of them tells them apart"


async def test_ids_minted_one_after_another_lie_side_by_side(world: World) -> None:
    ids = []
    for _ in range(200):
        ids.append(await world.new())
        world.clock.advance(0.064)

    ups = sum(one < other for one, other in pairwise(ids))
    assert ups >= 198, "the time at their beginning starts anew every 4.6 hours"


@pytest.mark.row("B11")
@pytest.mark.parametrize("name", ["../../etc", "a\nb", "x" * 100_000, "", ".", "a b", "a/b", "\ud800", "-a"])
async def test_what_cannot_be_an_id_is_refused(world: World, name: str) -> None:
    with pytest.raises(SessionError, match="cannot be a session id"):
        await world.new(session_id=name)

    assert not await world.is_active(name)
    assert (await world.store.load()).allocations == ()


async def test_an_id_that_is_no_text_is_refused(world: World) -> None:
    with pytest.raises(SessionError, match="text"):
        await world.new(session_id=5)  # type: ignore[arg-type]  # what a caller without types may pass


@pytest.mark.parametrize("user_id", ["", "x" * 257, "a\nb", "\ud800", "\u200e", 5])
async def test_what_cannot_be_a_user_is_refused(world: World, user_id: str) -> None:
    with pytest.raises(UserIdError, match="user") as refused:
        await world.new(user_id=user_id)
    assert (refused.value.code, isinstance(refused.value, MetadataError)) == ("invalid_user", False)


@pytest.mark.row("B12", "B16", "C6")
@pytest.mark.parametrize("seconds", [0, -1, -0.0, float("nan"), float("inf"), -float("inf"), True, "60", 4e8, 10**400])
async def test_a_time_to_live_that_makes_no_sense_is_an_error_and_changes_nothing(world: World, seconds: float) -> None:
    session_id = await world.new()
    before = await world.store.load()

    with pytest.raises(TimeToLiveError):
        await world.new(seconds=seconds)
    with pytest.raises(TimeToLiveError):
        await world.allocations.extend(ADA, session_id, seconds, user_id=None)

    assert await world.store.load() == before


@pytest.mark.row("B12")
async def test_a_session_may_live_for_less_than_a_second_and_exactly_so(world: World) -> None:
    session_id = await world.new(seconds=0.25)

    world.clock.advance(0.2499)
    assert await world.is_active(session_id)
    world.clock.advance(0.0001)
    assert not await world.is_active(session_id)


@pytest.mark.row("B11")
async def test_a_stranger_cannot_take_over_an_id(world: World) -> None:
    await world.new(session_id=FIXED, user_id="alice", values={"secret": 1})

    with pytest.raises(SessionTakenError):
        await world.new(session_id=FIXED, user_id="mallory")
    with pytest.raises(SessionTakenError):
        await world.new(EVE, session_id=FIXED, user_id="alice")

    assert await world.values(FIXED) == {"secret": 1}


async def test_a_user_cannot_make_the_session_of_nobody_in_particular_her_own(world: World) -> None:
    await world.new(session_id=FIXED)

    with pytest.raises(SessionTakenError):
        await world.new(session_id=FIXED, user_id="mallory")


@pytest.mark.row("C2")
async def test_ones_own_id_is_ones_own_already_and_stays_as_it_is(world: World) -> None:
    await world.new(session_id=FIXED, user_id="alice", seconds=HOUR, values={"plan": "pro"})
    world.clock.advance(60)

    again = await world.allocations.allocate(ADA, session_id=FIXED, user_id="alice", seconds=DAY, values={"plan": "x"})

    assert not again.is_new
    assert again.session.values() == {"plan": "pro"}
    assert await world.allocations.expires_at(again.session) == world.clock.wall() - 60 + HOUR
    assert again.session.last_accessed == world.clock.wall(), "that was a use of it"


async def test_of_two_that_choose_one_id_at_once_one_gets_it(world: World) -> None:
    gate = world.store.hold()
    results: list[str] = []

    async def choose(user_id: str) -> None:
        try:
            await world.new(session_id=FIXED, user_id=user_id)
            results.append(user_id)
        except SessionTakenError:
            results.append("taken")

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(choose, "alice")
            await gate.reached.wait()
            tasks.start_soon(choose, "mallory")
            await checkpoint()
            gate.open()

    assert results == ["alice", "taken"]


@pytest.mark.row("B10", "C11")
async def test_sessions_of_two_sandboxes_never_meet(world: World) -> None:
    await world.new(ADA, session_id=FIXED, user_id="alice", values={"of": "shop"})

    assert not await world.is_active(FIXED, ADA_ELSEWHERE)
    assert await world.status(FIXED, ADA_ELSEWHERE) is None
    assert not await world.allocations.end(ADA_ELSEWHERE, FIXED, user_id=None, is_deleted=True)
    made = await world.allocations.allocate(ADA_ELSEWHERE, session_id=FIXED, user_id="alice", seconds=60, values={})
    assert made.is_new, "the same user gets another one there"
    assert await world.values(FIXED, ADA) == {"of": "shop"}
    assert await world.values(FIXED, ADA_ELSEWHERE) == {}


async def test_to_strangers_and_wrong_users_a_session_is_unknown_in_every_call(world: World) -> None:
    session_id = await world.new(user_id="alice", values={"n": 1, "items": []})
    assert await world.is_active(session_id)  # its use in this window is noted
    allocations = world.allocations

    for owner, user in ((EVE, None), (EVE, "alice"), (ADA, "bob"), (ADA_ELSEWHERE, "alice")):
        assert not await allocations.validate(owner, session_id, user_id=user)
        assert await allocations.find(owner, session_id, user_id=user) is None
        assert not await allocations.end(owner, session_id, user_id=user, is_deleted=True)
        for call in (
            allocations.update(owner, session_id, {"n": 2}, user_id=user, merge=True),
            allocations.increment(owner, session_id, "n", 1, user_id=user),
            allocations.append(owner, session_id, "items", 1, user_id=user, most=None),
            allocations.take(owner, session_id, "n", user_id=user),
            allocations.compare_and_set(owner, session_id, "n", 1, 2, user_id=user),
            allocations.extend(owner, session_id, 60, user_id=user),
        ):
            with pytest.raises(UnknownSessionError):
                await call

    assert await world.values(session_id) == {"n": 1, "items": []}
    assert await allocations.validate(ADA, session_id, user_id="alice")


async def test_a_session_of_nobody_in_particular_serves_every_user_of_its_program(world: World) -> None:
    session_id = await world.new()

    for user_id in ("alice", "bob", None):
        assert await world.is_active(session_id, user_id=user_id)


async def test_before_the_store_is_read_nobody_is_told_that_there_is_no_session() -> None:
    manager = manager_over(HeldStore(MemoryStore()), ManualClock())

    with pytest.raises(NotStartedError):
        await manager.allocations.validate(ADA, FIXED, user_id=None)
    with pytest.raises(NotStartedError):
        await manager.allocations.find(ADA, FIXED, user_id=None)
    with pytest.raises(NotStartedError):
        await manager.allocations.allocate(ADA, session_id=None, user_id=None, seconds=60, values={})


# Ends


@pytest.mark.row("C10")
async def test_each_end_is_kept_as_what_it_was(world: World) -> None:
    deleted, void, over = [await world.new(seconds=60, values={"secret": 1}) for _ in range(3)]

    assert await world.allocations.end(ADA, deleted, user_id=None, is_deleted=True)
    assert await world.allocations.end(ADA, void, user_id=None, is_deleted=False)
    world.clock.advance(60)
    assert await world.allocations.cleanup(ADA) == 1

    kept = {each.session_id: each for each in (await world.store.load()).allocations}
    assert kept[SessionId(deleted)].status is SessionStatus.TERMINATED
    assert kept[SessionId(void)].status is SessionStatus.INVALIDATED
    assert kept[SessionId(over)].status is SessionStatus.EXPIRED
    assert all(each.metadata == "{}" and each.ended_at is not None for each in kept.values()), "nothing else is kept"


@pytest.mark.row("C7", "B13")
async def test_an_end_is_final(world: World) -> None:
    allocations = world.allocations
    deleted, over = await world.new(), await world.new(seconds=60)
    assert await world.is_active(deleted)
    await allocations.end(ADA, deleted, user_id=None, is_deleted=True)
    world.clock.advance(60)

    for session_id in (deleted, over):
        assert not await world.is_active(session_id)
        assert not await allocations.end(ADA, session_id, user_id=None, is_deleted=True)
        for call in (
            allocations.update(ADA, session_id, {}, user_id=None, merge=True),
            allocations.increment(ADA, session_id, "n", 1, user_id=None),
            allocations.extend(ADA, session_id, 60, user_id=None),
            allocations.allocate(ADA, session_id=session_id, user_id=None, seconds=60, values={}),
        ):
            with pytest.raises(SessionEndedError):
                await call
        with pytest.raises(SessionTakenError):  # a stranger learns no more than that
            await world.new(EVE, session_id=session_id)
        assert not await world.is_active(session_id)


@pytest.mark.row("B13")
async def test_what_was_deleted_stays_so_after_a_restart(world: World) -> None:
    session_id = await world.new()
    await world.allocations.validate(ADA, session_id, user_id=None)
    await world.allocations.end(ADA, session_id, user_id=None, is_deleted=True)
    await world.manager.stop()  # late writes of its use come after its end

    async with world.restarted() as after:
        assert not await after.allocations.validate(ADA, session_id, user_id=None)
        with pytest.raises(SessionEndedError, match="terminated"):
            await after.allocations.increment(ADA, session_id, "n", 1, user_id=None)


async def test_time_runs_out_on_the_access_itself_without_any_sweep(world: World) -> None:
    session_id = await world.new(seconds=60, values={"secret": 1})
    assert await world.is_active(session_id)
    world.clock.advance(60)

    assert not await world.is_active(session_id), "though its use in this window is noted"
    found = await world.allocations.find(ADA, session_id, user_id=None)
    assert found is not None
    assert (found.status, found.values()) == (SessionStatus.EXPIRED, {})
    assert await world.allocations.expires_at(found) == world.clock.wall()
    with pytest.raises(SessionEndedError, match="expired"):
        await world.allocations.take(ADA, session_id, "secret", user_id=None)
    assert not await world.allocations.end(ADA, session_id, user_id=None, is_deleted=True)


async def test_the_sweep_keeps_that_time_has_run_out_and_when(world: World) -> None:
    session_id = await world.new(seconds=60)
    due = world.clock.wall() + 60
    world.clock.advance(HOUR)

    await world.housekeep()

    [kept] = (await world.store.load()).allocations
    assert (kept.status, kept.ended_at) == (SessionStatus.EXPIRED, due)
    assert await world.status(session_id) is SessionStatus.EXPIRED


@pytest.mark.row("C8", "B17")
async def test_a_cleanup_counts_every_session_that_is_over_in_the_store_too(world: World) -> None:
    for _ in range(2000):
        await world.new(seconds=60)
    await world.new(ADA_ELSEWHERE, seconds=60)
    staying = await world.new(seconds=61)
    world.clock.advance(60)

    assert await world.allocations.cleanup(ADA) == 2000
    assert await world.allocations.cleanup(ADA) == 0

    kept = (await world.store.load()).allocations
    assert sum(each.status is SessionStatus.EXPIRED for each in kept) == 2000
    assert await world.is_active(staying)
    assert await world.allocations.cleanup(ADA_ELSEWHERE) == 1


@pytest.mark.row("B17")
async def test_ended_sessions_are_forgotten_after_a_while_and_their_ids_are_free_again(world: World) -> None:
    await world.new(session_id=FIXED)
    await world.allocations.end(ADA, FIXED, user_id=None, is_deleted=True)
    world.clock.advance(30 * DAY)
    await world.housekeep()
    with pytest.raises(SessionEndedError):
        await world.new(session_id=FIXED)

    world.clock.advance(1)
    await world.housekeep()

    assert (await world.store.load()).allocations == ()
    assert await world.status(FIXED) is None
    assert await world.new(session_id=FIXED) == FIXED


async def test_no_more_ends_are_remembered_than_may_be(world: World) -> None:
    world.manager.change_rules(replace(RULES, max_ended_sessions=3))
    ids = []
    for _ in range(6):
        ids.append(session_id := await world.new())
        world.clock.advance(1)
        await world.allocations.end(ADA, session_id, user_id=None, is_deleted=True)

    kept = {each.session_id for each in (await world.store.load()).allocations}
    assert kept == set(ids[3:])
    assert [await world.status(each) is None for each in ids] == [True] * 3 + [False] * 3


@pytest.mark.row("B12", "B16")
async def test_more_time_is_added_to_the_deadline_not_to_now(world: World) -> None:
    session_id = await world.new(seconds=100.5)
    world.clock.advance(60)

    extended = await world.allocations.extend(ADA, session_id, 0.25, user_id=None)

    assert await world.allocations.expires_at(extended) == world.clock.wall() + 40.75
    world.clock.advance(40.5)
    assert await world.is_active(session_id)
    world.clock.advance(0.25)
    assert not await world.is_active(session_id)


async def test_no_session_lives_for_more_than_ten_years_by_being_extended(world: World) -> None:
    session_id = await world.new(seconds=9 * 365 * DAY)

    with pytest.raises(TimeToLiveError, match="seconds from now"):
        await world.allocations.extend(ADA, session_id, 365 * DAY + 1, user_id=None)

    await world.allocations.extend(ADA, session_id, 365 * DAY - 1, user_id=None)


async def test_a_wall_clock_that_jumps_ends_nothing(world: World) -> None:
    session_id = await world.new(seconds=HOUR)

    world.clock.jump_wall_to(world.clock.wall() + DAY)
    await world.housekeep()
    assert await world.is_active(session_id)
    world.clock.jump_wall_to(world.clock.wall() - 2 * DAY)
    await world.housekeep()
    world.clock.advance(HOUR - 1)
    assert await world.is_active(session_id)

    world.clock.advance(1)
    assert not await world.is_active(session_id), "nor does it let anything live on"


async def test_times_to_live_go_on_over_a_restart_by_the_time_that_the_machine_was_awake(world: World) -> None:
    session_id = await world.new(seconds=HOUR)
    world.clock.advance(HOUR / 2)
    await world.manager.stop()
    world.clock.advance(HOUR / 4)

    async with world.restarted() as after:
        world.clock.advance(HOUR / 4 - 1)
        assert await after.allocations.validate(ADA, session_id, user_id=None)
        world.clock.advance(1)
        assert not await after.allocations.validate(ADA, session_id, user_id=None)


async def test_a_crash_in_the_first_minute_takes_no_time_back_from_anybody(world: World) -> None:
    session_id = await world.new(seconds=HOUR)
    await world.manager._ledger.end_window()  # what is written behind is written within seconds
    world.clock.advance(HOUR / 2)

    async with world.restarted() as after:  # nobody stopped the one before
        world.clock.advance(HOUR / 2)
        assert not await after.allocations.validate(ADA, session_id, user_id=None)


@pytest.mark.row("B12", "B13")
async def test_whoever_is_over_stays_so_though_the_machine_fails_before_anything_is_written_behind(
    world: World,
) -> None:
    short, long = await world.new(seconds=1.25), await world.new(session_id=FIXED, seconds=HOUR)
    world.clock.advance(1.25)
    assert not await world.is_active(short)

    async with world.restarted() as after:  # nobody stopped the one before
        assert not await after.allocations.validate(ADA, short, user_id=None)
        world.clock.advance(HOUR - 1.25)
        assert not await after.allocations.validate(ADA, long, user_id=None), "nor has any other more time"


async def test_where_the_clock_stands_is_kept_with_the_first_allocation_that_the_store_keeps_and_no_other(
    world: World,
) -> None:
    world.store.fail(StoreUnavailableError("the disk is full"))
    with pytest.raises(StoreUnavailableError):
        await world.new(session_id=FIXED)
    assert (await world.store.load()).idle_mark is None
    world.clock.advance(1)

    await world.new(session_id=FIXED)
    first = (await world.store.load()).idle_mark
    world.clock.advance(1)
    await world.new()
    await world.allocations.increment(ADA, FIXED, "n", 1, user_id=None)

    assert first is not None
    assert first.idle == 1.0
    assert (await world.store.load()).idle_mark == first


# Together with where it works


async def test_a_session_that_is_allocated_may_work_in_a_directory_while_it_is_active(world: World) -> None:
    session_id = await world.new(seconds=60)

    await world.manager.set_working_directory(session_id, "/work/app", owner=ADA)
    assert await world.manager.get_working_directory(session_id, owner=ADA) == "/work/app"
    world.clock.advance(60)

    assert await world.manager.get_working_directory(session_id, owner=ADA) is None
    with pytest.raises(SessionEndedError, match="expired"):
        world.manager.get_session(session_id, owner=ADA)
    with pytest.raises(SessionEndedError, match="expired"):
        await world.manager.set_working_directory(session_id, "/work/tool", owner=ADA)


async def test_a_place_of_work_that_is_read_all_the_time_ends_with_an_allocation_that_came_later(world: World) -> None:
    await world.manager.set_working_directory(FIXED, "/work/app", owner=ADA)
    assert await world.manager.get_working_directory(FIXED, owner=ADA) == "/work/app"
    await world.new(session_id=FIXED, seconds=60)
    assert await world.manager.get_working_directory(FIXED, owner=ADA) == "/work/app"

    world.clock.advance(60)

    assert await world.manager.get_working_directory(FIXED, owner=ADA) is None


async def test_a_conversation_does_not_go_on_in_a_session_whose_time_has_run_out(world: World) -> None:
    conversation = Signs(alias=Alias("conversation"))
    opened = (await world.manager.enter(ADA, conversation, "/work/app")).resolution.session
    assert opened is not None
    await world.new(session_id=opened.session_id, seconds=60)
    before = await world.manager.resolve(ADA, conversation)

    world.clock.advance(60)

    assert before.session is not None
    assert (await world.manager.resolve(ADA, conversation)).session is None
    assert world.manager.default_session(ADA, Alias("conversation")) is None
    after = (await world.manager.enter(ADA, conversation, "/work/tool")).resolution.session
    assert after is not None
    assert after.session_id != opened.session_id, "as after the sweep"


async def test_a_conversation_that_waits_while_the_time_runs_out_gets_a_session_of_its_own(world: World) -> None:
    conversation = Signs(alias=Alias("conversation"))
    opened = (await world.manager.enter(ADA, conversation, "/work/app")).resolution.session
    assert opened is not None
    await world.new(session_id=opened.session_id, seconds=60)
    entered: list[str | None] = []

    async def enter() -> None:
        resolution = (await world.manager.enter(ADA, conversation, "/work/tool")).resolution
        entered.append(resolution.session.session_id if resolution.session is not None else None)

    with anyio.fail_after(5):
        async with world.manager.turns.take(opened.key):
            waiting = asyncio.create_task(enter())
            while not world.manager.turns.waiting(opened.key):
                await checkpoint()
            world.clock.advance(60)
        await waiting

    assert entered != [opened.session_id]


async def test_a_handle_that_was_allocated_enters_a_directory_in_which_a_call_is_then(world: World) -> None:
    session_id = await world.new()

    before = await world.manager.resolve(ADA, Signs(session_id=session_id))
    entered = await world.manager.enter(ADA, Signs(session_id=session_id), "/work/app")
    after = await world.manager.resolve(ADA, Signs(session_id=session_id))

    assert before.session is None
    assert entered.resolution.session is not None
    assert entered.resolution.session.session_id == session_id
    assert after.place is not None
    assert after.place.directory == "/work/app"


async def test_a_stranger_cannot_work_under_an_id_that_is_allocated(world: World) -> None:
    session_id = await world.new()

    with pytest.raises(UnknownSessionError):
        await world.manager.set_working_directory(session_id, "/work/app", owner=EVE)
    with pytest.raises(UnknownSessionError):
        await world.manager.enter(EVE, Signs(session_id=session_id), "/work/app")


@pytest.mark.parametrize(
    ("how", "ending"), [("deleted", Ending.CLOSED), ("invalidated", Ending.CLOSED), ("expired", Ending.EXPIRED)]
)
async def test_the_end_of_an_allocated_session_ends_where_it_works_in_the_same_commit(
    world: World, how: str, ending: Ending
) -> None:
    session_id = await world.new(seconds=60)
    await world.manager.set_working_directory(session_id, "/work/app", owner=ADA)
    before = len(world.store.commits)

    if how == "expired":
        world.clock.advance(60)
        await world.housekeep()
    else:
        await world.allocations.end(ADA, session_id, user_id=None, is_deleted=how == "deleted")

    [both] = [each for each in world.store.commits[before:] if any(isinstance(one, AllocationSaved) for one in each)]
    assert [type(change) for change in both] == [AllocationSaved, SessionEnded]
    state = await world.store.load()
    assert (state.sessions, [each.ending for each in state.ended]) == ((), [ending])
    assert [each.status for each in state.allocations] == [SessionStatus(how.replace("deleted", "terminated"))]
    with pytest.raises(SessionEndedError):
        await world.manager.set_working_directory(session_id, "/work/app", owner=ADA)


async def test_nobody_works_under_an_id_whose_allocation_is_over(world: World) -> None:
    session_id = await world.new()
    await world.allocations.end(ADA, session_id, user_id=None, is_deleted=True)

    with pytest.raises(SessionEndedError, match="terminated"):
        await world.manager.set_working_directory(session_id, "/work/app", owner=ADA)
    with pytest.raises(UnknownSessionError):
        await world.manager.set_working_directory(session_id, "/work/app", owner=EVE)


async def test_closing_a_session_ends_its_allocation_in_the_same_commit(world: World) -> None:
    session_id = await world.new()
    await world.manager.set_working_directory(session_id, "/work/app", owner=ADA)
    before = len(world.store.commits)

    await world.manager.close_session(session_id, owner=ADA)

    [both] = world.store.commits[before:]
    assert [type(change) for change in both] == [AllocationSaved, SessionEnded]
    assert await world.status(session_id) is SessionStatus.TERMINATED
    assert not await world.is_active(session_id)


async def test_an_id_under_which_somebody_works_can_be_allocated_by_that_owner_alone(world: World) -> None:
    await world.manager.set_working_directory(FIXED, "/work/app", owner=ADA)

    with pytest.raises(SessionTakenError):
        await world.new(EVE, session_id=FIXED)
    assert await world.new(ADA, session_id=FIXED) == FIXED
    assert await world.manager.get_working_directory(FIXED, owner=ADA) == "/work/app"


async def test_an_id_whose_session_was_closed_is_not_allocated_again(world: World) -> None:
    await world.manager.set_working_directory(FIXED, "/work/app", owner=ADA)
    await world.manager.close_session(FIXED, owner=ADA)

    with pytest.raises(SessionEndedError, match="closed"):
        await world.new(ADA, session_id=FIXED)
    with pytest.raises(SessionTakenError):
        await world.new(EVE, session_id=FIXED)
    with pytest.raises(ClosedSessionError):
        await world.manager.set_working_directory(FIXED, "/work/app", owner=ADA)


async def test_an_idle_session_goes_on_for_as_long_as_it_is_allocated(world: World) -> None:
    await world.new(session_id=FIXED, seconds=3 * DAY)
    for session_id in (FIXED, "not-allocated"):
        await world.manager.set_working_directory(session_id, "/work/app", owner=ADA)

    world.clock.advance(2 * DAY)
    await world.manager._ledger.end_window()
    await world.housekeep()
    assert [session.session_id for session in world.manager.all_sessions()] == [FIXED]
    assert world.manager.stale_count() == 0

    world.clock.advance(DAY)
    await world.housekeep()
    assert world.manager.all_sessions() == []


# Use


@pytest.mark.row("C3", "C12")
async def test_a_use_is_noted_and_does_not_make_a_session_live_longer(world: World) -> None:
    session_id = await world.new(seconds=HOUR)
    due = world.clock.wall() + HOUR
    world.clock.advance(60)

    assert await world.is_active(session_id)

    found = await world.allocations.find(ADA, session_id, user_id=None)
    assert found is not None
    assert (found.last_accessed, await world.allocations.expires_at(found)) == (world.clock.wall(), due)


async def test_a_use_is_written_late_and_once_in_a_window(world: World) -> None:
    session_id = await world.new()
    await world.manager._ledger.end_window()
    world.clock.advance(10)
    before = len(world.store.commits)

    for _ in range(100):
        assert await world.is_active(session_id)
    assert len(world.store.commits) == before, "nothing is written for a question"
    await world.manager._ledger.end_window()

    [late] = world.store.commits[before:]
    assert [change for change in late if isinstance(change, AllocationTouched)] == [
        AllocationTouched(SessionKey("shop", SessionId(session_id)), world.clock.wall())
    ]
    world.clock.advance(10)
    assert await world.is_active(session_id)
    found = await world.allocations.find(ADA, session_id, user_id=None)
    assert found is not None
    assert found.last_accessed == world.clock.wall(), "the next window notes it anew"


async def test_a_look_is_no_use(world: World) -> None:
    session_id = await world.new()
    world.clock.advance(60)

    await world.allocations.find(ADA, session_id, user_id=None)

    found = await world.allocations.find(ADA, session_id, user_id=None)
    assert found is not None
    assert found.last_accessed == found.created_at


@pytest.mark.row("C9")
async def test_figures_are_of_one_sandbox(world: World) -> None:
    session_id, over, gone = await world.new(), await world.new(seconds=60), await world.new()
    await world.allocations.end(ADA, gone, user_id=None, is_deleted=True)
    for each in (session_id, session_id, over, gone, "made-up"):
        await world.is_active(each)
    world.clock.advance(60)

    figures = {"active": 1, "hits": 3, "misses": 2, "expired": 1, "ended": 1, "most": 100_000}
    assert await world.allocations.stats(ADA) == figures
    await world.housekeep()
    assert await world.allocations.stats(ADA) == figures, "whether the sweep came by or not"
    assert (await world.allocations.stats(ADA_ELSEWHERE))["active"] == 0


# What it remembers


@pytest.mark.row("C5", "B15")
async def test_a_hundred_that_add_to_a_number_at_once_lose_none(world: World) -> None:
    session_id = await world.new()
    results: list[int | float] = []

    async def count() -> None:
        results.append(await world.allocations.increment(ADA, session_id, "calls", 1, user_id=None))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(count)

    assert sorted(results) == list(range(1, 101))
    assert await world.values(session_id) == {"calls": 100}
    [kept] = (await world.store.load()).allocations
    assert kept.values() == {"calls": 100}


@pytest.mark.row("B15", "C13")
async def test_values_that_are_set_at_once_are_all_there(world: World) -> None:
    session_id = await world.new(values={"codes": ["a"], "once": 42})
    allocations, taken = world.allocations, []

    async def remember(number: int) -> None:
        await allocations.update(ADA, session_id, {f"k{number}": number}, user_id=None, merge=True)
        await allocations.append(ADA, session_id, "log", number, user_id=None, most=None)

    async def take() -> None:
        taken.append(await allocations.take(ADA, session_id, "once", user_id=None))

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(remember, number)
                tasks.start_soon(take)

    values = await world.values(session_id)
    log = values.pop("log")
    assert isinstance(log, list)
    assert sorted(log, key=str) == sorted(range(20), key=str)
    assert values == {"codes": ["a"], **{f"k{number}": number for number in range(20)}}
    assert sorted(taken, key=str) == [42] + [None] * 19, "one gets it"


async def test_of_many_that_compare_and_set_one_value_one_succeeds(world: World) -> None:
    session_id = await world.new()
    won: list[int] = []

    async def claim(number: int) -> None:
        if await world.allocations.compare_and_set(ADA, session_id, "leader", None, number, user_id=None):
            won.append(number)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(claim, number)

    assert len(won) == 1
    assert await world.values(session_id) == {"leader": won[0]}


@pytest.mark.row("C5")
async def test_values_are_set_beside_the_others_or_instead_of_them(world: World) -> None:
    session_id = await world.new(values={"a": 1, "deep": {"x": 1}})

    await world.allocations.update(ADA, session_id, {"b": 2, "deep": {"y": 1}}, user_id=None, merge=True)
    assert await world.values(session_id) == {"a": 1, "b": 2, "deep": {"y": 1}}
    await world.allocations.update(ADA, session_id, {"c": 3}, user_id=None, merge=False)
    assert await world.values(session_id) == {"c": 3}


@pytest.mark.row("B15")
@pytest.mark.parametrize(
    "values",
    [
        {"x": object()},
        {"x": float("nan")},
        {5: "x"},
        {"x": "\ud800"},
        {"x": "y" * 70_000},
        {"x": b"bytes"},
        {"x": {1: "one", "1": "another"}},
        {"x": [({None: 0},)]},
        ["not a dictionary"],
    ],
)
async def test_what_cannot_be_remembered_is_an_error_and_leaves_the_session_whole(
    world: World, values: Mapping[str, object]
) -> None:
    session_id = await world.new(values={"a": 1})

    with pytest.raises(MetadataError):
        await world.new(values=values)
    for merge in (True, False):
        with pytest.raises(MetadataError):
            await world.allocations.update(ADA, session_id, values, user_id=None, merge=merge)

    assert await world.values(session_id) == {"a": 1}
    assert await world.is_active(session_id)


@pytest.mark.row("B14")
async def test_values_are_copies_on_the_way_in_and_on_the_way_out(world: World) -> None:
    given: dict[str, object] = {"nested": {"n": 1}}
    session_id = await world.new(values=given)
    given["nested"] = {"n": 2}

    (await world.values(session_id))["nested"] = "changed"

    assert await world.values(session_id) == {"nested": {"n": 1}}


@pytest.mark.parametrize("name", [5, None, ["x"], b"x"])
async def test_a_value_whose_name_is_no_text_is_refused_by_every_call(world: World, name: str) -> None:
    session_id, allocations = await world.new(values={"5": 1, "null": 1}), world.allocations

    for call in (
        allocations.increment(ADA, session_id, name, 1, user_id=None),
        allocations.append(ADA, session_id, name, 1, user_id=None, most=None),
        allocations.take(ADA, session_id, name, user_id=None),
        allocations.compare_and_set(ADA, session_id, name, "there", 1, user_id=None),
    ):
        with pytest.raises(MetadataError, match="name of a value"):
            await call

    assert await world.values(session_id) == {"5": 1, "null": 1}


async def test_a_list_keeps_so_many_as_were_asked_for(world: World) -> None:
    session_id = await world.new()

    lengths = [await world.allocations.append(ADA, session_id, "log", n, user_id=None, most=3) for n in range(5)]

    assert lengths == [1, 2, 3, 3, 3]
    assert await world.values(session_id) == {"log": [2, 3, 4]}


# Bounds and trouble


async def test_no_more_sessions_are_allocated_than_may_be_and_those_that_are_over_give_way(world: World) -> None:
    world.manager.change_rules(replace(RULES, max_allocated_sessions=3))
    for seconds in (60, HOUR, HOUR):
        await world.new(seconds=seconds)

    with pytest.raises(TooManySessionsError, match="3"):
        await world.new(ADA_ELSEWHERE)
    world.clock.advance(60)

    assert await world.is_active(await world.new())
    with pytest.raises(TooManySessionsError):
        await world.new(session_id=FIXED)


async def test_of_many_that_come_at_once_no_more_get_in_than_may_and_no_fewer(world: World) -> None:
    world.manager.change_rules(replace(RULES, max_allocated_sessions=50))
    results: list[bool] = []

    async def come(number: int) -> None:
        try:
            await world.new(session_id=f"chosen-{number}" if number % 2 else None)
            results.append(True)
        except TooManySessionsError:
            results.append(False)

    async with anyio.create_task_group() as tasks:
        for number in range(80):
            tasks.start_soon(come, number)

    assert sum(results) == 50
    assert (await world.allocations.stats(ADA))["active"] == 50


async def test_all_sessions_together_remember_no_more_than_half_of_what_the_store_may_take(world: World) -> None:
    world.manager.change_rules(replace(RULES, max_store_bytes=200_000))
    full = [await world.new(values={"text": "x" * 48_000}) for _ in range(2)]

    with pytest.raises(MetadataError, match="together"):
        await world.new(values={"text": "x" * 8_000})
    with pytest.raises(MetadataError, match="together"):
        await world.allocations.append(ADA, full[0], "log", "x" * 8_000, user_id=None, most=None)
    assert await world.allocations.take(ADA, full[0], "text", user_id=None) == "x" * 48_000
    await world.allocations.end(ADA, full[1], user_id=None, is_deleted=True)

    for _ in range(2):
        await world.new(values={"text": "x" * 48_000})


@pytest.mark.row("B13")
async def test_a_store_in_trouble_is_an_error_and_nothing_changes(world: World) -> None:
    session_id = await world.new(values={"n": 1})
    before = await world.store.load()
    allocations = world.allocations
    calls = (
        world.new,
        lambda: world.new(session_id=FIXED),
        lambda: allocations.increment(ADA, session_id, "n", 1, user_id=None),
        lambda: allocations.extend(ADA, session_id, 60, user_id=None),
        lambda: allocations.end(ADA, session_id, user_id=None, is_deleted=True),
    )

    for call in calls:
        world.store.fail(StoreUnavailableError("the disk is full"))
        with pytest.raises(StoreUnavailableError):
            await call()

    assert await world.store.load() == before
    assert await world.values(session_id) == {"n": 1}
    assert await world.is_active(session_id)
    assert await allocations.increment(ADA, session_id, "n", 1, user_id=None) == 2


@pytest.mark.parametrize("steps", range(8))
async def test_a_call_cancelled_at_any_step_leaves_memory_and_store_at_one(world: World, steps: int) -> None:
    session_id = await world.new()
    allocations = world.allocations
    calls = (
        world.new,
        lambda: world.new(session_id=FIXED),
        lambda: allocations.increment(ADA, session_id, "n", 1, user_id=None),
        lambda: allocations.extend(ADA, session_id, 60, user_id=None),
        lambda: allocations.end(ADA, session_id, user_id=None, is_deleted=True),
    )
    for call in calls:
        task = asyncio.ensure_future(call())
        for _ in range(steps):
            await checkpoint()
        task.cancel()
        await asyncio.wait([task])
    await world.store.wait_written()

    held, kept = world.manager._ledger.allocations.all(), (await world.store.load()).allocations
    assert by_id(held) == by_id(kept)
    with anyio.fail_after(5):
        assert await world.is_active(await world.new())
        if (await world.status(session_id)) is SessionStatus.ACTIVE:
            await allocations.increment(ADA, session_id, "n", 1, user_id=None)


def by_id(allocations: tuple[AllocatedSession, ...]) -> dict[str, tuple[object, ...]]:
    return {each.session_id: (each.status, each.metadata, each.deadline, each.revision) for each in allocations}


async def test_allocating_logs_nothing_a_session(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    caplog.clear()

    session_id = await world.new()
    await world.is_active(session_id)
    await world.allocations.end(ADA, session_id, user_id=None, is_deleted=True)

    assert caplog.records == []


async def test_what_a_lost_file_is_written_anew_from_holds_the_allocations_and_their_ends(world: World) -> None:
    active, gone = await world.new(values={"n": 1}), await world.new()
    await world.allocations.end(ADA, gone, user_id=None, is_deleted=True)

    snapshot, moment = world.manager.held.snapshot(), world.manager.held.moment()

    assert {each.session_id for each in snapshot.allocations} == {active, gone}
    assert tuple(moment.allocations) == snapshot.allocations


async def test_what_a_store_turns_out_to_hold_has_as_much_time_left_here_as_there(world: World) -> None:
    other = ManualClock()
    theirs = HeldStore(MemoryStore())
    async with manager_over(theirs, other) as there:
        made = await there.allocations.allocate(ADA, session_id=FIXED, user_id=None, seconds=HOUR, values={})
        other.advance(HOUR / 2)
    world.clock.advance(5 * HOUR)
    world.clock.jump_wall_to(other.wall())

    world.manager.held.adopt(await theirs.load())

    found = await world.allocations.find(ADA, made.session.session_id, user_id=None)
    assert found is not None
    assert found.deadline - world.manager.held.idle.now() == pytest.approx(HOUR / 2)
    assert await world.is_active(FIXED)


async def test_a_reader_of_a_place_of_work_sees_the_allocation_that_a_store_turns_out_to_hold(world: World) -> None:
    theirs = HeldStore(MemoryStore())
    async with manager_over(theirs, ManualClock()) as there:
        await there.allocations.allocate(ADA, session_id=FIXED, user_id=None, seconds=60, values={})
    await world.manager.set_working_directory(FIXED, "/work/app", owner=ADA)
    assert await world.manager.get_working_directory(FIXED, owner=ADA) == "/work/app"

    world.manager.held.adopt(await theirs.load())
    world.clock.advance(60)

    assert await world.manager.get_working_directory(FIXED, owner=ADA) is None


async def test_a_session_that_is_allocated_does_not_give_way_to_another_while_one_that_is_not_may(world: World) -> None:
    await world.new(session_id=FIXED, seconds=DAY)
    for session_id in (FIXED, "not-allocated"):
        await world.manager.set_working_directory(session_id, "/work/app", owner=ADA)
        world.clock.advance(60)
    await world.manager._ledger.end_window()
    world.manager.change_rules(replace(RULES, max_sessions=2))

    await world.manager.set_working_directory("another", "/work/app", owner=ADA)

    there = {session.session_id for session in world.manager.all_sessions()}
    assert there == {FIXED, "another"}


@pytest.mark.parametrize("call", ["update", "take", "compare and set"])
async def test_a_change_that_changes_nothing_is_a_use_and_is_not_written_at_once(world: World, call: str) -> None:
    session_id, allocations = await world.new(values={"a": 1}), world.allocations
    commits = len(world.store.commits)
    world.clock.advance(60)

    if call == "update":
        await allocations.update(ADA, session_id, {"a": 1}, user_id=None, merge=True)
    elif call == "take":
        assert await allocations.take(ADA, session_id, "nothing", user_id=None) is None
    else:
        assert not await allocations.compare_and_set(ADA, session_id, "a", 2, 3, user_id=None)

    found = await allocations.find(ADA, session_id, user_id=None)
    assert found is not None
    assert found.last_accessed == world.clock.wall()
    assert len(world.store.commits) == commits


async def test_each_change_is_a_newer_revision_and_a_use(world: World) -> None:
    session_id, allocations = await world.new(), world.allocations
    found = []

    for number in range(3):
        world.clock.advance(60)
        if number == 1:
            await allocations.extend(ADA, session_id, 60, user_id=None)
        else:
            await allocations.increment(ADA, session_id, "n", 1, user_id=None)
        found.append(await allocations.find(ADA, session_id, user_id=None))

    assert [each.revision for each in found if each is not None] == [2, 3, 4]
    assert [world.clock.wall() - each.last_accessed for each in found if each is not None] == [120, 60, 0]


async def test_where_there_is_room_for_no_letter_more_values_may_change_and_become_fewer(world: World) -> None:
    session_id, allocations = await world.new(values={"a": "x" * 1000}), world.allocations
    world.manager.change_rules(replace(RULES, max_store_bytes=2 * len('{"a":""}' + "x" * 1000)))

    await allocations.update(ADA, session_id, {"a": "y" * 1000}, user_id=None, merge=True)
    with pytest.raises(MetadataError, match="too many"):
        await allocations.update(ADA, session_id, {"a": "y" * 1001}, user_id=None, merge=True)
    assert await allocations.take(ADA, session_id, "a", user_id=None) == "y" * 1000

    assert await world.new(values={"a": 1})


async def test_closing_a_session_whose_time_has_run_out_says_so_of_its_allocation(world: World) -> None:
    session_id = await world.new(seconds=60)
    await world.manager.set_working_directory(session_id, "/work/app", owner=ADA)
    world.clock.advance(61)

    await world.manager.close_session(session_id, owner=ADA)

    [kept] = (await world.store.load()).allocations
    assert (kept.status, kept.ended_at) == (SessionStatus.EXPIRED, world.clock.wall() - 1)


async def test_whoever_is_in_the_middle_of_a_change_when_the_time_runs_out_ends_after_it(world: World) -> None:
    session_id = await world.new(seconds=60)
    gate = world.store.hold()
    change = asyncio.create_task(world.allocations.increment(ADA, session_id, "n", 1, user_id=None))
    with anyio.fail_after(5):
        await gate.reached.wait()
        world.clock.advance(60)

        assert await world.allocations.cleanup(ADA) == 0
        gate.open()
        assert await change == 1

    assert await world.allocations.cleanup(ADA) == 1
    assert await world.status(session_id) is SessionStatus.EXPIRED


async def test_a_sweep_forgets_the_ends_that_are_too_many_since_fewer_may_be_remembered(world: World) -> None:
    for number in range(20):
        await world.allocations.end(ADA, await world.new(session_id=f"s{number}"), user_id=None, is_deleted=True)
        world.clock.advance(1)
    world.manager.change_rules(replace(RULES, max_ended_sessions=5))

    await world.housekeep()

    assert sorted(each.session_id for each in (await world.store.load()).allocations) == [
        f"s{n}" for n in range(15, 20)
    ]
    assert await world.status("s14") is None


async def test_an_id_that_is_given_again_outlives_that_more_ends_are_forgotten(world: World) -> None:
    for _ in range(3):
        await world.new(session_id=FIXED, seconds=1000 * DAY)
        await world.allocations.end(ADA, FIXED, user_id=None, is_deleted=True)
        world.clock.advance(100 * DAY)
        await world.housekeep()
    await world.new(session_id=FIXED, seconds=1000 * DAY)
    await world.allocations.end(ADA, await world.new(), user_id=None, is_deleted=True)
    world.clock.advance(100 * DAY)

    await world.housekeep()

    assert [each.status for each in (await world.store.load()).allocations] == [SessionStatus.ACTIVE]
    assert await world.is_active(FIXED)


async def test_the_use_of_a_session_and_of_its_place_of_work_are_both_written_late(world: World) -> None:
    session_id = await world.new()
    await world.manager.set_working_directory(session_id, "/work/app", owner=ADA)
    await world.manager._ledger.end_window()
    world.clock.advance(60)

    assert await world.is_active(session_id)
    assert await world.manager.get_working_directory(session_id, owner=ADA) == "/work/app"
    await world.manager._ledger.end_window()

    state = await world.store.load()
    assert [each.last_accessed for each in state.allocations] == [world.clock.wall()]
    assert [each.last_used for each in state.sessions] == [world.clock.wall()]
