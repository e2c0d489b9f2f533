"""What conversations asked for: kept before it is shown, found again, bounded, and gone when nobody comes back."""

from __future__ import annotations

import anyio
import pytest

from fakes import DAY, HeldStore, ManualClock
from workroot.core import connection_table, ended_aliases
from workroot.core.changes import ConnectionSaved, IdleMark, IdleMarked
from workroot.core.connections import KeptConnection
from workroot.core.sessions import Alias, Owner
from workroot.errors import StoreUnavailableError
from workroot.kept_connections import EXPIRY_SECONDS, MOST_SUBSCRIPTIONS, KeptConnections, keep_nowhere
from workroot.live_connections import LiveConnections
from workroot.session_ledger import SessionLedger
from workroot.storage.memory import MemoryStore

ADA, EVE = Owner("uid:1000"), Owner("uid:1001")
CONN, OTHER = Alias("conn"), Alias("other")
PROJECTS, SESSION = "workroot://projects", "workroot://sessions/wr_1"


class World:
    """What is kept, of one daemon after the other."""

    def __init__(self) -> None:
        self.memory, self.clock = MemoryStore(), ManualClock()
        self.store = HeldStore(self.memory)
        self.live: set[Alias] = set()

    async def daemon(self) -> KeptConnections:
        """Return what another daemon knows."""
        ledger = SessionLedger(self.store, self.clock)
        await ledger.load()
        ledger.connections.is_live = lambda _, alias: alias in self.live
        return ledger.connections


@pytest.fixture
def world() -> World:
    return World()


def subscriptions(kept: KeptConnections, alias: Alias = CONN, owner: Owner = ADA) -> set[str]:
    connection = kept.get(owner, alias)
    return set(connection.subscriptions) if connection is not None else set()


@pytest.mark.parametrize("is_resumable", [False, True])
async def test_another_daemon_knows_what_was_asked_for(world: World, is_resumable: bool) -> None:
    before = await world.daemon()
    await before.subscribe(ADA, CONN, PROJECTS, is_resumable=is_resumable)
    await before.subscribe(ADA, CONN, SESSION, is_resumable=is_resumable)
    await before.unsubscribe(ADA, CONN, SESSION)
    await before.set_log_level(ADA, CONN, "warning", is_resumable=is_resumable)

    after = await world.daemon()

    assert after.get(ADA, CONN) == before.get(ADA, CONN)
    assert subscriptions(after) == {PROJECTS}
    assert subscriptions(after, OTHER) == subscriptions(after, CONN, EVE) == set()


async def test_what_is_not_kept_is_not_shown(world: World) -> None:
    kept = await world.daemon()
    world.store.fail(StoreUnavailableError("away"))

    with pytest.raises(StoreUnavailableError):
        await kept.subscribe(ADA, CONN, PROJECTS, is_resumable=False)

    assert kept.get(ADA, CONN) is None


async def test_subscriptions_at_once_are_all_kept(world: World) -> None:
    kept = await world.daemon()

    async def subscribe(number: int) -> None:
        await kept.subscribe(ADA, CONN, str(number), is_resumable=False)

    async with anyio.create_task_group() as tasks:
        for number in range(20):
            tasks.start_soon(subscribe, number)

    assert subscriptions(await world.daemon()) == set(map(str, range(20)))


async def test_a_connector_that_wants_nothing_any_more_leaves_nothing(world: World) -> None:
    kept = await world.daemon()
    await kept.subscribe(ADA, CONN, PROJECTS, is_resumable=False)

    await kept.unsubscribe(ADA, CONN, PROJECTS)
    await kept.unsubscribe(ADA, OTHER, PROJECTS)

    assert len(kept) == 0
    assert (await world.memory.load()).connections == ()


