"""Allocated sessions under any order of calls: ends are final, sandboxes never meet, and sums are exact."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import DAY, FakePlaces, HeldStore, ManualClock
from workroot.core.allocations import AllocatedSession, SessionStatus
from workroot.core.sessions import Owner
from workroot.errors import SessionEndedError, SessionError, SessionTakenError, UnknownSessionError
from workroot.session_context import SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore

if TYPE_CHECKING:
    from workroot.allocating import LedgerAllocations

OWNERS = [Owner("ada", "shop"), Owner("eve", "shop"), Owner("ada", "library")]
RULES = SessionRules(sweep_seconds=1e6 * DAY)

owners = st.sampled_from(OWNERS)
users = st.sampled_from([None, "alice", "bob"])
ids = st.sampled_from(["one", "two", "three"])
seconds = st.sampled_from([0.5, 10.0, 60.25])
amounts = st.integers(-5, 10**20)

steps = st.one_of(
    st.tuples(st.just("allocate"), owners, users, ids, seconds),
    st.tuples(st.just("validate"), owners, users, ids),
    st.tuples(st.just("increment"), owners, users, ids, amounts),
    st.tuples(st.just("extend"), owners, users, ids, seconds),
    st.tuples(st.just("end"), owners, users, ids, st.booleans()),
    st.tuples(st.just("pass"), st.sampled_from([0.25, 5.0, 60.0])),
    st.tuples(st.just("jump"), st.sampled_from([-DAY, DAY])),
    st.tuples(st.just("cleanup"), owners),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("restart")),
)


@dataclass
class Known:
    """What the model knows of one id."""

    owner: Owner
    user: str | None
    deadline: float
    total: int = 0
    status: SessionStatus = SessionStatus.ACTIVE
    is_kept: bool = False  # that its time has run out


@dataclass
class Model:
    """Allocated sessions as simply as they can be told."""

    now: float = 0.0
    known: dict[tuple[str, str], Known] = field(default_factory=dict)

    def ending(self, sandbox: str) -> int:
        """Return for how many of a sandbox it is kept from now on that their time has run out."""
        over = [
            each
            for (there, _), each in self.known.items()
            if there == sandbox
            and each.status in (SessionStatus.ACTIVE, SessionStatus.EXPIRED)
            and each.deadline <= self.now
            and not each.is_kept
        ]
        for each in over:
            each.status, each.is_kept = SessionStatus.EXPIRED, True
        return len(over)

    def look(self, owner: Owner, user: str | None, name: str) -> Known | None:
        """Return what the caller may see, with the end of its time noted."""
        found = self.known.get((owner.sandbox, name))
        if found is None or found.owner != owner or (user and found.user and found.user != user):
            return None
        if found.status is SessionStatus.ACTIVE and found.deadline <= self.now:
            found.status = SessionStatus.EXPIRED
        return found


class System:
    """The real one, over a store that outlives it."""

    def __init__(self) -> None:
        self.clock, self.store = ManualClock(), HeldStore(MemoryStore())
        self.manager = self._new()

    def _new(self) -> SessionContextManager:
        return SessionContextManager(self.store, FakePlaces({}), clock=self.clock, rules=RULES)

    @property
    def allocations(self) -> LedgerAllocations:
        return self.manager.allocations

    async def restart(self) -> None:
        await self.manager.stop()
        self.manager = self._new()
        await self.manager.start()


@given(st.lists(steps, max_size=40))
@settings(max_examples=150, deadline=None)
def test_any_order_of_calls_does_what_the_simplest_account_says(calls: list[tuple[object, ...]]) -> None:
    async def run() -> None:
        system, model = System(), Model()
        await system.manager.start()
        for name, *arguments in calls:
            await DOING[str(name)](system, model, *arguments)
        for (sandbox, session_id), known in model.known.items():
            await _compare(system, model, known.owner, None, session_id)
            for owner in OWNERS:
                if owner.sandbox == sandbox and owner != known.owner:
                    assert await system.allocations.find(owner, session_id, user_id=None) is None
        await system.manager.stop()
        assert _told(system.manager.held.allocations.all()) == _told((await system.store.load()).allocations)

    asyncio.run(run())


async def _compare(system: System, model: Model, owner: Owner, user: str | None, session_id: str) -> None:
    known = model.look(owner, user, session_id)
    found = await system.allocations.find(owner, session_id, user_id=user)
    assert (found is None) == (known is None)
    if known is not None and found is not None:
        assert (found.status, found.user_id, found.owner) == (known.status, known.user, known.owner)
        if known.status is SessionStatus.ACTIVE:
            assert found.values().get("n", 0) == known.total
            assert found.deadline - system.manager.held.idle.now() == pytest.approx(known.deadline - model.now)


async def _allocate(
    system: System, model: Model, owner: Owner, user: str | None, session_id: str, seconds: float
) -> None:
    call = system.allocations.allocate(owner, session_id=session_id, user_id=user, seconds=seconds, values={})
    there = model.known.get((owner.sandbox, session_id))
    if there is None:
        assert (await call).is_new
        model.known[owner.sandbox, session_id] = Known(owner, user, model.now + seconds)
    elif there.owner != owner or (user and there.user != user):
        with pytest.raises(SessionTakenError):
            await call
    else:
        seen = model.look(owner, user, session_id)
        assert seen is not None
        if seen.status is SessionStatus.ACTIVE:
            assert not (await call).is_new
        else:
            with pytest.raises(SessionEndedError, match=seen.status.value):
                await call


async def _validate(system: System, model: Model, owner: Owner, user: str | None, session_id: str) -> None:
    known = model.look(owner, user, session_id)
    is_active = known is not None and known.status is SessionStatus.ACTIVE
    assert await system.allocations.validate(owner, session_id, user_id=user) == is_active


async def _increment(system: System, model: Model, owner: Owner, user: str | None, session_id: str, by: int) -> None:
    known, call = model.look(owner, user, session_id), system.allocations.increment
    if known is not None and known.status is SessionStatus.ACTIVE:
        known.total += by
        assert await call(owner, session_id, "n", by, user_id=user) == known.total
    else:
        with pytest.raises(UnknownSessionError if known is None else SessionEndedError):
            await call(owner, session_id, "n", by, user_id=user)


async def _extend(
    system: System, model: Model, owner: Owner, user: str | None, session_id: str, seconds: float
) -> None:
    known, call = model.look(owner, user, session_id), system.allocations.extend
    if known is not None and known.status is SessionStatus.ACTIVE:
        known.deadline += seconds
        await call(owner, session_id, seconds, user_id=user)
    else:
        with pytest.raises(UnknownSessionError if known is None else SessionEndedError):
            await call(owner, session_id, seconds, user_id=user)
    await _compare(system, model, owner, user, session_id)


async def _end(system: System, model: Model, owner: Owner, user: str | None, session_id: str, is_deleted: bool) -> None:
    known = model.look(owner, user, session_id)
    was_active = known is not None and known.status is SessionStatus.ACTIVE
    assert await system.allocations.end(owner, session_id, user_id=user, is_deleted=is_deleted) == was_active
    if known is not None and was_active:
        known.status = SessionStatus.TERMINATED if is_deleted else SessionStatus.INVALIDATED


async def _pass(system: System, model: Model, seconds: float) -> None:
    model.now += seconds
    system.clock.advance(seconds)
    await checkpoint()


async def _jump(system: System, model: Model, seconds: float) -> None:
    system.clock.jump_wall_to(system.clock.wall() + seconds)


async def _cleanup(system: System, model: Model, owner: Owner) -> None:
    over = model.ending(owner.sandbox)
    assert await system.allocations.cleanup(owner) == over
    assert await system.allocations.cleanup(owner) == 0


async def _sweep(system: System, model: Model) -> None:
    for sandbox in {owner.sandbox for owner in OWNERS}:
        model.ending(sandbox)
    await system.manager._upkeep.sweeper.housekeep()
    assert all(each.deadline > system.manager.held.idle.now() for each in _active(system))


async def _restart(system: System, model: Model) -> None:
    await system.restart()


def _active(system: System) -> list[AllocatedSession]:
    return [each for each in system.manager.held.allocations.all() if each.status is SessionStatus.ACTIVE]


DOING: dict[str, Callable[..., Awaitable[None]]] = {
    "allocate": _allocate,
    "validate": _validate,
    "increment": _increment,
    "extend": _extend,
    "end": _end,
    "pass": _pass,
    "jump": _jump,
    "cleanup": _cleanup,
    "sweep": _sweep,
    "restart": _restart,
}


at_once = st.one_of(
    st.tuples(st.just("increment"), st.integers(1, 5)),
    st.tuples(st.just("end"), st.booleans()),
    st.tuples(st.just("take"), st.just(None)),
    st.tuples(st.just("cleanup"), st.just(None)),
    st.tuples(st.just("pass"), st.sampled_from([1.0, 30.0])),
)


@given(st.lists(st.tuples(at_once, st.integers(0, 3), st.booleans()), max_size=25))
@settings(max_examples=150, deadline=None)
def test_whatever_is_done_at_once_and_cancelled_each_sum_is_exact_and_one_end_is_final(
    calls: list[tuple[tuple[str, object], int, bool]],
) -> None:
    async def run() -> None:
        system, owner = System(), OWNERS[0]
        await system.manager.start()
        allocations = system.allocations
        await allocations.allocate(owner, session_id="one", user_id=None, seconds=60, values={"once": 42})
        sums: Counter[str] = Counter()
        ends: list[bool] = []
        taken: list[object] = []
        after_the_end: list[str] = []

        async def do(name: str, argument: object) -> None:
            is_over = any(ends)
            with suppress(SessionError):
                if name == "increment":
                    assert isinstance(argument, int)
                    total = await allocations.increment(owner, "one", "n", argument, user_id=None)
                    sums["added"] += argument
                    sums["highest"] = max(sums["highest"], int(total))
                elif name == "end":
                    ends.append(await allocations.end(owner, "one", user_id=None, is_deleted=bool(argument)))
                    return
                elif name == "take":
                    taken.append(await allocations.take(owner, "one", "once", user_id=None))
                elif name == "cleanup":
                    await allocations.cleanup(owner)
                    return
                else:
                    assert isinstance(argument, float)
                    system.clock.advance(argument)
                    return
                if is_over:
                    after_the_end.append(name)

        tasks, has_cancelled = [], False
        for (name, argument), turns, is_cancelled in calls:
            tasks.append(task := asyncio.ensure_future(do(name, argument)))
            for _ in range(turns):
                await checkpoint()
            if is_cancelled and not task.done():
                task.cancel()
                has_cancelled = True
        await asyncio.gather(*tasks, return_exceptions=True)
        await system.store.wait_written()

        assert after_the_end == []
        assert sum(ends) <= 1
        assert taken.count(42) <= 1
        found = await allocations.find(owner, "one", user_id=None)
        assert found is not None
        if found.status is SessionStatus.ACTIVE:
            total = found.values().get("n", 0)
            assert isinstance(total, int)
            assert total == sums["added"] or (has_cancelled and total > sums["added"])
        assert _told(system.manager.held.allocations.all()) == _told((await system.store.load()).allocations)
        await system.manager.stop()

    asyncio.run(run())


def _told(allocations: tuple[AllocatedSession, ...]) -> dict[tuple[str, str], AllocatedSession]:
    """Return what is kept, without the time of its last use, which is written late."""
    return {each.key: replace(each, last_accessed=0.0) for each in allocations}
