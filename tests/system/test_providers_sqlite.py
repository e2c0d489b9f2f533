"""Values in a file: durable when acknowledged, over restarts, kills, full and failing disks, and lost files."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from fakes import DAY, HOUR, ManualClock
from workroot.errors import ProviderFullError, ProviderInUseError, StoreTooNewError, StoreUnavailableError
from workroot.providers import shared_file
from workroot.providers.sqlite import SqliteProvider, SqliteValues
from workroot.providers.sqlite_file import ValuesFile

KEEP_AND_TELL = """
import asyncio, sys
from workroot.providers import shared_file

async def main():
    async with shared_file.factory(sys.argv[1])() as session:
        async def keep(name):
            for number in range(100_000):
                await session.setex(f"{name}:{number}", 3600, str(number))
                print(f"{name}:{number}", flush=True)
        await asyncio.gather(*(keep(name) for name in range(8)))

asyncio.run(main())
"""


class WatchedConnection(sqlite3.Connection):
    """Counts commits, holds the next ones or lets them fail."""

    commits: ClassVar[int] = 0
    gates: ClassVar[list[tuple[threading.Event, threading.Event]]] = []
    failures: ClassVar[list[tuple[str, sqlite3.Error]]] = []

    def execute(self, sql: str, *args: object) -> sqlite3.Cursor:
        if sql == "COMMIT":
            type(self).commits += 1
            if self.gates:
                reached, opened = self.gates.pop(0)
                reached.set()
                opened.wait(5)
            if self.failures:
                when, failure = self.failures.pop(0)
                if when == "after":
                    super().execute(sql)
                raise failure
        return super().execute(sql, *args)  # type: ignore[arg-type]  # passed on as it came


@pytest.fixture(autouse=True)
def _watch_anew() -> None:
    WatchedConnection.commits = 0
    WatchedConnection.failures = []
    WatchedConnection.gates = []


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "values.db"


def failure(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("planted")
    error.sqlite_errorcode = code
    return error


def keep_and_tell(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", KEEP_AND_TELL, str(path)], stdout=subprocess.PIPE, text=True)


def keys_in(path: Path) -> set[str]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return {key for (key,) in connection.execute("SELECT key FROM provider_values")}


# Restarts


@pytest.mark.row("P2")
async def test_a_restart_leaves_each_value_exactly_its_remaining_time(path: Path, clock: ManualClock) -> None:
    async with SqliteValues(path, clock=clock).opened() as values:
        session = SqliteProvider(values)
        await session.setex("code", 600.25, "123456")
        await session.setex("cache", HOUR, "{}")
        clock.advance(100)

    clock.advance(400)
    async with SqliteValues(path, clock=clock).opened() as values:
        session = SqliteProvider(values)
        clock.advance(100)
        assert (await session.get("code"), await session.get("cache")) == ("123456", "{}")
        clock.advance(0.25)
        assert (await session.get("code"), await session.get("cache")) == (None, "{}")


@pytest.mark.parametrize("step", [30 * DAY, -30 * DAY])
async def test_a_wall_clock_that_is_set_meanwhile_ends_nothing(path: Path, clock: ManualClock, step: float) -> None:
    async with SqliteValues(path, clock=clock).opened() as values:
        await values.put("code", 600, "123456")
        clock.jump_wall_to(clock.wall() + step)
        assert values.get("code") == "123456"

    clock.jump_wall_to(clock.wall() + step)
    async with SqliteValues(path, clock=clock).opened() as values:
        assert values.get("code") == "123456"
        clock.advance(600)
        assert values.get("code") is None


async def test_time_while_the_machine_is_off_does_not_count(path: Path, clock: ManualClock) -> None:
    async with SqliteValues(path, clock=clock).opened() as values:
        await values.put("code", 600, "123456")
    clock.reboot(off_seconds=DAY, awake_seconds=30)
    async with SqliteValues(path, clock=clock).opened() as values:
        clock.advance(569)
        assert values.get("code") == "123456"
        clock.advance(1)
        assert values.get("code") is None


async def test_time_up_to_a_clean_end_counts_though_the_machine_is_booted_after_it(
    path: Path, clock: ManualClock
) -> None:
    async with SqliteValues(path, clock=clock).opened() as values:
        await values.put("code", 600, "123456")
        clock.advance(500)
    clock.reboot(off_seconds=DAY, awake_seconds=30)
    async with SqliteValues(path, clock=clock).opened() as values:
        clock.advance(69)
        assert values.get("code") == "123456"
        clock.advance(1)
        assert values.get("code") is None


async def test_what_was_deleted_does_not_come_back(path: Path) -> None:
    async with SqliteValues(path).opened() as values:
        await values.put("code", 600, "123456")
        assert await values.remove("code") is True
    async with SqliteValues(path).opened() as values:
        assert values.get("code") is None
        assert await values.remove("code") is False


async def test_what_was_acknowledged_before_a_kill_is_kept(path: Path) -> None:
    with keep_and_tell(path) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(500)]
        process.kill()
        told += process.stdout.read().split("\n")[:-1]  # a last line without an end was not said to its end
    assert process.returncode == -signal.SIGKILL
    async with SqliteValues(path).opened() as values:
        assert len(told) >= 500
        assert [key for key in told if values.get(key) != key.partition(":")[2]] == []


# One owner


async def test_a_second_process_gets_an_error_until_the_first_has_ended(path: Path) -> None:
    with keep_and_tell(path) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(ProviderInUseError, match="is in use by another process"):
            async with shared_file.factory(path)():
                pass
        process.kill()
    async with shared_file.factory(path)() as session:
        assert await session.get("0:0") == "0"
    await shared_file.close_files()


async def test_uses_of_one_event_loop_share_the_open_file_and_others_get_an_error(path: Path) -> None:
    async def use() -> None:
        async with shared_file.factory(path)():
            pass

    async with shared_file.factory(path)() as session, shared_file.factory(str(path))() as other:
        await session.setex("key", 60, "x")
        assert await other.get("key") == "x"
        with pytest.raises(ProviderInUseError):
            await asyncio.to_thread(asyncio.run, use())
    await shared_file.close_files()
    await asyncio.to_thread(asyncio.run, use())


def test_the_file_is_closed_with_its_event_loop(path: Path) -> None:
    async def keep() -> None:
        async with shared_file.factory(path)() as session:
            await session.setex("key", 60, "x")

    async def find() -> str | None:
        async with shared_file.factory(path)() as session:
            return await session.get("key")

    before = len(os.listdir("/dev/fd"))
    for _ in range(5):
        asyncio.run(keep())
        assert not path.with_name("values.db-wal").exists(), "it was closed cleanly"
        assert asyncio.run(find()) == "x"
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.row("B19")
async def test_fifty_uses_open_the_file_once(path: Path) -> None:
    connected: list[object] = []
    is_watching = True

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if is_watching and event == "sqlite3.connect":
            connected.append(arguments)

    async with shared_file.factory(path)() as session:
        await session.setex("key", 60, "x")
    sys.addaudithook(note)  # which nobody can take away again: hence the flag
    threads = set(threading.enumerate())
    for _ in range(50):
        async with shared_file.factory(path)() as session:
            assert await session.get("key") == "x"
            await session.setex("key", 60, "x")
    is_watching = False
    assert connected == []
    assert set(threading.enumerate()) == threads
    await shared_file.close_files()


LEAVE_A_LOOP = """
import asyncio, sys
from workroot.providers import shared_file