async def test_a_conversation_may_subscribe_to_so_much_and_no_more(world: World) -> None:
    kept = await world.daemon()
    for number in range(MOST_SUBSCRIPTIONS):
        assert await kept.subscribe(ADA, CONN, str(number), is_resumable=False)

    assert not await kept.subscribe(ADA, CONN, "one more", is_resumable=False)
    assert await kept.subscribe(ADA, CONN, "0", is_resumable=False)
    assert len(subscriptions(kept)) == MOST_SUBSCRIPTIONS


@pytest.mark.parametrize(
    ("limit", "value"), [("_MOST_CONNECTIONS", 2), ("_MOST_SUBSCRIPTIONS", 2)], ids=["connections", "all"]
)
async def test_above_the_limits_the_longest_unused_conversation_gives_way(
    world: World, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(connection_table, limit, value)
    kept = await world.daemon()
    for alias in ("one", "two", "one", "three"):
        await kept.subscribe(ADA, Alias(alias), PROJECTS, is_resumable=True)

    for daemon in (kept, await world.daemon()):
        assert [alias for alias in ("one", "two", "three") if daemon.get(ADA, Alias(alias))] == ["one", "three"]


async def subscribe_each(kept: KeptConnections, *aliases: str) -> None:
    for alias in aliases:
        await kept.subscribe(ADA, Alias(alias), PROJECTS, is_resumable=True)


def known(kept: KeptConnections, *aliases: str) -> list[str]:
    return [alias for alias in aliases if kept.get(ADA, Alias(alias))]


@pytest.mark.parametrize("limit", ["_MOST_CONNECTIONS", "_MOST_SUBSCRIPTIONS"])
async def test_a_conversation_in_use_does_not_give_way_to_one_that_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(connection_table, limit, 3)
    kept = await world.daemon()
    begun_at = kept.now()
    await subscribe_each(kept, "used", "left", "left too")
    for _ in range(16 * 60):
        world.clock.advance(60)
        await kept.note_use(ADA, Alias("used"), begun_at=begun_at)

    await subscribe_each(kept, "new", "newer")

    assert known(kept, "used", "left", "left too", "new", "newer") == ["used", "new", "newer"]


@pytest.mark.parametrize("limit", ["_MOST_CONNECTIONS", "_MOST_SUBSCRIPTIONS"])
async def test_a_live_conversation_gives_way_only_if_there_is_no_other(
    world: World, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(connection_table, limit, 3)
    kept = await world.daemon()
    world.live = {Alias("live"), Alias("live too"), Alias("new")}
    await subscribe_each(kept, "live", "live too", "left", "new")
    assert known(kept, "live", "live too", "left", "new") == ["live", "live too", "new"]

    await subscribe_each(kept, "newer")

    assert len(kept) == 3
    assert known(kept, "new", "newer") == ["new", "newer"]


async def test_a_live_conversation_is_one_that_the_sweeper_knows_a_connection_of(world: World) -> None:
    ledger = SessionLedger(world.store, world.clock)
    live = LiveConnections(ledger)

    with live.connected(ADA, CONN):
        assert ledger.connections.is_live(ADA, CONN)
        assert not ledger.connections.is_live(ADA, OTHER)
    assert not ledger.connections.is_live(ADA, CONN)


async def test_a_conversation_that_was_live_at_a_sweep_was_used_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_table, "_MOST_CONNECTIONS", 2)
    kept = await world.daemon()
    await subscribe_each(kept, "one", "two")
    world.live = {Alias("one")}
    await kept.housekeep()
    world.live.clear()

    await subscribe_each(kept, "three")

    assert known(kept, "one", "two", "three") == ["one", "three"]


async def test_room_for_one_more_is_made_without_looking_at_all_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_table, "_MOST_CONNECTIONS", 100)
    kept, looked_at = await world.daemon(), []
    names = [str(number) for number in range(100)]
    await subscribe_each(kept, *names)

    def is_live(_: Owner, alias: Alias) -> bool:
        looked_at.append(alias)
        return int(alias) < 50

    kept.is_live = is_live
    await subscribe_each(kept, "100", "101", "102")

    assert len(looked_at) == 50 + 3
    assert known(kept, "49", "50", "51", "52", "53") == ["49", "53"]


