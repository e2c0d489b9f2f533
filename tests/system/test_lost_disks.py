"""Disks that are full or read-only, for real: what can still be read, what is said, and how it heals."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mcp import Client
from memory_disks import MemoryDisk, memory_disk
from patched_daemon import start_patched
from real_daemon import ERAS, MODERN, Home, answer_of, end_processes_with, open_home, text_of

from workroot import rendezvous
from workroot.storage.disk_state import why_unwritable
from workroot.storage.opening import open_connection
from workroot.storage.reading_only import read_into_memory
from workroot.storage.schema import MIGRATIONS

LEAVE = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(f"PRAGMA journal_mode = {sys.argv[2]}")
connection.execute("CREATE TABLE kept (value)")
connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
connection.executemany("INSERT INTO kept VALUES (?)", [["x" * 50]] * 200)
if sys.argv[3] == "closed":
    connection.close()
if sys.argv[3] == "half written":
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN")
    connection.execute("UPDATE kept SET value = 'y' || value")
    connection.execute("INSERT INTO kept SELECT value FROM kept")
os._exit(0)
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[MemoryDisk]:
    with memory_disk(tmp_path / "disk") as made:
        yield made


def full(disk: MemoryDisk) -> None:
    disk.fill()


def full_and_without_index(disk: MemoryDisk) -> None:
    (disk.point / "state.db-shm").unlink(missing_ok=True)
    disk.fill()


def read_only(disk: MemoryDisk) -> None:
    disk.make_read_only()


def read_only_and_without_index(disk: MemoryDisk) -> None:
    (disk.point / "state.db-shm").unlink(missing_ok=True)
    disk.make_read_only()


LOSSES = (full, full_and_without_index, read_only, read_only_and_without_index)


def contents(disk: MemoryDisk) -> dict[str, tuple[bytes, int]]:
    return {each.name: (each.read_bytes(), each.stat().st_mtime_ns) for each in disk.point.iterdir()}


# Reading without writing


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize(
    ("journal", "left"), [("WAL", "closed"), ("WAL", "killed"), ("DELETE", "closed"), ("DELETE", "half written")]
)
def test_all_that_was_kept_is_read_from_a_disk_to_which_nothing_is_written(
    disk: MemoryDisk, lose: Callable[[MemoryDisk], None], journal: str, left: str
) -> None:
    path = disk.point / "state.db"
    subprocess.run([sys.executable, "-c", LEAVE, str(path), journal, left], check=True)
    if left == "half written":
        assert (disk.point / "state.db-journal").stat().st_size > 0
    lose(disk)
    before = contents(disk)

    connection = read_into_memory(str(path))

    assert connection is not None
    with closing(connection):
        assert connection.execute("SELECT count(*), min(value) FROM kept").fetchone() == (200, "x" * 50)
        connection.execute("CREATE TABLE more (value)")  # the copy may be led forward to another version
    assert contents(disk) == before


def test_the_passing_copy_goes_to_the_first_place_that_takes_it_and_leaves_nothing(
    disk: MemoryDisk, tmp_path: Path
) -> None:
    path, place = disk.point / "state.db", tmp_path / "place"
    place.mkdir()
    subprocess.run([sys.executable, "-c", LEAVE, str(path), "WAL", "killed"], check=True)
    disk.fill()

    connection = read_into_memory(str(path), places=[str(disk.point), str(tmp_path / "none"), str(place)])

    assert connection is not None
    connection.close()
    assert list(place.iterdir()) == []
    assert not list(disk.point.glob("workroot-*"))
    with pytest.raises(OSError, match="No such file"):
        read_into_memory(str(path), places=[str(disk.point), str(tmp_path / "none")])


# Opening, and why it cannot be


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize(
    ("lose", "words"),
    [
        (full, "cannot be written, its disk is full: free some space there"),
        (full_and_without_index, "cannot be written, its disk is full: free some space there"),
        (read_only, "is on a file system that is mounted read-only: mount it writable"),
    ],
)
def test_a_database_that_cannot_be_written_is_not_opened_and_the_reason_is_said(
    disk: MemoryDisk, lose: Callable[[MemoryDisk], None], words: str, is_new: bool
) -> None:
    path = disk.point / "state.db"
    if not is_new:
        with closing(open_connection(str(path), migrations=MIGRATIONS, factory=sqlite3.Connection)):
            pass
    lose(disk)

    with pytest.raises((sqlite3.Error, OSError)) as failed:
        open_connection(str(path), migrations=MIGRATIONS, factory=sqlite3.Connection)

    said = why_unwritable(str(path), failed.value)
    assert said.startswith(f"{path} {words}")
    assert "set WORKROOT_HOME to a directory elsewhere" in said


def test_a_killed_daemon_s_log_does_not_make_a_full_disk_look_writable(disk: MemoryDisk) -> None:
    path = disk.point / "state.db"
    script = (
        "import os, sqlite3, sys\n"
        "from workroot.storage.opening import open_connection\n"
        "from workroot.storage.schema import MIGRATIONS\n"
        "open_connection(sys.argv[1], migrations=MIGRATIONS, factory=sqlite3.Connection)\n"
        "os._exit(0)\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True)
    assert (disk.point / "state.db-shm").exists()  # with it, a log can be read and nothing has to grow
    disk.fill()

    with pytest.raises(sqlite3.OperationalError, match="full"):
        open_connection(str(path), migrations=MIGRATIONS, factory=sqlite3.Connection)


def test_missing_rights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.db"
    cause = PermissionError(13, "Permission denied")

    assert why_unwritable(str(path), cause).startswith(f"{path} cannot be opened: check that its directory exists")
    monkeypatch.setattr(os, "access", lambda name, mode: name != str(tmp_path))
    said = f"you may not write to {tmp_path}: correct its owner and mode"
    assert why_unwritable(str(path), cause).startswith(said)
    assert why_unwritable(str(tmp_path / "gone" / "state.db"), cause).startswith(said)


def test_a_quota_is_a_full_disk(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.__cause__ = OSError(122, "Disk quota exceeded")

    assert "its disk is full" in why_unwritable(str(tmp_path / "state.db"), error)
    assert "its disk is full" not in why_unwritable(str(tmp_path / "state.db"), sqlite3.OperationalError("other"))


# The whole daemon

SOON = "import workroot.storage.sqlite as store\nstore._RETRY_SECONDS = 0.1"
"""Looks often whether the disk can be written again."""

SAID = r"memory only since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ: "
FULL = SAID + r".*workroot\.db cannot be written, its disk is full: free some space there"
READ_ONLY = SAID + r".*workroot\.db is on a file system that is mounted read-only: mount it writable"


@contextmanager
def home_on_a_disk(**settings: str) -> Iterator[tuple[Home, MemoryDisk]]:
    """Make a home whose state directory is a disk of its own."""
    with open_home(**settings) as home, memory_disk(home.state) as disk:
        try:
            yield home, disk
        finally:
            end_processes_with(f"WORKROOT_HOME={home.state}")


@pytest.fixture
def home() -> Iterator[Home]:
    with home_on_a_disk() as (home, _):
        yield home


@pytest.fixture
def state_disk(home: Home) -> MemoryDisk:
    return MemoryDisk(home.state)


async def session_before(home: Home) -> str:
    """Have a session kept, and the daemon killed; return its id."""
    home.start()
    async with home.open_client(MODERN, home.directory("before")) as client:
        made = await answer_of(client, "set_working_directory", directory=str(home.top / "before"))
    home.kill_daemon()
    return str(made["session_id"])


def is_healed(home: Home) -> bool:
    return home.ask("status")["store"]["memory_only_since"] is None


async def check_words(client: Client, directory: Path, words: str) -> str:
    """Check that every answer to *client* says so, in data and in text, and return the session that it opened."""
    made = await client.call_tool("set_working_directory", {"directory": str(directory)})
    assert not made.is_error, text_of(made)
    assert made.structured_content is not None
    session = str(made.structured_content["session_id"])
    asked = await client.call_tool("get_working_directory", {"session_id": session})
    for result in (made, asked):
        assert result.structured_content is not None
        assert [one for one in result.structured_content["warnings"] if re.match(words, one)]
        assert result.meta is not None
        assert [one for one in result.meta["workroot/resolution"]["warnings"] if re.match(words, one)]
        assert len(text_of(result).splitlines()) <= 3
        assert re.search(words, text_of(result))
    assert re.search(words, text_of(await client.call_tool("list_projects", {})))
    return session


@pytest.mark.parametrize("era", ERAS)
async def test_on_a_full_disk_the_daemon_serves_from_memory_says_so_and_heals(
    home: Home, state_disk: MemoryDisk, era: str
) -> None:
    state_disk.fill()
    start_patched(home, SOON)

    async with home.open_client(era, home.repository("shop")) as client:
        session = await check_words(client, home.top / "shop", FULL)
        status, shown, metrics = home.ask("status"), home.run("status"), home.run("status", "--metrics").stdout
        assert status["store"]["memory_only_since"] is not None
        assert status["unready"] is None
        assert re.search(FULL, shown.stdout)
        assert "workroot_store_memory_only 1.0" in metrics
        doctor = home.run("doctor")
        assert doctor.returncode == 1
        assert "in memory only, and lost when it ends" in doctor.stdout

        state_disk.make_room()
        await home.wait_until_async(lambda: is_healed(home), what="the disk written again")

        after = await client.call_tool("get_working_directory", {"session_id": session})
        assert "memory only" not in text_of(after)
    home.kill_daemon()
    home.start()
    assert home.sessions()[session]["working_directory"] == str(home.top / "shop")
    assert "memory only since" not in home.run("status").stdout


@pytest.mark.parametrize("lose", ["full", "read-only"])
async def test_what_was_kept_before_the_disk_was_lost_is_served_and_not_lost(
    home: Home, state_disk: MemoryDisk, lose: str
) -> None:
    before = await session_before(home)
    with memory_disk(home.state / "run") as run:
        run.point.chmod(0o700)
        if lose == "full":
            state_disk.fill()
        else:
            state_disk.make_read_only()
        start_patched(home, SOON)

        async with home.open_client(MODERN, home.top / "before") as client:
            asked = await answer_of(client, "get_working_directory", session_id=before)
            assert asked["working_directory"] == str(home.top / "before")
            session = await check_words(client, home.repository("shop"), FULL if lose == "full" else READ_ONLY)
            if lose == "full":
                state_disk.make_room()
            else:
                state_disk.make_read_only(False)
            await home.wait_until_async(lambda: is_healed(home), what="the disk written again")
        home.kill_daemon()
        home.start()
        assert home.sessions().keys() == {before, session}
        end_processes_with(f"WORKROOT_HOME={home.state}")


async def test_without_a_log_the_daemon_serves_and_the_log_begins_when_it_can(
    home: Home, state_disk: MemoryDisk
) -> None:
    (home.state / "run").mkdir(mode=0o700)
    with memory_disk(home.state / "run"):
        state_disk.make_read_only()

        async with home.open_client(MODERN, home.directory("work")) as client:  # starts the daemon, too
            await check_words(client, home.top / "work", READ_ONLY)
            assert not (home.state / "log").exists()
            assert home.ask("status")["log_failed"] > 0

            state_disk.make_read_only(False)
            os.kill(home.ask("status")["pid"], signal.SIGHUP)  # of which the daemon says something
            await home.wait_until_async((home.state / "log" / "daemon.log").exists, what="a log")
        end_processes_with(f"WORKROOT_HOME={home.state}")


async def test_http_is_served_or_its_fault_said_where_nothing_can_be_written() -> None:
    with home_on_a_disk(WORKROOT_HTTP="1") as (home, disk):
        disk.fill()
        home.start()

        http = home.ask("status")["http"]

        assert http.keys() & {"url", "problem"}


@pytest.mark.parametrize("is_new", [True, False])
def test_where_no_socket_can_be_bound_the_error_says_why_and_what_to_do(
    home: Home, state_disk: MemoryDisk, is_new: bool
) -> None:
    if not is_new:
        home.start()
        home.ask("stop")
        end_processes_with(f"WORKROOT_HOME={home.state}")
    state_disk.make_read_only()

    served = home.run("serve")
    connected = home.run("connect")

    assert (served.returncode, connected.returncode) == (1, 4)
    for said in (served.stderr, connected.stderr):
        (line,) = said.splitlines()
        assert "is on a file system that is mounted read-only: mount it writable" in line
        assert "set WORKROOT_HOME to a directory elsewhere, in your editors' entries too" in line
        assert rendezvous.run_directory(str(home.state)) in line or str(home.state / "run") in line


@pytest.mark.parametrize("era", ERAS)
async def test_a_disk_that_fills_up_under_the_daemon_refuses_changes_and_heals(
    home: Home, state_disk: MemoryDisk, era: str
) -> None:
    start_patched(home, SOON)
    one, two = home.repository("one"), home.repository("two")
    async with home.open_client(era, one) as client:
        made = await answer_of(client, "set_working_directory", directory=str(one))
        state_disk.fill()
        refused = ""
        while not refused:  # SQLite may have had room of its own for some
            result = await client.call_tool(
                "set_working_directory", {"directory": str(two), "session_id": made["session_id"]}
            )
            refused = text_of(result) if result.is_error else ""
        assert "disk is full: free some space" in refused

        asked = await client.call_tool("get_working_directory", {"session_id": made["session_id"]})
        assert re.search(SAID + ".*disk is full", text_of(asked))
        assert "changes are refused; tried again every minute" in home.run("status").stdout
        assert home.ask("status")["unready"] == "store"

        state_disk.make_room()
        await home.wait_until_async(lambda: is_healed(home), what="the disk written again")
        moved = await answer_of(client, "set_working_directory", directory=str(two), session_id=made["session_id"])
        assert moved["warnings"] == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_without_the_right_to_write_the_daemon_serves_from_memory_and_heals() -> None:
    with open_home() as home:
        before = await session_before(home)
        home.start()
        home.run("stop")  # in order, so that there is no log, and none can be made
        home.state.chmod(0o500)
        try:
            start_patched(home, SOON)
            async with home.open_client(MODERN, home.top / "before") as client:
                words = SAID + rf"you may not write to {home.state}: correct its owner and mode"
                session = await check_words(client, home.repository("shop"), words)
                assert before in home.sessions()
                home.state.chmod(0o700)
                await home.wait_until_async(lambda: is_healed(home), what="the directory written again")
        finally:
            home.state.chmod(0o700)
        home.kill_daemon()
        home.start()
        assert home.sessions().keys() == {before, session}


async def test_a_spoilt_database_does_not_keep_the_daemon_from_serving_and_is_said(home: Home) -> None:
    await session_before(home)
    (home.state / "workroot.db").write_bytes(b"no database" * 1000)
    for end in ("-wal", "-shm"):
        (home.state / f"workroot.db{end}").unlink(missing_ok=True)

    home.start()

    (aside,) = home.ask("status")["store"]["moved_aside"]
    assert Path(aside).read_bytes() == b"no database" * 1000
    assert f"a file that could not be used was moved to {aside}" in home.run("status").stdout
    assert home.log.count(f"moved to {aside}") == 1
    assert [problem for problem in home.ask("status")["problems"] if aside in str(problem["message"])]
    doctor = home.run("doctor").stdout
    assert f"a database that could not be used was kept as {aside}" in doctor
    async with home.open_client(MODERN, home.directory("after")) as client:
        made = await answer_of(client, "set_working_directory", directory=str(home.top / "after"))
        assert made["warnings"] == []


async def test_on_a_network_disk_the_daemon_says_why_it_is_slower(home: Home) -> None:
    mounts = f"[('/', 'ext4'), ({str(home.state)!r}, 'nfs4')]"
    start_patched(home, f"import workroot.project_finder.mounts as mounts\nmounts._partitions = lambda: {mounts}")

    store = home.ask("status")["store"]

    assert store["journal_mode"] == "delete"
    said = "lies on a network file system or one that a program serves (nfs4): the write-ahead log is refused there"
    assert said in store["journal_warning"]
    assert said in home.run("status").stdout
    assert home.log.count(said) == 1
    assert "does without SQLite's write-ahead log" in home.run("doctor").stdout
    async with home.open_client(MODERN, home.directory("work")) as client:
        made = await answer_of(client, "set_working_directory", directory=str(home.top / "work"))
    home.kill_daemon()
    home.start()
    assert made["session_id"] in home.sessions()
