"""A store whose file cannot be written: what it accepts, what it says, and how it comes back to the disk."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from failing_connections import Fault, Held, failing, failure
from stored_sessions import ADA, LENT, OVER, WORK, ids, kept, numbered

from fakes import ManualClock, place
from workroot.core.changes import (
    AliasBound,
    AliasEnded,
    AllocationSaved,
    ConnectionSaved,
    IdleMark,
    IdleMarked,
    SessionEnded,
    SessionSaved,
    StoredState,
)
from workroot.core.connections import EndedAlias, KeptConnection
from workroot.core.projects import Directory
from workroot.core.sessions import Alias, EndedSession, Ending, SessionId, SessionKey
from workroot.errors import StoreError, StoreTooNewError, StoreUnavailableError
from workroot.idle_clock import IdleClock
from workroot.session_ledger import SessionLedger
from workroot.storage import memory_only
from workroot.storage.database_file import lock_database
from workroot.storage.schema import APPLICATION_ID, MIGRATIONS
from workroot.storage.sqlite import open_sqlite_store

if TYPE_CHECKING:
    from pathlib import Path

END = EndedSession(
    session_id=WORK.session_id, owner=ADA, last_directory=Directory("/"), ending=Ending.CLOSED, ended_at=1.0
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def fault() -> Fault:
    """A disk on which nothing can be opened for writing, until the fault is over."""
    return Fault(1, sqlite3.SQLITE_CANTOPEN, for_ever=True)


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> sqlite3.Connection | None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(memory_only, "read_into_memory", fail)


class Sleeps:
    """Somebody who sleeps until a test wakes them."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._asleep, self._waking = anyio.Event(), anyio.Event()

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self._waking = anyio.Event()
        self._asleep.set()
        await self._waking.wait()

    async def wait_asleep(self) -> None:
        await self._asleep.wait()

    def wake(self) -> None:
        self._asleep = anyio.Event()
        self._waking.set()


# From the start


async def test_what_could_be_read_and_what_comes_is_kept_in_memory_and_written_when_that_is_possible(
    path: Path, fault: Fault
) -> None:
    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(WORK)])
        namespace = (await store.load()).namespace
    before = time.time()

    async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True) as store:
        await store.commit([SessionSaved(numbered(1))])
        state, health = await store.load(), store.health()
        fault.is_over = True
        await store.retry()
        healed = store.health()
        await store.commit([SessionSaved(numbered(2))])

    assert (ids(state), state.namespace) == ({"wr_ada", "wr_1"}, namespace)
    assert health.memory_only_since is not None
    assert before <= health.memory_only_since <= time.time()
    assert str(path) in str(health.memory_only_because)
    assert (health.is_refusing, health.problem) == (False, None)
    assert (healed.memory_only_since, healed.memory_only_because, healed.journal_mode) == (None, None, "wal")
    assert ids(await kept(path)) == {"wr_ada", "wr_1", "wr_2"}


async def test_changes_are_refused_by_the_same_rules_in_memory(path: Path, fault: Fault) -> None:
    async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True) as store:
        await store.commit([SessionSaved(WORK), SessionEnded(END)])
        for changes in ([SessionSaved(WORK)], [AliasBound(ADA, Alias("one"), WORK.session_id)]):
            with pytest.raises(StoreError, match="cannot be kept"):
                await store.commit(changes)


async def test_a_backup_can_be_made_from_memory(path: Path, fault: Fault) -> None:
    async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True) as store:
        await store.commit([SessionSaved(WORK)])
        backup = await store.back_up(str(path.parent / "backups"), version="1")
        assert await store.tidy() > 0

    with closing(sqlite3.connect(backup.path)) as copy:
        assert copy.execute("SELECT session_id FROM sessions").fetchall() == [(WORK.session_id,)]


async def test_it_is_tried_again_each_minute_and_nobody_wakes_when_all_is_well(path: Path, fault: Fault) -> None:
    sleeps = Sleeps()
    with anyio.fail_after(5):
        async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True, sleep=sleeps) as store:
            await store.commit([SessionSaved(WORK)])
            for _ in range(3):
                await sleeps.wait_asleep()
                assert store.health().memory_only_since is not None
                sleeps.wake()
            await sleeps.wait_asleep()
            fault.is_over = True
            sleeps.wake()
            while store.health().memory_only_since is not None:
                await anyio.lowlevel.checkpoint()
            await anyio.wait_all_tasks_blocked()

    assert sleeps.seconds == [60.0] * 4
    assert ids(await kept(path)) == {WORK.session_id}