async def test_an_ended_conversation_stays_ended_and_keeps_nothing(world: World) -> None:
    kept = await world.daemon()
    now = kept.now()
    await kept.subscribe(ADA, CONN, PROJECTS, is_resumable=True)
    await kept.end(ADA, CONN)
    await kept.end(ADA, CONN)

    for daemon in (kept, await world.daemon()):
        assert daemon.is_over(ADA, CONN, begun_at=now)
        assert not daemon.is_over(EVE, CONN, begun_at=now)
        assert daemon.get(ADA, CONN) is None


async def test_a_conversation_that_could_not_be_ended_goes_on(world: World) -> None:
    kept = await world.daemon()
    now = kept.now()
    world.store.fail(StoreUnavailableError("away"))

    with pytest.raises(StoreUnavailableError):
        await kept.end(ADA, CONN)

    assert not kept.is_over(ADA, CONN, begun_at=now)


async def test_of_many_ends_the_first_is_forgotten(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ended_aliases, "_MOST", 2)
    kept = await world.daemon()
    now = kept.now()
    for alias in ("one", "two", "three"):
        await kept.end(ADA, Alias(alias))
        world.clock.advance(1)

    for daemon in (kept, await world.daemon()):
        assert [daemon.is_over(ADA, Alias(alias), begun_at=now) for alias in ("one", "two", "three")] == [
            False,
            True,
            True,
        ]


async def test_an_end_is_forgotten_when_the_conversation_would_be_over_anyway(world: World) -> None:
    kept = await world.daemon()
    begun_at = kept.now()
    await kept.end(ADA, CONN)
    world.clock.advance(EXPIRY_SECONDS + 1)

    await kept.housekeep()

    assert (await world.memory.load()).ended_aliases == ()
    assert kept.is_over(ADA, CONN, begun_at=begun_at)


async def test_a_conversation_is_over_after_thirty_days_without_use(world: World) -> None:
    kept = await world.daemon()
    begun_at = kept.now()
    world.clock.advance(30 * DAY)
    assert not kept.is_over(ADA, CONN, begun_at=begun_at)

    world.clock.advance(1)

    assert kept.is_over(ADA, CONN, begun_at=begun_at)


async def test_a_conversation_in_use_goes_on_for_ever_at_one_commit_a_day(world: World) -> None:
    kept = await world.daemon()
    begun_at = kept.now()
    for _ in range(80 * 2):
        world.clock.advance(DAY / 2)
        await kept.note_use(ADA, CONN, begun_at=begun_at)
        await kept.housekeep()

    assert not (await world.daemon()).is_over(ADA, CONN, begun_at=begun_at)
    assert 50 <= len(world.store.commits) <= 80


async def test_a_conversation_of_a_day_leaves_nothing(world: World) -> None:
    kept = await world.daemon()
    begun_at = kept.now()
    for _ in range(10):
        await kept.note_use(ADA, CONN, begun_at=begun_at)
        world.clock.advance(DAY / 10)

    assert world.store.commits == []


async def test_a_use_that_cannot_be_kept_does_no_harm(world: World) -> None:
    kept = await world.daemon()
    begun_at = kept.now()
    world.clock.advance(2 * DAY)
    world.store.fail(StoreUnavailableError("away"))

    await kept.note_use(ADA, CONN, begun_at=begun_at)
    await kept.note_use(ADA, CONN, begun_at=begun_at)

    assert len(world.store.commits) == 2
    assert kept.get(ADA, CONN) is not None


async def test_uses_at_once_are_kept_once(world: World) -> None:
    kept = await world.daemon()
    begun_at = kept.now()
    world.clock.advance(2 * DAY)
    gate = world.store.hold()

    async def use() -> None:
        await kept.note_use(ADA, CONN, begun_at=begun_at)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(use)
            await gate.reached.wait()
            await use()  # does not wait
            gate.open()

    assert len(world.store.commits) == 1