async def use(value):
    async with shared_file.factory(sys.argv[1])() as session:
        found = await session.get("key")
        await session.setex("key", 60, value)
        return found

for value in ("first", "second", "third"):
    loop = asyncio.new_event_loop()
    print(loop.run_until_complete(use(value)), flush=True)
    loop.close()
"""


def test_a_program_that_closes_its_event_loop_by_hand_ends_and_loses_nothing(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVE_A_LOOP, str(path)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.stdout.split(), done.returncode) == (["None", "first", "second"], 0)
    assert keys_in(path) == {"key"}


def test_another_event_loop_takes_the_file_back_from_one_that_was_closed_by_hand(path: Path) -> None:
    async def use(value: str) -> str | None:
        async with shared_file.factory(path)() as session:
            found = await session.get("key")
            await session.setex("key", 60, value)
            return found

    before = set(threading.enumerate())
    loop = asyncio.new_event_loop()
    loop.run_until_complete(use("first"))
    loop.close()
    (left,) = set(threading.enumerate()) - before
    assert asyncio.run(use("second")) == "first"
    left.join(5)
    assert set(threading.enumerate()) == before


def test_many_first_uses_take_the_file_back_once_though_one_is_cancelled(path: Path) -> None:
    async def use(value: str) -> str | None:
        async with shared_file.factory(path)() as session:
            found = await session.get("key")
            await session.setex("key", 60, value)
            return found

    async def use_at_once() -> list[str | None]:
        first, *others = [asyncio.create_task(use("second")) for _ in range(20)]
        await asyncio.sleep(0)
        first.cancel()
        found = await asyncio.gather(*others)
        await asyncio.wait([first])
        return found

    loop = asyncio.new_event_loop()
    loop.run_until_complete(use("first"))
    loop.close()
    assert asyncio.run(use_at_once()) == ["first"] * 19


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the thread dies: that is the case
@pytest.mark.parametrize("is_opening", [True, False])
def test_the_file_is_taken_back_from_a_thread_that_died_of_a_closed_event_loop(path: Path, is_opening: bool) -> None:
    reached, opened = threading.Event(), threading.Event()

    async def leave() -> SqliteValues:
        values = SqliteValues(path, factory=WatchedConnection)
        left.append(use := values.opened())
        if is_opening:
            WatchedConnection.gates = [(reached, opened)]
            left.append(asyncio.ensure_future(use.__aenter__()))
        else:
            await use.__aenter__()
            await values.put("key", 60, "first")
            WatchedConnection.gates = [(reached, opened)]
            left.append(asyncio.ensure_future(values.put("key", 60, "second")))
        assert await asyncio.to_thread(reached.wait, 5)
        return values

    async def take_back() -> str | None:
        with anyio.fail_after(5):
            await values.abandon()
        async with SqliteValues(path).opened() as again:
            return again.get("key")

    left: list[object] = []  # collected, it would be ended
    loop = asyncio.new_event_loop()
    values = loop.run_until_complete(leave())
    loop.close()
    opened.set()
    assert asyncio.run(take_back()) == (None if is_opening else "second")


async def test_values_that_were_never_opened_can_be_abandoned(path: Path) -> None:
    await SqliteValues(path).abandon()
    assert not path.exists()


async def test_many_first_uses_open_the_file_once_though_one_is_cancelled(path: Path) -> None:
    async def use() -> None:
        async with shared_file.factory(path)() as session:
            await session.setex("key", 60, "x")

    first, *others = [asyncio.create_task(use()) for _ in range(20)]
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.gather(*others)
    await asyncio.wait([first])
    await shared_file.close_files()
    assert keys_in(path) == {"key"}


async def test_a_file_that_could_not_be_opened_is_tried_anew_by_the_next_use(path: Path) -> None:
    path.write_bytes(b"something else " * 100)
    with pytest.raises(StoreUnavailableError):
        async with shared_file.factory(path)():
            pass
    path.unlink()
    async with shared_file.factory(path)() as session:
        await session.setex("key", 60, "x")
    await shared_file.close_files()


# Commits


async def test_callers_that_wait_together_share_a_commit(path: Path) -> None:
    async with SqliteValues(path, factory=WatchedConnection).opened() as values:
        before = WatchedConnection.commits
        await asyncio.gather(*(values.put(f"{number}", 60, "x") for number in range(100)))
        assert WatchedConnection.commits - before <= 2


async def test_deleting_what_is_not_there_writes_nothing(path: Path) -> None:
    async with SqliteValues(path, factory=WatchedConnection).opened() as values:
        before = WatchedConnection.commits
        assert not any(await asyncio.gather(*(values.remove(f"guess:{number}") for number in range(100))))
        assert WatchedConnection.commits == before


async def test_changes_of_one_key_that_share_a_commit_keep_their_order(path: Path) -> None:
    async with SqliteValues(path).opened() as values:
        done = await asyncio.gather(
            values.remove("key"), values.put("key", 60, "1"), values.remove("key"), values.remove("key"),
            values.put("key", 60, "2"), values.put("key", 60, "3"),
        )  # fmt: skip
        assert [*done] == [False, None, True, False, None, None]
        assert values.get("key") == "3"
    async with SqliteValues(path).opened() as values:
        assert values.get("key") == "3"


async def test_a_value_is_shown_only_when_it_is_kept(path: Path) -> None:
    async with SqliteValues(path, factory=WatchedConnection).opened() as values:
        await values.put("key", 60, "old")
        WatchedConnection.failures = [("before", failure(sqlite3.SQLITE_FULL))]
        with pytest.raises(StoreUnavailableError, match="the disk is full"):
            await values.put("key", 60, "new")
        assert values.get("key") == "old"
        await values.put("other", 60, "x")
        assert values.get("key") == "old"
    async with SqliteValues(path).opened() as values:
        assert (values.get("key"), values.get("other")) == ("old", "x")


async def test_a_commit_that_failed_and_is_in_the_file_all_the_same_is_taken_back(path: Path) -> None:
    async with SqliteValues(path, factory=WatchedConnection).opened() as values:
        await values.put("key", 60, "old")
        WatchedConnection.failures = [("after", failure(sqlite3.SQLITE_IOERR))]
        with pytest.raises(StoreUnavailableError):
            await values.put("key", 60, "never acknowledged")
        assert values.get("key") == "old"
        await values.put("other", 60, "x")
    async with SqliteValues(path).opened() as values:
        assert (values.get("key"), values.get("other")) == ("old", "x")


@pytest.mark.parametrize("steps", range(0, 12, 2))
async def test_what_a_cancelled_caller_asked_for_is_the_same_in_memory_and_in_the_file(path: Path, steps: int) -> None:
    async with SqliteValues(path).opened() as values:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(values.put, "key", 60, "x")
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        await values.put("after", 60, "x")  # its commit comes later, so all before it is decided
        shown = values.get("key")
    async with SqliteValues(path).opened() as values:
        assert values.get("key") == shown


async def test_a_value_set_anew_while_the_old_one_is_swept_is_kept(path: Path, clock: ManualClock) -> None:
    async with SqliteValues(path, clock=clock, factory=WatchedConnection).opened() as values:
        await values.put("key", 60, "old")
        reached, opened = threading.Event(), threading.Event()
        WatchedConnection.gates = [(reached, opened)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(values.put, "key", HOUR, "new")
            await asyncio.to_thread(reached.wait, 5)
            clock.advance(60)
            assert len(values) == 0, "the old one was swept, the new one is not kept yet"
            opened.set()
        assert values.get("key") == "new"
        await values.put("other", 60, "x")
        assert keys_in(path) == {"key", "other"}


async def test_callers_that_wait_at_the_end_are_served(path: Path) -> None:
    async with SqliteValues(path, factory=WatchedConnection).opened() as values:
        reached, opened = threading.Event(), threading.Event()
        WatchedConnection.gates = [(reached, opened)]
        waiting = [asyncio.create_task(values.put("first", 60, "x"))]
        await asyncio.to_thread(reached.wait, 5)
        waiting += [asyncio.create_task(values.put(f"{number}", 60, "x")) for number in range(10)]
        await anyio.lowlevel.checkpoint()
        opened.set()
    await asyncio.gather(*waiting)
    assert keys_in(path) == {"first", *(f"{number}" for number in range(10))}


# Room


@pytest.mark.row("B17")
async def test_values_that_are_over_leave_the_file_too(path: Path, clock: ManualClock) -> None:
    async with SqliteValues(path, clock=clock).opened() as values:
        await asyncio.gather(*(values.put(f"code:{number}", 60, "123456") for number in range(500)))
        await values.put("stays", HOUR, "x")
        clock.advance(60)
        await values.put("next", HOUR, "x")
        assert keys_in(path) == {"stays", "next"}
        assert len(values) == 2


async def test_values_that_were_over_before_the_start_leave_the_file_too(path: Path, clock: ManualClock) -> None:
    async with SqliteValues(path, clock=clock).opened() as values:
        await values.put("code", 60, "123456")
        await values.put("stays", HOUR, "x")
    clock.advance(60)
    async with SqliteValues(path, clock=clock).opened() as values:
        assert len(values) == 1
        await values.put("next", HOUR, "x")
        assert keys_in(path) == {"stays", "next"}


async def test_a_full_file_refuses_what_is_new_and_keeps_what_is_there(path: Path, clock: ManualClock) -> None:
    async with SqliteValues(path, clock=clock, max_values=2, max_bytes=100).opened() as values:
        await values.put("a", 60, "x")
        await values.put("b", 120, "x")
        with pytest.raises(ProviderFullError, match="at most 2 values of 100 bytes"):
            await values.put("c", 60, "x")
        await values.put("b", 120, "y" * 90)
        with pytest.raises(ProviderFullError):
            await values.put("a", 60, "z" * 20)
        assert (values.get("a"), values.get("b"), values.get("c")) == ("x", "y" * 90, None)
        clock.advance(60)
        await values.put("c", 60, "x")
        assert values.get("c") == "x"


# Files that are not what they should be


@pytest.mark.parametrize("at", [0, 4096, 8200])
async def test_a_damaged_file_is_an_error_and_stays_as_it_is(path: Path, at: int) -> None:
    async with SqliteValues(path).opened() as values:
        for number in range(200):
            await values.put(f"key:{number}", HOUR, "v" * 100)
    content = bytearray(path.read_bytes())
    content[at : at + 600] = os.urandom(600)
    path.write_bytes(content)

    with pytest.raises(StoreUnavailableError, match=r"is damaged \(.*\) and was left as it is: put a copy of it back"):
        async with SqliteValues(path).opened():
            pass

    assert path.read_bytes() == bytes(content)


async def test_a_file_of_another_program_is_an_error_and_stays_as_it_is(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(StoreUnavailableError, match="is not a database of workroot"):
        async with SqliteValues(path).opened():
            pass
    assert path.read_bytes() == before


async def test_a_file_that_lacks_a_table_is_damaged(path: Path) -> None:
    async with SqliteValues(path).opened() as values:
        await values.put("key", 60, "x")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("ALTER TABLE provider_values RENAME TO other_values")
    with pytest.raises(StoreUnavailableError, match=r"is damaged \(no such table"):
        async with SqliteValues(path).opened():
            pass


async def test_a_file_of_a_newer_workroot_is_an_error_and_stays_as_it_is(path: Path) -> None:
    async with SqliteValues(path).opened():
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(StoreTooNewError):
        async with SqliteValues(path).opened():
            pass


@pytest.mark.parametrize("is_replaced", [False, True])
async def test_a_file_that_is_lost_while_it_is_open_is_noticed(path: Path, is_replaced: bool) -> None:
    async with SqliteValues(path).opened() as values:
        await values.put("key", 60, "x")
        path.rename(path.with_name("away.db"))
        if is_replaced:
            path.write_bytes(b"somebody's")
        with pytest.raises(StoreUnavailableError, match="deleted or replaced while it was in use"):
            await values.put("other", 60, "x")
        assert (values.get("key"), values.get("other")) == ("x", None)
    assert path.exists() is is_replaced
    if is_replaced:
        assert path.read_bytes() == b"somebody's"


async def test_a_file_that_is_lost_during_a_commit_is_noticed(path: Path) -> None:
    async with SqliteValues(path, factory=WatchedConnection).opened() as values:
        await values.put("key", 60, "x")
        reached, opened = threading.Event(), threading.Event()
        WatchedConnection.gates = [(reached, opened)]
        writing = asyncio.create_task(values.put("other", 60, "x"))
        await asyncio.to_thread(reached.wait, 5)
        path.unlink()
        opened.set()
        with pytest.raises(StoreUnavailableError, match="deleted or replaced while it was in use"):
            await writing
        assert values.get("other") is None


async def test_a_file_that_is_replaced_after_a_failed_commit_is_not_written_over(path: Path) -> None:
    async with SqliteValues(path, factory=WatchedConnection).opened() as values:
        WatchedConnection.failures = [("before", failure(sqlite3.SQLITE_IOERR))]
        with pytest.raises(StoreUnavailableError):
            await values.put("key", 60, "x")
        path.rename(path.with_name("away.db"))
        path.write_bytes(b"somebody's")
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="deleted or replaced while it was in use"):
                await values.put("key", 60, "x")
    assert path.read_bytes() == b"somebody's"


async def test_an_error_of_the_program_passes_as_it_is(path: Path) -> None:
    with pytest.raises(LookupError):
        async with SqliteValues(path).opened():
            raise LookupError


async def test_the_text_of_a_subclass_is_kept_and_not_the_object(path: Path) -> None:
    class Kind(StrEnum):
        KEY = "key"
        VALUE = "kept"

    async with SqliteValues(path).opened() as values:
        await values.put(Kind.KEY, 60, Kind.VALUE)
        assert type(values.get("key")) is str
    assert keys_in(path) == {"key"}


def test_closing_twice_closes_no_file_of_somebody_else(path: Path) -> None:
    file = ValuesFile(path, factory=sqlite3.Connection)
    file.open()
    file.close()
    with path.open("rb") as other:  # it gets the number that the lock had
        file.close()
        assert other.read(6) == b"SQLite"


async def test_the_file_is_its_users_alone(path: Path) -> None:
    async with SqliteValues(path).opened() as values:
        await values.put("key", 60, "x")
        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
        assert set(modes.values()) == {0o600}, modes


async def test_after_the_end_every_call_says_that_it_is_closed(path: Path) -> None:
    async with SqliteValues(path).opened() as values:
        pass
    with pytest.raises(StoreUnavailableError):
        values.get("key")
    with pytest.raises(StoreUnavailableError):
        await values.put("key", 60, "x")
    with pytest.raises(StoreUnavailableError):
        await values.remove("key")