async def test_the_end_is_the_last_chance_to_reach_the_disk(
    path: Path, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True) as store:
        await store.commit([SessionSaved(WORK)])
        fault.is_over = True

    assert ids(await kept(path)) == {WORK.session_id}
    assert "is lost" not in caplog.text


async def test_what_never_reached_the_disk_is_said_at_the_end(
    path: Path, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True) as store:
        await store.commit([SessionSaved(WORK)])

    assert "what was kept since the start is lost" in caplog.text


@pytest.mark.usefixtures("unreadable")
async def test_a_file_that_could_not_be_read_is_joined_to_what_was_kept_meanwhile(path: Path, fault: Fault) -> None:
    end = replace(END, session_id=SessionId("wr_3"))
    async with open_sqlite_store(path) as store:
        await store.commit(
            [
                *(SessionSaved(numbered(number), 7.0) for number in (1, 2, 3)),
                *(AliasBound(ADA, Alias(f"conn_{number}"), numbered(number).session_id) for number in (1, 2, 3)),
            ]
        )
        namespace = (await store.load()).namespace
    adopted: list[StoredState] = []

    with closing(Held()) as held:
        async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True) as store:
            assert (await store.load()).sessions == ()
            store.attach(held.snapshot, adopted.append)
            await store.commit([SessionSaved(moved := replace(numbered(2), given_directory="/moved"), 1.0)])
            await store.commit([AliasBound(ADA, Alias("conn_1"), moved.session_id)])
            await store.commit([SessionSaved(numbered(3)), SessionEnded(end)])
            fault.is_over = True
            await store.retry()
            state = await store.load()

    (unknown,) = adopted
    assert unknown.sessions == (numbered(1),)
    assert (unknown.aliases, dict(unknown.seen)) == ((), {numbered(1).key: 7.0})
    assert {session.session_id: session.given_directory for session in state.sessions} == {
        "wr_1": "/home/ada/app",
        "wr_2": "/moved",
    }
    assert state.aliases == (AliasBound(ADA, Alias("conn_1"), moved.session_id),)
    assert (state.ended, state.namespace, dict(state.seen)) == ((end,), namespace, {moved.key: 1.0})
    assert await kept(path) == state


@pytest.mark.usefixtures("unreadable")
async def test_allocated_sessions_of_a_file_that_could_not_be_read_join_those_that_were_allocated_meanwhile(
    path: Path, fault: Fault
) -> None:
    chosen, theirs = replace(LENT, session_id=SessionId("chosen")), replace(LENT, session_id=SessionId("theirs"))
    async with open_sqlite_store(path) as store:
        await store.commit([AllocationSaved(LENT), AllocationSaved(chosen), AllocationSaved(theirs)])
    adopted: list[StoredState] = []

    with closing(Held()) as held:
        async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True) as store:
            assert (await store.load()).allocations == ()
            store.attach(held.snapshot, adopted.append)
            meanwhile = replace(OVER, session_id=chosen.session_id, seen=30.0)
            taken = replace(theirs, user_id="eve")
            await store.commit([AllocationSaved(meanwhile), AllocationSaved(taken)])
            fault.is_over = True
            await store.retry()
            state = await store.load()

    (unknown,) = adopted
    assert unknown.allocations == (LENT,)
    assert set(state.allocations) == {replace(LENT, deadline=LENT.deadline + 30.0), meanwhile, taken}
    assert await kept(path) == state


@pytest.mark.usefixtures("unreadable")
async def test_ids_go_on_deriving_from_where_the_file_says_though_it_is_lost_after_all(
    path: Path, fault: Fault
) -> None:
    namespace, clock = (await kept(path)).namespace, ManualClock()

    async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True) as store:
        ledger = SessionLedger(store, clock)
        await ledger.load()
        await ledger.move(ADA, SessionId("wr_1"), place("/work/app"), signs=())
        fault.is_over = True
        await store.retry()
        path.unlink()
        await ledger.move(ADA, SessionId("wr_2"), place("/work/app"), signs=())

    state = await kept(path)
    assert (ids(state), state.namespace) == ({"wr_1", "wr_2"}, namespace)