async def test_a_connector_that_does_not_come_back_is_forgotten_at_a_later_sweep(world: World) -> None:
    kept = await world.daemon()
    await kept.subscribe(ADA, CONN, PROJECTS, is_resumable=False)
    await kept.subscribe(ADA, OTHER, PROJECTS, is_resumable=True)
    world.live.add(CONN)
    for _ in range(3):
        world.clock.advance(DAY)
        await kept.housekeep()
    world.live.clear()
    await kept.housekeep()
    assert len(kept) == 2  # it may only have lost its connection

    world.clock.advance(60)
    await kept.housekeep()

    for daemon in (kept, await world.daemon()):
        assert (daemon.get(ADA, CONN), subscriptions(daemon, OTHER)) == (None, {PROJECTS})


async def test_a_connector_that_came_back_between_two_sweeps_is_not_forgotten(world: World) -> None:
    kept = await world.daemon()
    await kept.subscribe(ADA, CONN, PROJECTS, is_resumable=False)
    for lives in (set(), {CONN}, set()):
        world.live = lives
        world.clock.advance(100)
        await kept.housekeep()

    assert subscriptions(kept) == {PROJECTS}


async def test_a_connector_is_given_time_to_come_back_to_another_daemon(world: World) -> None:
    before = await world.daemon()
    await before.subscribe(ADA, CONN, PROJECTS, is_resumable=False)
    world.clock.advance(DAY)
    after = await world.daemon()

    await after.housekeep()

    assert subscriptions(after) == {PROJECTS}


async def test_what_a_conversation_asked_for_goes_after_thirty_days_without_use(world: World) -> None:
    kept = await world.daemon()
    await kept.subscribe(ADA, CONN, PROJECTS, is_resumable=True)
    world.clock.advance(20 * DAY)
    after = await world.daemon()
    world.live.add(CONN)
    await after.housekeep()
    world.live.clear()
    world.clock.advance(30 * DAY)
    await after.housekeep()
    assert subscriptions(after) == {PROJECTS}

    world.clock.advance(1)
    await after.housekeep()

    assert after.get(ADA, CONN) is None


async def test_a_step_of_the_wall_clock_forgets_nothing_that_was_asked_for(world: World) -> None:
    kept = await world.daemon()
    await kept.subscribe(ADA, CONN, PROJECTS, is_resumable=True)
    world.clock.jump_wall_to(world.clock.wall() + 3650 * DAY)

    await kept.housekeep()

    assert subscriptions(kept) == {PROJECTS}


STEPS = [2 * DAY, 3650 * DAY, -2 * DAY, -3650 * DAY]


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("is_kept", [False, True])
async def test_a_step_of_the_wall_clock_ends_no_conversation_in_use(world: World, step: float, is_kept: bool) -> None:
    kept = await world.daemon()
    begun_at = kept.now()
    if is_kept:
        await kept.subscribe(ADA, CONN, PROJECTS, is_resumable=True)
    await kept.note_use(ADA, CONN, begun_at=begun_at)
    world.clock.jump_wall_to(world.clock.wall() + step)

    assert not kept.is_over(ADA, CONN, begun_at=begun_at)
    world.clock.advance(EXPIRY_SECONDS)
    assert not kept.is_over(ADA, CONN, begun_at=begun_at)
    world.clock.advance(1)
    assert kept.is_over(ADA, CONN, begun_at=begun_at)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("is_kept", [False, True])
async def test_a_step_of_the_wall_clock_between_two_daemons_ends_no_conversation(
    world: World, step: float, is_kept: bool
) -> None:
    before = await world.daemon()
    begun_at = before.now()
    if is_kept:
        await before.subscribe(ADA, CONN, PROJECTS, is_resumable=True)
    world.clock.jump_wall_to(world.clock.wall() + step)

    after = await world.daemon()

    assert not after.is_over(ADA, CONN, begun_at=begun_at)
    await after.housekeep()
    assert subscriptions(after) == ({PROJECTS} if is_kept else set())
    world.clock.advance(EXPIRY_SECONDS + 1)
    await after.housekeep()
    assert after.is_over(ADA, CONN, begun_at=begun_at)
    assert len(after) == 0


