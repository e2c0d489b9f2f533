"""Jobs at intervals, and writes that nobody waits for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio
import pytest
from anyio.lowlevel import checkpoint

from fakes import Gate, HeldStore, ManualClock
from workroot.core.allocations import AllocatedSession
from workroot.core.changes import (
    AllocationSaved,
    AllocationTouched,
    IdleMark,
    IdleMarked,
    ProjectForgotten,
    ProjectSeen,
    SessionSaved,
    SessionTouched,
)
from workroot.core.projects import Directory, KnownProject, ProjectId
from workroot.core.sessions import (
    Owner,
    SessionContext,
    SessionId,
    SessionKey,
)
from workroot.errors import StoreUnavailableError
from workroot.housekeeping import Housekeeping, WriteBehind
from workroot.storage.memory import MemoryStore

ADA = Owner("uid:1000")
SESSION = SessionContext(
    session_id=SessionId("wr_a"),
    owner=ADA,
    working_directory=Directory("/work"),
    given_directory="/work",
    set_at=100.0,
    last_used=100.0,
)
PROJECT = KnownProject(project_id=ProjectId("p"), name="p", root=Directory("/p"), worktree_of=None, seen_at=1.0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


class Job:
    """Counts its runs; can fail, or wait."""

    def __init__(self) -> None:
        self.runs = 0
        self.fails = False
        self.gate: Gate | None = None

    async def __call__(self) -> None:
        self.runs += 1
        if self.gate is not None:
            await self.gate.pass_through()
        if self.fails:
            raise ValueError("job")


@pytest.fixture
def often() -> Job:
    return Job()


@pytest.fixture
def seldom() -> Job:
    return Job()


@pytest.fixture
async def housekeeping(clock: ManualClock, often: Job, seldom: Job) -> AsyncIterator[Housekeeping]:
    housekeeping = Housekeeping(clock, every=((2.0, often), (3600.0, seldom)))
    yield housekeeping
    await housekeeping.stop()


async def settle(clock: ManualClock, sleepers: int = 2) -> None:
    with anyio.fail_after(5):
        await clock.wait_sleepers(sleepers)


async def test_each_job_runs_at_its_own_interval_and_not_at_once(
    housekeeping: Housekeeping, clock: ManualClock, often: Job, seldom: Job
) -> None:
    housekeeping.start()
    await settle(clock)
    assert clock.due_times() == [2.0, 3600.0]
    assert (often.runs, seldom.runs) == (0, 0)

    for runs in range(1, 4):
        clock.advance(2.0)
        await settle(clock)
        assert (often.runs, seldom.runs) == (runs, 0)

    clock.advance(3594.0)
    await settle(clock)
    assert (often.runs, seldom.runs) == (4, 1)


async def test_the_first_run_may_be_due_earlier(clock: ManualClock, often: Job, seldom: Job) -> None:
    housekeeping = Housekeeping(clock, every=((2.0, often), (3600.0, seldom)), first_seconds=60.0)
    housekeeping.start()
    await settle(clock)
    assert clock.due_times() == [2.0, 60.0]

    clock.advance(60.0)
    await settle(clock)

    assert (often.runs, seldom.runs) == (1, 1)
    assert clock.due_times() == [2.0, 3600.0]
    await housekeeping.stop()


async def test_starting_twice_runs_each_job_once(housekeeping: Housekeeping, clock: ManualClock, often: Job) -> None:
    housekeeping.start()
    housekeeping.start()
    await settle(clock)
    housekeeping.start()

    clock.advance(2.0)
    await settle(clock)

    assert often.runs == 1
    assert len(clock.due_times()) == 2


async def test_after_stopping_nothing_runs_until_it_is_started_again(
    housekeeping: Housekeeping, clock: ManualClock, often: Job
) -> None:
    await housekeeping.stop()
    housekeeping.start()
    await settle(clock)
    await housekeeping.stop()
    await housekeeping.stop()
    assert clock.due_times() == []

    housekeeping.start()
    await settle(clock)
    clock.advance(2.0)
    await settle(clock)
    assert often.runs == 1


async def test_a_job_that_fails_is_logged_and_tried_again_after_its_interval(
    housekeeping: Housekeeping, clock: ManualClock, often: Job, caplog: pytest.LogCaptureFixture
) -> None:
    often.fails = True
    housekeeping.start()
    await settle(clock)
    with caplog.at_level(logging.ERROR):
        clock.advance(2.0)
        await settle(clock)
    assert [record.getMessage() for record in caplog.records] == [
        "housekeeping failed; it is tried again in 2.0 seconds"
    ]

    clock.advance(2.0)
    await settle(clock)

    assert often.runs == 2


async def test_a_job_that_waits_holds_no_other_one_up(
    housekeeping: Housekeeping, clock: ManualClock, often: Job, seldom: Job
) -> None:
    seldom.gate = Gate()
    housekeeping.start()
    await settle(clock)
    with anyio.fail_after(5):
        clock.advance(3600.0)
        await seldom.gate.reached.wait()
    await settle(clock, 1)

    clock.advance(2.0)
    await settle(clock, 1)

    assert often.runs == 2


async def test_stopping_waits_for_a_step_that_must_not_be_cut_short(clock: ManualClock) -> None:
    gate, done = Gate(), anyio.Event()

    async def job() -> None:
        with anyio.CancelScope(shield=True):
            await gate.pass_through()
            done.set()

    housekeeping = Housekeeping(clock, every=((1.0, job),))
    housekeeping.start()
    await settle(clock, 1)
    clock.advance(1.0)
    with anyio.fail_after(5):
        await gate.reached.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(housekeeping.stop)
            for _ in range(5):
                await checkpoint()
            assert not done.is_set()
            gate.open()
    assert done.is_set()


async def test_cancelling_who_stops_is_not_swallowed(clock: ManualClock) -> None:
    """`asyncio.timeout` and `Task.cancel` deliver one cancellation, not one at every step."""
    gate = Gate()

    async def job() -> None:
        with anyio.CancelScope(shield=True):
            await gate.pass_through()

    housekeeping = Housekeeping(clock, every=((1.0, job),))
    housekeeping.start()
    await settle(clock, 1)
    clock.advance(1.0)
    with anyio.fail_after(5):
        await gate.reached.wait()
        stopping = asyncio.get_running_loop().create_task(housekeeping.stop())
        for _ in range(5):
            await checkpoint()
        stopping.cancel()
        await asyncio.wait([stopping])
        assert stopping.cancelled()

        gate.open()
        await housekeeping.stop()


async def test_it_can_be_started_again_while_it_still_stops(clock: ManualClock) -> None:
    gate, runs = Gate(), 0

    async def job() -> None:
        nonlocal runs
        runs += 1
        with anyio.CancelScope(shield=True):
            await gate.pass_through()

    housekeeping = Housekeeping(clock, every=((1.0, job),))
    housekeeping.start()
    await settle(clock, 1)
    clock.advance(1.0)
    with anyio.fail_after(5):
        await gate.reached.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(housekeeping.stop)
            await checkpoint()
            housekeeping.start()
            gate.open()
    await settle(clock, 1)
    clock.advance(1.0)
    await settle(clock, 1)
    await housekeeping.stop()

    assert runs == 2


async def test_a_clock_that_fails_is_heard_of_when_stopping() -> None:
    class Broken(ManualClock):
        async def sleep(self, seconds: float) -> None:
            raise ZeroDivisionError("clock")

    housekeeping = Housekeeping(Broken(), every=((1.0, checkpoint),))
    housekeeping.start()
    with anyio.fail_after(5):
        for _ in range(10):
            await checkpoint()

    with pytest.raises(ExceptionGroup, match="unhandled errors"):
        await housekeeping.stop()
    await housekeeping.stop()


async def test_no_clock_runs_for_a_job_that_has_no_reason_to_run(
    clock: ManualClock, seldom: Job, behind: WriteBehind, store: HeldStore
) -> None:
    housekeeping = Housekeeping(clock, every=((3600.0, seldom),), after=((2.0, behind.wait_noted, behind.flush),))
    housekeeping.start()
    await settle(clock, 1)
    assert clock.due_times() == [3600.0]

    behind.note(SessionTouched(SESSION.key, 101.0))
    await settle(clock)
    assert clock.due_times() == [2.0, 3600.0]
    behind.note(SessionTouched(SESSION.key, 102.0))
    clock.advance(2.0)
    with anyio.fail_after(5):
        while not store.commits:
            await checkpoint()
    await settle(clock, 1)

    assert await kept(store) == (102.0, [])
    assert clock.due_times() == [3598.0]
    assert len(store.commits) == 1
    await housekeeping.stop()


async def test_what_could_not_be_written_is_tried_again_without_another_reason(
    clock: ManualClock, seldom: Job, behind: WriteBehind, store: HeldStore
) -> None:
    housekeeping = Housekeeping(clock, every=((3600.0, seldom),), after=((2.0, behind.wait_noted, behind.flush),))
    housekeeping.start()
    store.fail(StoreUnavailableError("disk full"))
    behind.note(SessionTouched(SESSION.key, 101.0))
    for _ in range(2):
        await settle(clock)
        clock.advance(2.0)
    with anyio.fail_after(5):
        while (await kept(store))[0] != 101.0:
            await checkpoint()
    await housekeeping.stop()


# Late writes


@pytest.fixture
def store() -> HeldStore:
    return HeldStore(MemoryStore())


@pytest.fixture
async def behind(store: HeldStore) -> WriteBehind:
    await store.commit([SessionSaved(SESSION)])
    store.commits.clear()
    return WriteBehind(store)


async def kept(store: HeldStore) -> tuple[float, list[str]]:
    state = await store.load()
    return state.sessions[0].last_used, [seen.project.name for seen in state.projects]


async def test_of_one_thing_the_last_is_written_and_all_in_one_commit(behind: WriteBehind, store: HeldStore) -> None:
    behind.note(SessionTouched(SESSION.key, 101.0))
    behind.note(ProjectSeen(ADA, PROJECT))
    behind.note(SessionTouched(SESSION.key, 102.0))
    behind.note(ProjectSeen(ADA, replace(PROJECT, name="renamed")))
    assert store.commits == []

    await behind.flush()

    assert len(store.commits) == 1
    assert await kept(store) == (102.0, ["renamed"])


async def test_the_use_of_an_allocated_session_and_of_its_directory_are_two_things(
    behind: WriteBehind, store: HeldStore
) -> None:
    lent = AllocatedSession(
        session_id=SESSION.session_id, owner=ADA, user_id=None, created_at=1.0, deadline=9.0, last_accessed=1.0
    )
    await store.commit([AllocationSaved(lent)])
    behind.note(AllocationTouched(lent.key, 50.0))
    behind.note(SessionTouched(SESSION.key, 101.0))
    behind.note(AllocationTouched(lent.key, 51.0))
    assert len(behind) == 2

    await behind.flush()

    state = await store.load()
    assert [each.last_accessed for each in state.allocations] == [51.0]
    assert [each.last_used for each in state.sessions] == [101.0]


async def test_with_nothing_to_write_the_store_is_left_alone(behind: WriteBehind, store: HeldStore) -> None:
    await behind.flush()
    behind.note(SessionTouched(SESSION.key, 101.0))
    await behind.flush()
    await behind.flush()

    assert len(store.commits) == 1


async def test_what_could_not_be_written_waits_on(
    behind: WriteBehind, store: HeldStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.fail(StoreUnavailableError("disk full"))
    behind.note(SessionTouched(SESSION.key, 101.0))
    behind.note(ProjectSeen(ADA, PROJECT))
    with caplog.at_level(logging.WARNING):
        await behind.flush()
    assert "2 late writes wait on: disk full" in caplog.text

    behind.note(SessionTouched(SESSION.key, 102.0))
    await behind.flush()

    assert await kept(store) == (102.0, ["p"])


async def test_what_is_noted_while_the_store_fails_is_not_replaced_by_the_older(
    behind: WriteBehind, store: HeldStore
) -> None:
    gate = store.hold()
    store.fail(StoreUnavailableError("disk full"))
    behind.note(SessionTouched(SESSION.key, 101.0))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(behind.flush)
            await gate.reached.wait()
            behind.note(SessionTouched(SESSION.key, 102.0))
            gate.open()
        await behind.flush()

    assert await kept(store) == (102.0, [])


@pytest.mark.parametrize("steps", range(5))
async def test_a_flush_cancelled_at_any_step_loses_nothing(behind: WriteBehind, store: HeldStore, steps: int) -> None:
    behind.note(SessionTouched(SESSION.key, 101.0))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(behind.flush)
        for _ in range(steps):
            await checkpoint()
        tasks.cancel_scope.cancel()

    await behind.flush()

    assert (await kept(store))[0] == 101.0


async def test_a_write_that_the_store_refuses_is_dropped_and_holds_up_no_other(
    behind: WriteBehind, store: HeldStore, caplog: pytest.LogCaptureFixture
) -> None:
    behind.note(ProjectSeen(ADA, replace(PROJECT, root=Directory("/bad"), name="\ud800")))
    behind.note(SessionTouched(SESSION.key, 101.0))
    behind.note(ProjectSeen(ADA, PROJECT))
    with caplog.at_level(logging.WARNING):
        await behind.flush()
    assert "a late write is dropped" in caplog.text
    assert await kept(store) == (101.0, ["p"])

    store.commits.clear()
    await behind.flush()
    assert store.commits == []


async def test_when_the_store_fails_while_the_refused_is_sought_nothing_else_is_lost(
    behind: WriteBehind, store: HeldStore
) -> None:
    behind.note(SessionTouched(SESSION.key, 101.0))
    behind.note(ProjectSeen(ADA, replace(PROJECT, root=Directory("/bad"), name="\ud800")))
    behind.note(ProjectSeen(ADA, PROJECT))

    gate = store.hold()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(behind.flush)
            await gate.reached.wait()
            second = store.hold()
            gate.open()
            await second.reached.wait()
            store.fail(StoreUnavailableError("disk full"))
            second.open()
    await behind.flush()

    assert await kept(store) == (101.0, ["p"])


async def test_what_is_worth_a_write_anyway_goes_along_and_causes_none(store: HeldStore) -> None:
    worth: list[IdleMarked | None] = [IdleMarked(IdleMark(1.0, 2.0, 3.0)), None]
    behind = WriteBehind(store, lambda: worth.pop(0))
    await behind.flush()
    assert store.commits == []

    for at in (101.0, 102.0):
        behind.note(SessionTouched(SESSION.key, at))
        await behind.flush()

    assert store.commits == [
        (SessionTouched(SESSION.key, 101.0), IdleMarked(IdleMark(1.0, 2.0, 3.0))),
        (SessionTouched(SESSION.key, 102.0),),
    ]


async def test_of_two_idle_marks_the_last_is_written(behind: WriteBehind, store: HeldStore) -> None:
    behind.note(IdleMarked(IdleMark(1.0, 2.0, 3.0)))
    behind.note(last := IdleMarked(IdleMark(2.0, 3.0, 4.0)))

    await behind.flush()

    assert store.commits == [(last,)]


async def test_of_a_project_that_is_forgotten_and_seen_again_the_last_is_written(
    behind: WriteBehind, store: HeldStore
) -> None:
    seen = ProjectSeen(ADA, PROJECT)
    behind.note(ProjectForgotten(ADA, PROJECT.root))
    behind.note(seen)

    await behind.flush()

    assert store.commits == [(seen,)]


async def test_another_sandboxes_session_of_the_same_id_is_another_write(behind: WriteBehind, store: HeldStore) -> None:
    behind.note(SessionTouched(SESSION.key, 101.0))
    behind.note(SessionTouched(SessionKey("other", SESSION.session_id), 102.0))

    await behind.flush()

    assert len(store.commits[0]) == 2


async def test_very_many_late_writes_are_kept_in_slices() -> None:
    memory = MemoryStore()
    store = HeldStore(memory)
    many = [replace(SESSION, session_id=SessionId(f"s{number}")) for number in range(1200)]
    await memory.commit([SessionSaved(each, 0.0) for each in many])
    behind = WriteBehind(store)
    for each in many:
        behind.note(SessionTouched(each.key, 200.0, 7.0))

    await behind.flush()

    assert [len(commit) for commit in store.commits] == [500, 500, 200]
    assert set((await memory.load()).seen.values()) == {7.0}
    assert len(behind) == 0


async def test_what_was_kept_before_a_failure_is_not_written_again() -> None:
    memory = MemoryStore()
    store = HeldStore(memory)
    many = [replace(SESSION, session_id=SessionId(f"s{number}")) for number in range(600)]
    await memory.commit([SessionSaved(each, 0.0) for each in many])
    behind = WriteBehind(store)
    for each in many:
        behind.note(SessionTouched(each.key, 200.0, 7.0))
    first, second = store.hold(), store.hold()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(behind.flush)
            first.open()
            await second.reached.wait()
            store.fail(StoreUnavailableError("away"))
            second.open()

    assert len(behind) == 100
    await behind.flush()
    assert len(behind) == 0