@pytest.mark.usefixtures("unreadable")
async def test_nothing_counts_as_idle_for_longer_since_it_was_joined_to_an_older_file(path: Path, fault: Fault) -> None:
    clock, alias = ManualClock(), Alias("conn_1")
    async with open_sqlite_store(path) as store:
        await store.commit(
            [
                IdleMarked(IdleMark(90_000.0, clock.wall(), clock.since_boot())),
                ConnectionSaved(KeptConnection(owner=ADA, alias=alias, last_used=clock.wall(), seen=89_000.0)),
                AliasEnded(EndedAlias(ADA, Alias("conn_2"), clock.wall(), 89_000.0)),
                SessionEnded(replace(END, seen=89_000.0)),
            ]
        )

    async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True) as store:
        ledger = SessionLedger(store, clock)
        await ledger.load()
        clock.advance(10)
        await ledger.move(ADA, SessionId("wr_1"), place("/work/app"), signs=())
        fault.is_over = True
        await store.retry()
        now = ledger.idle.now()
        adopted = ledger.snapshot()

    state = await kept(path)
    after = IdleClock(clock)
    idle_since = after.load(state)
    assert after.now() - idle_since[SessionKey(ADA.sandbox, SessionId("wr_1"))] <= 10
    for found, latest in ((state, after.now()), (adopted, now)):
        (conversation,), (over,), (ended,) = found.connections, found.ended_aliases, found.ended
        assert [latest - (each.seen or 0.0) for each in (conversation, over, ended)] == pytest.approx(
            [1_000.0 + (10.0 if found is adopted else 0.0)] * 3
        )


async def test_a_file_that_somebody_took_meanwhile_is_left_to_them(
    path: Path, fault: Fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with monkeypatch.context() as patched:
        patched.setattr("workroot.storage.owned_file.lock_database", read_only)
        async with open_sqlite_store(path, may_keep_in_memory=True) as store:
            patched.undo()
            theirs = lock_database(str(path))
            await store.commit([SessionSaved(WORK)])
            await store.retry()
            assert "in use" in str(store.health().memory_only_because)
            os.close(theirs)
            await store.retry()
            assert store.health().memory_only_since is None

    assert ids(await kept(path)) == {WORK.session_id}


async def test_a_row_that_cannot_be_understood_begins_in_memory_with_nothing(path: Path, fault: Fault) -> None:
    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(WORK)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE sessions SET signs = 'not JSON'")
        connection.commit()

    async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True) as store:
        assert (await store.load()).sessions == ()
        fault.is_over = True
        await store.retry()
        assert len(store.health().moved_aside) == 1


@pytest.mark.parametrize("may_keep_in_memory", [False, True])
async def test_a_database_that_this_workroot_may_not_use_is_an_error_in_any_mode(
    path: Path, fault: Fault, *, may_keep_in_memory: bool
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1000")

    for factory in (sqlite3.Connection, fault.factory()):
        with pytest.raises(StoreTooNewError):
            async with open_sqlite_store(path, factory=factory, may_keep_in_memory=may_keep_in_memory):
                pass


async def test_a_load_that_fails_goes_on_in_memory(path: Path) -> None:
    fault = Fault(0, sqlite3.SQLITE_IOERR_READ, for_ever=True)
    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(WORK)])

    async with open_sqlite_store(path, factory=fault.factory(), may_keep_in_memory=True) as store:
        fault.nth = 1
        assert ids(await store.load()) == {WORK.session_id}
        assert store.health().memory_only_since is not None
        assert not store.health().is_refusing


async def test_a_load_that_fails_is_an_error_where_the_disk_is_asked_for(path: Path) -> None:
    fault = Fault(0, sqlite3.SQLITE_IOERR_READ)
    async with open_sqlite_store(path, factory=fault.factory()) as store:
        fault.nth = fault.calls + 1
        with pytest.raises(StoreUnavailableError, match="check the disk"):
            await store.load()
        assert (await store.load()).sessions == ()