@pytest.mark.parametrize("step", STEPS)
async def test_a_step_of_the_wall_clock_brings_no_ended_conversation_back(world: World, step: float) -> None:
    kept = await world.daemon()
    begun_at = kept.now()
    await kept.end(ADA, CONN)
    world.clock.jump_wall_to(world.clock.wall() + step)

    for daemon in (kept, await world.daemon()):
        await daemon.housekeep()
        assert daemon.is_over(ADA, CONN, begun_at=begun_at)
        assert len(daemon.ended()) == 1


async def test_a_conversation_that_was_live_for_a_month_has_a_day_to_come_back_to_another_daemon(world: World) -> None:
    before = await world.daemon()
    await before.subscribe(ADA, CONN, PROJECTS, is_resumable=True)
    await before.end(ADA, OTHER)
    world.clock.advance(EXPIRY_SECONDS * 2)  # its stream stood all the time, and it called for nothing
    mark = IdleMark(EXPIRY_SECONDS * 2, world.clock.wall(), world.clock.since_boot())
    await world.memory.commit([IdleMarked(mark)])

    after = await world.daemon()
    world.clock.advance(DAY)
    await after.housekeep()
    assert subscriptions(after) == {PROJECTS}
    assert after.ended() == ()

    world.clock.advance(1)
    await after.housekeep()
    assert after.get(ADA, CONN) is None


async def test_what_an_older_schema_kept_is_as_old_as_the_wall_clock_says_and_has_a_day_to_come_back(
    world: World,
) -> None:
    now = world.clock.wall()
    for alias, last_used in (("ten days", now - 10 * DAY), ("years", now - 3650 * DAY), ("to come", now + DAY)):
        row = KeptConnection(owner=ADA, alias=Alias(alias), is_resumable=True, last_used=last_used)
        await world.memory.commit([ConnectionSaved(row)])

    kept = await world.daemon()
    await kept.housekeep()

    assert [each.alias for each in kept.all()] == ["years", "ten days", "to come"]
    for days, left in ((1, ["ten days", "to come"]), (19, ["to come"]), (10, [])):
        world.clock.advance(days * DAY + 1)
        await kept.housekeep()
        assert known(kept, "years", "ten days", "to come") == left


async def test_rows_of_an_older_schema_come_before_those_that_are_on_the_idle_clock(world: World) -> None:
    rows = [
        KeptConnection(owner=ADA, alias=Alias("first"), is_resumable=True, last_used=3.0, seen=0.0),
        KeptConnection(owner=ADA, alias=Alias("second"), is_resumable=True, last_used=1.0, seen=1.0),
        KeptConnection(owner=ADA, alias=Alias("old"), is_resumable=True, last_used=2.0),
    ]
    await world.memory.commit([ConnectionSaved(row) for row in rows])

    assert [each.alias for each in (await world.daemon()).all()] == ["old", "first", "second"]


async def test_of_very_many_conversations_the_uses_of_the_latest_are_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_table, "_MOST_CONNECTIONS", 2)
    kept = await world.daemon()
    begun_at = kept.now()
    world.clock.advance(20 * DAY)
    for alias in ("one", "two", "one", "three"):
        await kept.note_use(ADA, Alias(alias), begun_at=kept.now())
    world.clock.advance(11 * DAY)

    is_over = [kept.is_over(ADA, Alias(alias), begun_at=begun_at) for alias in ("one", "two", "three")]
    assert is_over == [False, True, False]


async def test_without_a_store_it_is_kept_for_as_long_as_the_object() -> None:
    kept = KeptConnections(keep_nowhere, ManualClock())
    await kept.subscribe(ADA, CONN, PROJECTS, is_resumable=True)
    assert subscriptions(kept) == {PROJECTS}

    await kept.end(ADA, CONN)
    assert kept.is_over(ADA, CONN, begun_at=kept.now())
