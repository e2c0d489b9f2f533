"""A real daemon on a disk that fails: what was acknowledged is there, what failed was not acknowledged, and it goes on.

The faults are the kernel's own: a tracer that makes the n-th call fail, a full file system, a limit of a file's size,
and files that are taken away, replaced and overwritten under the daemon.
"""

from __future__ import annotations

import ctypes
import os
import random
import resource
import sqlite3
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from patched_daemon import start_patched
from real_daemon import DEADLINE_SECONDS, MODERN_META, Home, RawClient, open_home
from system_calls import read_calls, strace, traced

SEED = int(os.environ.get("WORKROOT_TEST_SEED", "5"))
MEMORY_ONLY = "memory only since 20"
MOST_CALLS = 400  # of one kind in the scripted scenario

CHECKPOINTS_OFTEN = """
import sqlite3
connect = sqlite3.connect
def connect_and_checkpoint_often(*arguments, **named):
    connection = connect(*arguments, **named)
    connection.execute("PRAGMA wal_autocheckpoint = 12")
    return connection
sqlite3.connect = connect_and_checkpoint_often
"""

IMPATIENT = """
from workroot.storage import sqlite
sqlite._RETRY_SECONDS = 0.05
"""


@dataclass
class Ledger:
    """A client that moves sessions about, and writes down what was acknowledged.

    Attributes:
        kept: the directory of each session, as it was acknowledged last.
        held: sessions of which the daemon said that they are in memory only.
        tried: what was refused of each session since then: its directories, and None for its end. Of a change whose
            sync failed, the file may know; the daemon makes that good at its next commit, one that is killed cannot.
        refused: what was said of changes that were not made.
    """

    home: Home
    client: RawClient
    places: list[Path]
    kept: dict[str, str] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    tried: dict[str | None, set[str | None]] = field(default_factory=lambda: defaultdict(set))
    refused: list[str] = field(default_factory=list)
    _calls: int = 0

    async def live(self) -> None:
        """Open, move and close sessions; one more stays."""
        first, second = await self.move(), await self.move()
        for session in (first, second, first):
            await self.move_again(session)
        await self.close(second)
        third = await self.move()
        await self.move_again(third)
        await self.close(first)
        await self.read()

    async def move(self, session: str | None = None) -> str | None:
        """Move a session, or open one; return it, or None where that was refused."""
        arguments = {"directory": str(self.places[self._calls % len(self.places)])}
        if session is not None:
            arguments["session_id"] = session
        if (answer := await self._call("set_working_directory", **arguments)) is None:
            self.tried[session].add(arguments["directory"])
            return None
        content = answer["structuredContent"]
        session_id = str(content["session_id"])
        assert session in (None, session_id)
        self.kept[session_id] = content["working_directory"]
        self.tried.pop(session_id, None)
        (self.held.add if is_said(answer) else self.held.discard)(session_id)
        return session_id

    async def move_again(self, session: str | None) -> None:
        if session is not None:
            await self.move(session)

    async def close(self, session: str | None) -> None:
        if session is None:
            return
        if await self._call("close_session", session_id=session) is None:
            self.tried[session].add(None)
            return
        del self.kept[session]
        self.held.discard(session)

    async def read(self) -> dict[str, Any]:
        """Read where sessions work, the newest as an example; that never fails. Return the last answer."""
        answer: dict[str, Any] = {}
        for session in list(self.kept)[-3:]:
            answer = await self._answer("get_working_directory", session_id=session)
            assert answer["structuredContent"]["working_directory"] == self.kept[session]
        return answer

    async def _call(self, tool: str, **arguments: str) -> dict[str, Any] | None:
        answer = await self._answer(tool, **arguments)
        if not answer["isError"]:
            return answer
        error = answer["_meta"]["workroot/error"]
        assert error["code"] == "store_unavailable", error
        self.refused.append(error["message"])
        return None

    async def _answer(self, tool: str, **arguments: str) -> dict[str, Any]:
        self._calls += 1
        answer = await self.client.call(self._calls, tool, meta=MODERN_META, **arguments)
        result: dict[str, Any] = answer["result"]
        return result

    # What there is

    def check_disk(self) -> None:
        """Check that the database holds what was acknowledged, no more and no less."""
        assert in_database(self.home.state / "workroot.db") == self.kept

    def check_memory(self) -> None:
        """Check that the daemon holds what was acknowledged, no more and no less."""
        assert {name: each["working_directory"] for name, each in self.home.sessions().items()} == self.kept

    def store(self) -> dict[str, Any]:
        """Return what the daemon says of its store."""
        store: dict[str, Any] = self.home.ask("status")["store"]
        return store

    async def check_failing(self) -> None:
        """Check that the daemon goes on while nothing can be written, and says so wherever somebody looks."""
        assert await self.move() is None, "it was refused before, and nothing got better"
        store = self.store()
        assert store["memory_only_since"] is not None
        assert store["problem"] is not None
        assert store["is_refusing"]
        if self.kept:
            assert is_said(await self.read())

    async def check_healed(self) -> None:
        """Check that changes are kept again, on the disk, and that nothing says otherwise."""
        session = await self.move()
        assert session is not None, self.refused[-1]
        assert session not in self.held
        assert not is_said(await self.read())
        store = self.store()
        assert (store["memory_only_since"], store["problem"], store["is_refusing"]) == (None, None, False)
        self.check_memory()
        self.check_disk()

    async def check_restarted(self) -> None:
        """Kill the daemon, start another, and check that it knows all of it."""
        await anyio.to_thread.run_sync(self.home.kill_daemon)
        await anyio.to_thread.run_sync(self.home.start)
        self.check_memory()
        with closing(sqlite3.connect(f"file:{self.home.state / 'workroot.db'}?mode=ro", uri=True)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def is_said(answer: dict[str, Any]) -> bool:
    """Tell whether an answer says that what it says is in memory only; both of its halves have to agree."""
    if "structuredContent" not in answer:
        return False
    in_warnings = any(MEMORY_ONLY in warning for warning in answer["structuredContent"]["warnings"])
    assert in_warnings == (MEMORY_ONLY in answer["content"][0]["text"])
    return in_warnings


def in_database(path: Path) -> dict[str, str]:
    """Return where each session works, as another process reads it from the disk."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=DEADLINE_SECONDS)) as connection:
        return dict(connection.execute("SELECT session_id, working_directory FROM sessions"))


@asynccontextmanager
async def open_ledger(home: Home, *, earlier: Ledger | None = None) -> AsyncIterator[Ledger]:
    """Connect to the daemon that runs."""
    async with home.open_raw_socket() as client:
        if earlier is not None:
            yield Ledger(home, client, earlier.places, dict(earlier.kept))
        else:
            kept = {session: each["working_directory"] for session, each in home.sessions().items()}
            yield Ledger(home, client, [home.directory(f"{len(kept)}-{number}") for number in range(5)], kept)


# The n-th call


@dataclass(frozen=True)
class Fault:
    """Which calls fail on the database's files, and with what: the n-th of a thread, or all from that on."""

    calls: str
    error: str

    def options(self, home: Home, nth: int, *, lasts: bool) -> list[str]:
        database = home.state / "workroot.db"
        files = [str(database), *(f"{database}{end}" for end in ("-wal", "-shm", "-journal"))]
        when = f"{nth}+" if lasts else str(nth)
        named = [option for file in files for option in ("-P", file)]
        return [*named, "-e", f"trace={self.calls}", "-e", f"inject={self.calls}:error={self.error}:when={when}"]

    def __str__(self) -> str:
        return f"{self.calls}-{self.error}"


FAULTS = {
    "writes": (Fault("pwrite64", "ENOSPC"), Fault("pwrite64", "EFBIG"), Fault("fdatasync", "EIO")),
    "reads": (Fault("pread64", "EIO"), Fault("ftruncate", "EIO")),
    "all": (
        Fault("pwrite64,fdatasync,fsync,ftruncate", "ENOSPC"),
        Fault("pread64,pwrite64,fdatasync,fsync,ftruncate,openat", "EIO"),
    ),
}
WAYS = [(fault, lasts) for faults in FAULTS.values() for fault in faults for lasts in (False, True)]
READ = {"pread64", "ftruncate"}
"""What need not fail anything: what was read is remembered, and the log is cut short when there is time."""


def was_hit(trace: Path) -> bool:
    return "(INJECTED)" in trace.read_text(errors="replace")


@pytest.mark.parametrize("kind", FAULTS)
async def test_whichever_call_fails_nothing_acknowledged_is_lost_and_the_daemon_heals(
    home: Home, kind: str, is_full: bool
) -> None:
    print(f"WORKROOT_TEST_SEED={SEED}")
    chance = random.Random(f"{SEED} {kind}")
    daemon = start_patched(home, CHECKPOINTS_OFTEN)
    async with open_ledger(home) as ledger:
        await ledger.live()
        for fault, lasts in WAYS:
            if fault in FAULTS[kind]:
                await fail_each(ledger, daemon.pid, fault, lasts=lasts, chance=None if is_full else chance)
        await ledger.check_restarted()


async def fail_each(ledger: Ledger, pid: int, fault: Fault, *, lasts: bool, chance: random.Random | None) -> None:
    """Let the first call fail, then the second, and so on until there are no more; with a *chance*, some of them."""
    trace, nth, hits, refusals = ledger.home.top / "trace", 1, 0, 0
    while nth < MOST_CALLS:
        before = len(ledger.refused)
        with traced(pid, trace, *fault.options(ledger.home, nth, lasts=lasts)):
            await ledger.live()
            refused = len(ledger.refused) - before
            if lasts and refused:
                await ledger.check_failing()
        if not lasts:  # each of the calls failed once
            assert refused <= len(fault.calls.split(",")), (
                f"{fault}: {nth} failed once, then the disk was well: {ledger.refused[before:]}"
            )
        await ledger.check_healed()
        if not was_hit(trace):
            break
        hits, refusals = hits + 1, refusals + refused
        nth += 1 if chance is None else chance.randrange(5, 30)
    assert hits > 0, f"{fault}: no call failed"
    assert refusals > 0 or fault.calls in READ, f"{fault}: nothing was ever refused"


async def test_whichever_call_fails_at_the_start_the_daemon_serves_and_nothing_acknowledged_is_lost(
    home: Home, is_full: bool
) -> None:
    print(f"WORKROOT_TEST_SEED={SEED}")
    chance = random.Random(f"{SEED} start")
    home.start()
    async with open_ledger(home) as ledger:
        await ledger.live()
    home.kill_daemon()
    for fault, lasts in WAYS if is_full else chance.sample(WAYS, k=2):
        nth, is_over = chance.randrange(1, 5), False
        while not is_over:
            ledger = await fail_at_start(ledger, fault, nth, lasts=lasts)
            is_over = not is_full or not was_hit(home.top / "trace")
            nth += chance.randrange(16, 48) if "pread64" in fault.calls else chance.randrange(4, 12)


async def fail_at_start(before: Ledger, fault: Fault, nth: int, *, lasts: bool) -> Ledger:
    """Start a daemon whose calls fail, kill it, and check what the next one knows; return what there is then."""
    print(f"{fault}, call {nth} {'and all after it' if lasts else ''}")
    home, is_readable = before.home, "pread64" not in fault.calls
    home.start(under=strace(home.top / "trace", *fault.options(home, nth, lasts=lasts)))
    async with open_ledger(home, earlier=before) as ledger:
        if is_readable:
            ledger.check_memory()
        else:
            ledger.kept = {}
        await ledger.live()
        store = ledger.store()
        assert not list(home.state.glob("workroot.db.*-*")), "it was sound, and was moved aside"
        if lasts and ledger.held:
            assert store["memory_only_since"] is not None
            assert not store["is_refusing"]
        home.kill_daemon()
    home.start()
    known = {session: each["working_directory"] for session, each in home.sessions().items()}
    for session, directory in {**before.kept, **ledger.kept}.items():
        assert session in ledger.held or known.get(session) in {directory, *ledger.tried[session]}
    async with open_ledger(home, earlier=before) as after:
        after.kept = known
        await after.check_healed()
    home.kill_daemon()
    return after


@pytest.mark.parametrize("lasts", [False, True], ids=["once", "for-ever"])
async def test_a_disk_that_cannot_be_read_is_not_taken_for_a_spoilt_database(
    home: Home, lasts: bool, is_full: bool
) -> None:
    home.start()
    async with open_ledger(home) as ledger:
        for _ in range(8):
            await ledger.live()
    home.ask("stop")
    home.started[-1].wait(DEADLINE_SECONDS)
    trace, fault = home.top / "trace", Fault("pread64", "EIO")
    home.start(under=strace(trace, *fault.options(home, MOST_CALLS, lasts=lasts)))
    home.kill_daemon()
    reads = len(read_calls(trace))
    print(f"{reads} reads")
    for nth in range(1, reads, 1 if is_full else reads // 6):
        home.start(under=strace(trace, *fault.options(home, nth, lasts=lasts)))
        home.kill_daemon()
        assert not list(home.state.glob("workroot.db.*-*")), f"read {nth} failed, and the database was moved aside"
    home.start()
    ledger.check_memory()


# A full disk


@contextmanager
def small_disk(point: Path, *, kibibytes: int) -> Iterator[None]:
    """Mount a file system of that size at *point*."""
    if sys.platform != "linux":
        pytest.skip("tmpfs is for Linux")
    libc = ctypes.CDLL(None, use_errno=True)
    point.mkdir(mode=0o700)
    options = f"size={kibibytes}k,mode=0700".encode()
    if libc.mount(b"test", os.fsencode(point), b"tmpfs", 0, options) != 0:
        pytest.skip(f"mounting is not permitted: {os.strerror(ctypes.get_errno())}")
    try:
        yield
    finally:
        assert libc.umount2(os.fsencode(point), 2) == 0  # detached: whoever still uses it keeps it


def fill(disk: Path) -> Path:
    """Take all the room there is, and return the file that has it."""
    ballast = disk / "ballast"
    with open(ballast, "ab", buffering=0) as file:
        for size in (4096, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
    return ballast


async def move_until_refused(ledger: Ledger) -> None:
    """Move until the log needs room that is not there; a log in use has some room of its own."""
    with anyio.fail_after(DEADLINE_SECONDS):
        while await ledger.move() is not None:
            pass


async def test_a_disk_that_fills_under_the_daemon_loses_nothing_and_needs_no_restart_when_it_has_room_again() -> None:
    with open_home() as home, small_disk(home.state, kibibytes=2048):
        home.start()
        async with open_ledger(home) as ledger:
            for _ in range(3):
                await ledger.live()
                ballast = fill(home.state)
                await move_until_refused(ledger)
                assert "full" in ledger.refused[-1]
                await ledger.check_failing()
                assert "full" in ledger.store()["memory_only_because"]
                ballast.unlink()
                await ledger.check_healed()
            await ledger.check_restarted()
        home.close()


async def test_a_daemon_that_starts_on_a_full_disk_serves_what_it_reads_and_keeps_the_rest_when_there_is_room() -> None:
    with open_home() as home, small_disk(home.state, kibibytes=2048):
        home.start()
        async with open_ledger(home) as before:
            await before.live()
            ballast = fill(home.state)
            await move_until_refused(before)
        home.kill_daemon()
        fill(home.state)

        start_patched(home, IMPATIENT)
        async with open_ledger(home, earlier=before) as ledger:
            ledger.check_memory()
            await ledger.live()
            assert ledger.refused == []
            assert ledger.held, "all that was changed since"
            store = ledger.store()
            assert not store["is_refusing"]
            assert "full" in store["memory_only_because"]
            assert MEMORY_ONLY in home.run("status").stdout
            ballast.unlink()
            await home.wait_until_async(lambda: ledger.store()["memory_only_since"] is None, what="it heals by itself")
            ledger.check_disk()
            await ledger.check_healed()
            await ledger.check_restarted()
        home.close()


# A file that may not grow


async def test_files_that_may_not_grow_are_refused_changes_and_heal_when_they_may_again(home: Home) -> None:
    daemon = home.start()
    _, most = resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE)
    async with open_ledger(home) as ledger:
        await ledger.live()
        for room in (0, 100, 5000):
            size = (home.state / "workroot.db-wal").stat().st_size if room else 0
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (size + room, most))
            await ledger.live()
            if room == 0:
                await ledger.check_failing()
            resource.prlimit(daemon.pid, resource.RLIMIT_FSIZE, (most, most))
            await ledger.check_healed()
        assert ledger.refused
        await ledger.check_restarted()


# Files taken away, replaced and spoilt


def delete(database: Path) -> None:
    for end in ("", "-wal", "-shm"):
        Path(f"{database}{end}").unlink()


def delete_log(database: Path) -> None:
    Path(f"{database}-wal").unlink()


def replace_by_another(database: Path) -> None:
    other = database.with_name("other")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE somebody_elses (column INTEGER)".replace("column", "number"))
    os.replace(other, database)


def replace_by_garbage(database: Path) -> None:
    other = database.with_name("other")
    other.write_bytes(random.Random(SEED).randbytes(20_000))
    os.replace(other, database)


def overwrite(database: Path) -> None:
    with open(database, "r+b", buffering=0) as file:
        file.write(random.Random(SEED).randbytes(max(os.path.getsize(database), 20_000)))


def overwrite_log(database: Path) -> None:
    log = Path(f"{database}-wal")
    with open(log, "r+b", buffering=0) as file:
        file.write(random.Random(SEED).randbytes(os.path.getsize(log)))


def cut_short(database: Path) -> None:
    os.truncate(database, 0)


def cut_log_short(database: Path) -> None:
    os.truncate(f"{database}-wal", 0)


SPOILING = (
    delete,
    delete_log,
    replace_by_another,
    replace_by_garbage,
    overwrite,
    overwrite_log,
    cut_short,
    cut_log_short,
)


@pytest.fixture(scope="module")
def spoilt() -> Iterator[Home]:
    """A home whose database is spoilt in one way after the other; each begins with what the one before left."""
    with open_home() as made:
        made.start()
        yield made


@pytest.mark.parametrize("spoil", SPOILING)
async def test_a_database_spoilt_under_the_daemon_costs_nothing_that_was_acknowledged(
    spoilt: Home, spoil: Callable[[Path], None]
) -> None:
    database = spoilt.state / "workroot.db"
    if not spoilt.is_running():
        spoilt.start()
    async with open_ledger(spoilt) as ledger:
        await ledger.live()
        spoil(database)
        await ledger.live()
        assert len(ledger.refused) <= 1, "it was refused once at most, and made good by then"
        await ledger.check_healed()
        if spoil in (replace_by_another, replace_by_garbage):
            (aside,) = ledger.store()["moved_aside"]
            assert Path(aside).exists()
        await ledger.check_restarted()


async def test_a_database_that_is_spoilt_between_two_daemons_is_kept_aside_and_a_new_one_serves(home: Home) -> None:
    database = home.state / "workroot.db"
    home.start()
    home.ask("stop")
    home.started[-1].wait(DEADLINE_SECONDS)
    replace_by_garbage(database)
    garbage = database.read_bytes()

    home.start()
    async with open_ledger(home) as ledger:
        (aside,) = ledger.store()["moved_aside"]
        assert Path(aside).read_bytes() == garbage
        assert home.log.count(aside) == 1, "said once"
        await ledger.live()
        await ledger.check_healed()
        await ledger.check_restarted()