def test_a_newer_database_is_not_read_into_memory(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1000")

    with pytest.raises(StoreTooNewError):
        memory_only.open_in_memory(str(path), migrations=MIGRATIONS)


# Later


async def test_a_store_that_fails_refuses_says_so_once_and_heals_with_the_next_commit(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fault = Fault(0, sqlite3.SQLITE_FULL, for_ever=True)
    async with open_sqlite_store(path, factory=fault.factory()) as store:
        await store.commit([SessionSaved(WORK)])
        fault.nth = fault.calls + 1
        for number in range(3):
            with pytest.raises(StoreUnavailableError, match="disk is full"):
                await store.commit([SessionSaved(numbered(number))])
        ill, trouble = store.health(), store.trouble
        fault.is_over = True
        await store.commit([SessionSaved(numbered(9))])
        well = store.health()

    assert ill.is_refusing
    assert trouble is not None
    assert (trouble.since, trouble.because) == (ill.memory_only_since, ill.memory_only_because)
    assert ill.problem == ill.memory_only_because
    assert "disk is full" in str(ill.problem)
    assert (well.is_refusing, well.memory_only_since, well.problem) == (False, None, None)
    assert (ill.failed_commits, well.failed_commits) == (3, 3)
    assert [each.message.split(":")[0] for each in caplog.records] == [
        "changes are refused",
        f"{path} can be written again",
    ]
    assert ids(await kept(path)) == {WORK.session_id, "wr_9"}


@pytest.mark.parametrize("code", [sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE])
async def test_a_store_that_fails_is_tried_again_each_minute_with_something_that_has_to_be_written(
    path: Path, code: int
) -> None:
    sleeps, fault = Sleeps(), Fault(0, code, for_ever=True)
    with anyio.fail_after(5):
        async with open_sqlite_store(path, factory=fault.factory(), sleep=sleeps) as store:
            fault.nth = fault.calls + 1
            with pytest.raises(StoreUnavailableError):
                await store.commit([SessionSaved(WORK)])
            await sleeps.wait_asleep()
            sleeps.wake()
            await sleeps.wait_asleep()
            assert store.health().is_refusing
            fault.is_over = True
            sleeps.wake()
            while store.health().is_refusing:
                await anyio.lowlevel.checkpoint()


async def test_what_could_be_written_once_more_but_not_kept_does_not_count_as_healed(path: Path) -> None:
    def full(sql: str) -> sqlite3.Error | None:
        return failure(sqlite3.SQLITE_FULL) if is_full and ("INSERT" in sql or "user_version" in sql) else None

    is_full = False
    async with open_sqlite_store(path, factory=failing(full)) as store:
        is_full = True
        with pytest.raises(StoreUnavailableError):
            await store.commit([SessionSaved(WORK)])
        with pytest.raises(StoreUnavailableError):  # an empty commit would succeed on any disk
            await store.retry()
        assert store.health().is_refusing


# Making way


async def test_a_caller_does_not_wait_until_all_is_tidy(path: Path) -> None:
    begun, loop, is_endless = anyio.Event(), asyncio.get_running_loop(), True

    def tell(number: int) -> int:
        if number == 1:
            loop.call_soon_threadsafe(begun.set)
        return number

    class Untidy(sqlite3.Connection):
        """Has so much to tidy up that it would take for ever."""

        def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
            if "wal_checkpoint" in sql and is_endless:
                self.create_function("tell", 1, tell)
                sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(tell(i)) FROM n"
            return super().execute(sql, parameters)

    with anyio.fail_after(10):
        async with open_sqlite_store(path, factory=Untidy) as store:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.tidy)
                await begun.wait()
                await store.commit([SessionSaved(WORK)])
            is_endless = False
            assert await store.tidy() > 0
            assert store.health().problem is None

    assert ids(await kept(path)) == {WORK.session_id}


async def test_nothing_is_tidied_while_callers_wait(path: Path) -> None:
    tidied: list[str] = []

    def look(sql: str) -> None:
        if "wal_checkpoint" in sql:
            tidied.append(sql)

    async with open_sqlite_store(path, factory=failing(look)) as store:
        async with anyio.create_task_group() as callers:
            callers.start_soon(store.commit, [SessionSaved(WORK)])
            callers.start_soon(store.tidy)
        assert tidied == []
        await store.tidy()
        assert len(tidied) == 1


async def test_a_disk_that_fails_while_it_is_tidied_is_said(path: Path) -> None:
    def fail(sql: str) -> sqlite3.Error | None:
        return failure(sqlite3.SQLITE_FULL) if "wal_checkpoint" in sql else None

    async with open_sqlite_store(path, factory=failing(fail)) as store:
        with pytest.raises(StoreUnavailableError, match="disk is full"):
            await store.tidy()
