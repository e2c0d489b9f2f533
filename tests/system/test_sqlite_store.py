"""The store on disk, with real files, real processes and real faults."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.text import TextReceiveStream
from failing_connections import failing
from stored_sessions import ADA, LENT, OVER, WORK, ids, kept, numbered

from workroot.core.changes import (
    AliasBound,
    AllocationSaved,
    EndedForgotten,
    ProjectIdKept,
    ProjectSeen,
    SessionEnded,
    SessionSaved,
    StoredState,
)
from workroot.core.projects import Directory, KnownId, KnownProject, ProjectId, ProjectKey
from workroot.core.sessions import (
    Alias,
    EndedSession,
    Ending,
    PinnedSign,
    SessionContext,
    SessionId,
)
from workroot.errors import StoreError, StoreInUseError, StoreTooNewError, StoreUnavailableError
from workroot.storage.opening import put_in_force
from workroot.storage.schema import APPLICATION_ID, MIGRATIONS
from workroot.storage.sqlite import SqliteStore, open_sqlite_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def contents(directory: Path) -> dict[str, bytes]:
    """Return the databases and logs in a directory; `-shm` is SQLite's scratch memory, `.lock` empty."""
    return {
        entry.name: entry.read_bytes()
        for entry in directory.iterdir()
        if not entry.name.endswith(("-shm", ".lock")) and entry.stat().st_size
    }


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def killed_while_open(path: Path, *statements: str) -> None:
    """Leave a database as a process leaves it that is killed after *statements*."""
    script = (
        "import os, sqlite3, sys\n"
        "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "for statement in sys.argv[2:]: connection.execute(statement).fetchall()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(path), *statements], check=False)
    assert ended.returncode == -signal.SIGKILL


# What outlives the process


async def test_all_that_was_kept_survives_closing_and_opening(path: Path) -> None:
    project = KnownProject(
        project_id=ProjectId("p"), name="app", root=Directory("/r"), worktree_of=Directory("/m"), seen_at=1.5
    )
    known = KnownId(key=ProjectKey("/r/.git", ""), project_id=ProjectId("p"), name="app", root=Directory("/r"))
    gone = EndedSession(
        session_id=SessionId("wr_gone"),
        owner=ADA,
        last_directory=Directory("/old"),
        ending=Ending.EXPIRED,
        ended_at=2.5,
    )
    async with open_sqlite_store(path) as store:
        await store.commit(
            [
                SessionSaved(WORK),
                AliasBound(ADA, Alias("conn"), WORK.session_id),
                ProjectSeen(ADA, project),
                ProjectIdKept(known),
                SessionEnded(gone),
                AllocationSaved(LENT),
                AllocationSaved(OVER),
            ]
        )
        before = await store.load()

    async with open_sqlite_store(str(path)) as store:
        assert await store.load() == before
    assert (before.sessions, before.project_ids) == ((WORK,), (known,))
    assert before.allocations == (LENT, OVER)


WRITING_CHILD = """
import sys, anyio
from dataclasses import replace
from workroot.core.allocations import AllocatedSession
from workroot.core.projects import Directory
from workroot.core.changes import AllocationSaved, SessionSaved
from workroot.core.sessions import Owner, SessionContext, SessionId
from workroot.storage.sqlite import open_sqlite_store

async def main():
    async with open_sqlite_store(sys.argv[1]) as store, anyio.create_task_group() as tasks:
        async def write(writer):
            number = 0
            while True:
                number += 1
                session_id = SessionId(f"wr_{writer}_{number}")
                session = SessionSaved(SessionContext(
                    session_id=session_id, owner=Owner("uid:0"), working_directory=Directory("/"),
                    given_directory="/", set_at=1.0, last_used=1.0))
                allocation = AllocationSaved(AllocatedSession(
                    session_id=session_id, owner=Owner("uid:0"), user_id=None, created_at=1.0, deadline=2.0,
                    last_accessed=1.0))
                await store.commit([session] if writer % 2 else [allocation])
                print(session_id, flush=True)
        for writer in range(8):
            tasks.start_soon(write, writer)

anyio.run(main)
"""


@pytest.mark.parametrize("acknowledged", [1, 10, 150])
async def test_a_kill_while_writing_loses_nothing_that_was_acknowledged(path: Path, acknowledged: int) -> None:
    heard = ""
    with anyio.fail_after(30):
        async with await anyio.open_process([sys.executable, "-c", WRITING_CHILD, str(path)], stderr=None) as child:
            assert child.stdout is not None
            output = TextReceiveStream(child.stdout)
            while heard.count("\n") < acknowledged:
                heard += await output.receive()
            child.kill()
            async for rest in output:
                heard += rest

    printed = set(heard[: heard.rindex("\n")].split("\n"))
    assert len(printed) >= acknowledged
    state = await kept(path)
    assert printed <= ids(state) | {each.session_id for each in state.allocations}
    assert acknowledged < 150 or (state.sessions and state.allocations), "there were writers of one kind only"


async def test_callers_that_wait_at_the_end_are_served_before_it_closes(path: Path) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks, open_sqlite_store(path) as store:
            for number in range(100):
                tasks.start_soon(store.commit, [SessionSaved(numbered(number))])
            await anyio.wait_all_tasks_blocked()

    assert ids(await kept(path)) == {f"wr_{number}" for number in range(100)}


async def test_each_commit_is_counted_once(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        for number in range(3):
            await store.commit([SessionSaved(numbered(number))])

        assert (store.health().commits, store.health().failed_commits) == (3, 0)


async def test_closing_moves_the_log_into_the_database(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(WORK)])
        assert (path.parent / "state.db-wal").stat().st_size > 0

    assert {entry.name for entry in path.parent.iterdir()} == {"state.db", "state.db.lock"}


async def test_a_closed_store_says_so(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        pass

    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.commit([SessionSaved(WORK)])
    with pytest.raises(StoreUnavailableError, match="closed"):
        await store.load()


# How it is opened


async def test_the_settings_that_keep_data_safe_are_in_force(path: Path) -> None:
    found: dict[str, object] = {}

    def look(connection: sqlite3.Connection) -> None:
        for name in ("journal_mode", "synchronous", "foreign_keys", "journal_size_limit", "busy_timeout", "mmap_size"):
            (found[name],) = connection.execute(f"PRAGMA {name}").fetchone()

    async with open_sqlite_store(path, migrations=(*MIGRATIONS, look)):
        pass

    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "journal_size_limit": 4 * 1024 * 1024,
        "busy_timeout": 2_000,
        "mmap_size": 0,
    }


def test_a_setting_that_is_not_in_force_is_an_error() -> None:
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(StoreUnavailableError, match="keeps journal_mode at memory, wal is needed"),
    ):
        put_in_force(connection, "state.db", "journal_mode", "WAL", "wal")


@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
async def test_only_the_user_can_read_the_files_whatever_the_umask(path: Path, mask: int) -> None:
    with umask(mask):
        async with open_sqlite_store(path) as store:
            await store.commit([SessionSaved(WORK)])
            modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}

    assert set(modes) == {"state.db", "state.db-wal", "state.db-shm", "state.db.lock"}
    assert {oct(mode) for mode in modes.values()} == {oct(0o600)}


async def test_a_database_that_others_could_read_is_made_private(path: Path) -> None:
    async with open_sqlite_store(path):
        pass
    path.chmod(0o644)

    async with open_sqlite_store(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_second_owner_in_this_process_is_refused(path: Path) -> None:
    (link := path.parent / "link.db").symlink_to(path)
    async with open_sqlite_store(path) as store:
        for name in (path, link):
            with pytest.raises(StoreInUseError):
                async with open_sqlite_store(name):
                    pass
        await store.commit([SessionSaved(WORK)])

    assert ids(await kept(path)) == {WORK.session_id}


async def test_a_second_process_is_refused(path: Path) -> None:
    async with open_sqlite_store(path):
        ended = await anyio.run_process([sys.executable, "-c", WRITING_CHILD, str(path)], check=False)

    assert b"StoreInUseError" in ended.stderr
    assert ended.stdout == b""


async def test_a_file_system_without_locks_is_refused_and_leaves_nothing_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(_: int, __: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    before = os.listdir("/dev/fd")

    with pytest.raises(StoreUnavailableError, match="No locks available"):
        async with open_sqlite_store(path):
            pass

    assert os.listdir("/dev/fd") == before
    assert not path.exists()


async def test_a_missing_directory_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(
        StoreUnavailableError, match=r"state\.db cannot be opened: check that its directory exists.*No such file"
    ):
        async with open_sqlite_store(tmp_path / "missing" / "state.db"):
            pass


@pytest.mark.parametrize("steps", range(12))
async def test_an_opening_cancelled_at_any_step_leaves_the_file_to_the_next(path: Path, steps: int) -> None:
    async def hold() -> None:
        async with open_sqlite_store(path):
            await anyio.sleep_forever()

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            for _ in range(steps):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()

    assert ids(await kept(path)) == set()


async def test_a_directory_in_the_place_of_the_database_is_left_alone(path: Path) -> None:
    path.mkdir(mode=0o755)

    with pytest.raises(StoreUnavailableError, match="not a regular file"):
        async with open_sqlite_store(path):
            pass

    assert stat.S_IMODE(path.stat().st_mode) == 0o755


async def test_a_log_that_cannot_be_opened_is_an_error_that_says_what_to_check(path: Path) -> None:
    async with open_sqlite_store(path):
        pass
    path.with_name("state.db-wal").mkdir()

    with pytest.raises(StoreUnavailableError, match=r"state\.db cannot be opened: check"):
        async with open_sqlite_store(path):
            pass


async def test_what_is_raised_inside_comes_out_as_it_was_raised(path: Path) -> None:
    mine, cause = KeyError("mine"), ValueError("why")
    with pytest.raises(KeyError) as raised:
        async with open_sqlite_store(path):
            raise mine from cause

    assert raised.value is mine
    assert mine.__cause__ is cause


# Versions


def second_step(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE sessions ADD COLUMN note TEXT")


async def test_a_newer_database_is_left_as_it_was_to_the_byte(path: Path) -> None:
    # The version is still in the log, as after a crash of the newer workroot.
    killed_while_open(
        path,
        "PRAGMA journal_mode = WAL",
        f"PRAGMA application_id = {APPLICATION_ID}",
        "CREATE TABLE later (a)",
        "PRAGMA wal_checkpoint(TRUNCATE)",
        "INSERT INTO later VALUES (1)",
        "PRAGMA user_version = 1000",
    )
    before = contents(path.parent)
    assert set(before) == {"state.db", "state.db-wal"}

    for _ in range(2):  # the refusal lets go of the lock
        with pytest.raises(StoreTooNewError, match=f"version 1000, this workroot reads up to {len(MIGRATIONS)}"):
            async with open_sqlite_store(path):
                pass

    assert contents(path.parent) == before


async def test_a_database_of_another_program_is_left_as_it_was(path: Path) -> None:
    killed_while_open(path, "CREATE TABLE theirs (a)")
    before = contents(path.parent)

    with pytest.raises(StoreUnavailableError, match="not a database of workroot"):
        async with open_sqlite_store(path):
            pass

    assert contents(path.parent) == before


async def test_a_migration_keeps_the_sessions_and_a_backup_of_the_version_before(path: Path) -> None:
    old = len(MIGRATIONS)
    backup = path.parent / f"state.db.v{old}.bak"
    backup.write_bytes(b"an earlier backup")
    backup.chmod(0o644)
    (path.parent / f"{backup.name}.part").write_bytes(b"an earlier attempt")
    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(WORK)])
        before = await store.load()

    async with open_sqlite_store(path, migrations=(*MIGRATIONS, second_step)) as store:
        assert await store.load() == before

    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    with closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("PRAGMA user_version").fetchone() == (old,)
        assert copy.execute("SELECT session_id FROM sessions").fetchall() == [(WORK.session_id,)]
        assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with pytest.raises(StoreTooNewError):
        async with open_sqlite_store(path):
            pass
    assert not (path.parent / f"{backup.name}.part").exists()


async def test_a_database_of_version_1_is_led_forward_with_all_that_it_holds(path: Path) -> None:
    dump = (Path(__file__).parent / "state_v1.sql").read_text()
    with closing(sqlite3.connect(path)) as version_1:
        version_1.executescript(dump)
    app, app_id = Directory("/home/ada/app"), ProjectId("5b8f2f0e-6d1c-4b39-9f6e-0d2f4c1f7a11")
    session = SessionContext(
        session_id=SessionId("wr_ada"),
        owner=ADA,
        working_directory=Directory("/home/ada/app/src"),
        given_directory="/home/ada/link/src",
        config_path="/home/ada/app/.workroot/config.toml",
        project_id=app_id,
        project_root=app,
        project_name=None,
        signs=(PinnedSign("roots", "/home/ada/größe", agreed=False),),
        set_at=1_000.25,
        last_used=1_001.5,
        revision=3,
    )
    gone = EndedSession(
        session_id=SessionId("wr_gone"),
        owner=ADA,
        last_directory=Directory("/old"),
        ending=Ending.EXPIRED,
        ended_at=2.5,
    )
    project = KnownProject(project_id=app_id, name="app", root=app, worktree_of=None, seen_at=1_000.0)
    known = KnownId(key=ProjectKey("/home/ada/app/.git", ""), project_id=app_id, name="app", root=app)

    async with open_sqlite_store(path) as store:
        state = await store.load()
        await store.commit([SessionSaved(newer := replace(session, project_name="app", revision=4))])
        await store.commit([ProjectIdKept(known)])
        after = await store.load()

    assert state == StoredState(
        namespace=state.namespace,
        sessions=(session,),
        ended=(replace(gone, seen=state.ended[0].seen),),  # on the clock that began with version 4
        aliases=(AliasBound(ADA, Alias("conn"), session.session_id),),
        projects=(ProjectSeen(ADA, project),),
    )
    assert f"'{state.namespace}'" in dump
    assert (after.sessions, after.project_ids) == ((newer,), (known,))
    with closing(sqlite3.connect(path.with_name("state.db.v1.bak"))) as backup:
        assert backup.execute("PRAGMA user_version").fetchone() == (1,)
        assert backup.execute("SELECT session_id, revision FROM sessions").fetchall() == [("wr_ada", 3)]
        assert backup.execute("SELECT 1 FROM sqlite_schema WHERE name = 'project_ids'").fetchall() == []


async def test_a_database_of_version_4_keeps_allocated_sessions_from_now_on(path: Path) -> None:
    async with open_sqlite_store(path, migrations=MIGRATIONS[:4]):
        pass
    with closing(sqlite3.connect(path, isolation_level=None)) as version_4:
        version_4.execute(
            "INSERT INTO sessions (sandbox, session_id, principal, working_directory, given_directory, signs, set_at, "
            "last_used, revision, seen) VALUES ('default', 'wr_ada', 'uid:1000', '/home/ada/app', '/home/ada/app', "
            "'[]', 1.0, 1.0, 1, 7.5)"
        )

    async with open_sqlite_store(path) as store:
        before = await store.load()
        await store.commit([AllocationSaved(LENT)])

    state = await kept(path)
    assert (before.sessions, before.allocations) == ((WORK,), ())
    assert (state.sessions, dict(state.seen), state.allocations) == ((WORK,), {WORK.key: 7.5}, (LENT,))
    with closing(sqlite3.connect(path.with_name("state.db.v4.bak"))) as backup:
        assert backup.execute("PRAGMA user_version").fetchone() == (4,)
        assert backup.execute("SELECT session_id, seen FROM sessions").fetchall() == [("wr_ada", 7.5)]


async def test_a_new_database_needs_no_backup(path: Path) -> None:
    async with open_sqlite_store(path, migrations=(*MIGRATIONS, second_step)):
        pass

    assert {entry.name for entry in path.parent.iterdir()} == {"state.db", "state.db.lock"}


async def test_a_failing_migration_leaves_a_database_that_the_old_version_opens(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(WORK)])

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TABLE sessions")
        connection.execute("no such statement")

    with pytest.raises(StoreUnavailableError, match=r"state\.db cannot be used now.*syntax error"):
        async with open_sqlite_store(path, migrations=(*MIGRATIONS, broken)):
            pass

    assert ids(await kept(path)) == {WORK.session_id}


async def test_a_database_whose_maker_was_killed_in_the_middle_is_made_anew(path: Path) -> None:
    # A rollback journal that was not played back: a connection that may only read cannot go on.
    killed_while_open(
        path,
        "PRAGMA cache_size = 1",
        "BEGIN",
        "CREATE TABLE half (a)",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) "
        "INSERT INTO half SELECT randomblob(500) FROM n",
    )
    assert (path.parent / "state.db-journal").stat().st_size > 0
    assert path.stat().st_size > 0

    assert ids(await kept(path)) == set()


# A file that is taken away


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(lambda path: path.unlink(), id="deleted"),
        pytest.param(lambda path: path.rename(path.with_suffix(".old")), id="moved"),
        pytest.param(lambda path: path.with_name("state.db-wal").unlink(), id="log deleted"),
        pytest.param(lambda path: os.replace(path.with_name("other.db"), path), id="replaced"),
    ],
)
async def test_nothing_is_acknowledged_once_the_file_is_no_longer_there(
    path: Path, fault: Callable[[Path], object]
) -> None:
    path.with_name("other.db").write_bytes(b"")
    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(WORK)])

        fault(path)

        for number in range(2):
            with pytest.raises(StoreUnavailableError, match=r"state\.db was deleted or replaced"):
                await store.commit([SessionSaved(numbered(number))])
        with pytest.raises(StoreUnavailableError, match="deleted or replaced"):
            await store.load()


async def test_a_file_deleted_while_a_commit_runs_is_noticed_before_the_answer(path: Path) -> None:
    def delete_at_commit(sql: str) -> None:
        if sql == "COMMIT" and armed:
            path.unlink()

    armed = False
    async with open_sqlite_store(path, factory=failing(delete_at_commit)) as store:
        armed = True
        with pytest.raises(StoreUnavailableError, match="deleted or replaced"):
            await store.commit([SessionSaved(WORK)])


async def test_a_file_that_was_put_back_is_used_again_only_after_it_was_opened_again(path: Path) -> None:
    aside = path.with_suffix(".aside")
    async with open_sqlite_store(path) as store:
        path.rename(aside)
        with pytest.raises(StoreUnavailableError):
            await store.commit([SessionSaved(numbered(1))])
        aside.rename(path)
        with pytest.raises(StoreUnavailableError):
            await store.commit([SessionSaved(numbered(2))])

    assert WORK.session_id not in ids(await kept(path))


# A file that is damaged


def moved_aside(path: Path) -> Path:
    """Return where the damaged database of *path* lies."""
    (aside,) = (each for each in path.parent.glob(f"{path.name}.damaged-*") if not each.name.endswith("-wal"))
    return aside


@pytest.mark.parametrize("content", [b"this is no database at all, " * 40, b"SQLite format 3\0" + b"\0" * 4_080])
async def test_a_file_that_is_no_database_is_kept_beside_a_new_one(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)

    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(WORK)])
        assert store.health().moved_aside == (str(moved_aside(path)),)
        assert store.health().problem is None

    assert moved_aside(path).read_bytes() == content
    assert [record for record in caplog.text.splitlines() if str(moved_aside(path)) in record][1:] == []
    assert ids(await kept(path)) == {WORK.session_id}


async def test_a_damaged_page_costs_what_it_holds_and_the_file_is_kept(path: Path) -> None:
    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(numbered(number)) for number in range(200)])
    with path.open("r+b") as file:
        file.seek(4_096)
        file.write(b"\xff" * (path.stat().st_size - 4_096))
    damaged = path.read_bytes()

    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(WORK)])

    assert moved_aside(path).read_bytes() == damaged
    assert WORK.session_id in ids(await kept(path))


async def test_a_row_that_makes_no_sense_costs_its_table_and_the_file_is_kept(path: Path) -> None:
    project = KnownProject(project_id=ProjectId("p"), name="app", root=Directory("/r"), worktree_of=None, seen_at=1.5)
    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(WORK), ProjectSeen(ADA, project)])
        namespace = (await store.load()).namespace
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE sessions SET signs = 'not JSON'")
        connection.commit()

    async with open_sqlite_store(path) as store:
        state = await store.load()

    assert (state.sessions, state.projects, state.namespace) == ((), (ProjectSeen(ADA, project),), namespace)
    with closing(sqlite3.connect(moved_aside(path))) as connection:
        assert connection.execute("SELECT session_id, signs FROM sessions").fetchall() == [("wr_ada", "not JSON")]


# Faults of the disk and of neighbours


async def test_a_full_disk_is_said_and_the_store_goes_on_when_there_is_room(path: Path) -> None:
    def limit(connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 20}")

    acknowledged: set[str] = set()

    async def fill(store: SqliteStore) -> None:
        for number in range(1_000):
            session = replace(numbered(number), given_directory="/" + "x" * 4_000)
            await store.commit([SessionSaved(session)])
            acknowledged.add(session.session_id)

    async with open_sqlite_store(path, migrations=(*MIGRATIONS, limit)) as store:
        with pytest.raises(StoreUnavailableError, match="disk is full"):
            await fill(store)
        assert {session.session_id for session in (await store.load()).sessions} == acknowledged

        for session in (await store.load()).sessions[:5]:
            end = EndedSession(
                session_id=session.session_id,
                owner=ADA,
                last_directory=Directory("/"),
                ending=Ending.CLOSED,
                ended_at=1.0,
            )
            await store.commit([SessionEnded(end), EndedForgotten(2.0)])
            acknowledged.discard(session.session_id)
        await store.commit([SessionSaved(WORK)])

    async with open_sqlite_store(path, migrations=(*MIGRATIONS, limit)) as store:
        assert {session.session_id for session in (await store.load()).sessions} == {*acknowledged, WORK.session_id}


async def test_a_fault_that_undoes_the_transaction_fails_only_the_caller_at_fault(path: Path) -> None:
    def undo_everything(connection: sqlite3.Connection) -> None:
        connection.execute(
            "CREATE TRIGGER bad_disk BEFORE INSERT ON sessions WHEN NEW.session_id = 'wr_5' "
            "BEGIN SELECT RAISE(ROLLBACK, 'bad disk'); END"
        )

    outcomes: dict[int, StoreError | None] = {}

    async def save(store: SqliteStore, number: int) -> None:
        try:
            await store.commit([SessionSaved(numbered(number))])
            outcomes[number] = None
        except StoreError as error:
            outcomes[number] = error

    async with open_sqlite_store(path, migrations=(*MIGRATIONS, undo_everything)) as store:
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(save, store, number)
        await store.commit([SessionSaved(WORK)])
        kept = {session.session_id for session in (await store.load()).sessions}

    assert "bad disk" in str(outcomes.pop(5))
    assert outcomes == dict.fromkeys((0, 1, 2, 3, 4, 6, 7, 8, 9))
    assert kept == {WORK.session_id} | {f"wr_{number}" for number in outcomes}


async def test_a_database_locked_by_another_program_is_said_and_works_when_it_is_free(path: Path) -> None:
    def do_not_wait(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA busy_timeout = 0")

    async with open_sqlite_store(path, migrations=(*MIGRATIONS, do_not_wait)) as store:
        holding = (
            "import sqlite3, sys\n"
            "connection = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
            "connection.execute('BEGIN IMMEDIATE')\n"
            "print('held', flush=True)\n"
            "sys.stdin.read()\n"
        )
        with anyio.fail_after(10):
            async with await anyio.open_process([sys.executable, "-c", holding, str(path)]) as other:
                assert other.stdout is not None
                assert other.stdin is not None
                assert await BufferedByteReceiveStream(other.stdout).receive_until(b"\n", 100) == b"held"
                with pytest.raises(StoreUnavailableError, match="locked by another program"):
                    await store.commit([SessionSaved(numbered(1))])
                await other.stdin.aclose()

        await store.commit([SessionSaved(WORK)])
        assert (await store.load()).sessions == (WORK,)


async def test_a_log_that_cannot_be_moved_at_the_end_loses_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(sql: str) -> sqlite3.Error | None:
        return sqlite3.OperationalError("disk I/O error") if "wal_checkpoint" in sql else None

    async with open_sqlite_store(path, factory=failing(fail)) as store:
        await store.commit([SessionSaved(WORK)])

    assert "stays with its -wal file" in caplog.text
    assert ids(await kept(path)) == {WORK.session_id}


async def test_a_disk_that_does_not_answer_holds_the_end_up_for_the_stated_time_only(path: Path) -> None:
    entered, released = threading.Event(), threading.Event()
    armed = False
    heard: list[StoreError] = []
    hanging: list[threading.Thread] = []

    def hang(sql: str) -> None:
        if armed and sql.startswith("BEGIN"):
            hanging.append(threading.current_thread())
            entered.set()
            released.wait(timeout=10)

    async def save(store: SqliteStore) -> None:
        try:
            await store.commit([SessionSaved(WORK)])
        except StoreUnavailableError as error:
            heard.append(error)

    try:
        with anyio.fail_after(5):
            async with (
                anyio.create_task_group() as tasks,
                open_sqlite_store(path, factory=failing(hang), close_seconds=0) as store,
            ):
                armed = True
                tasks.start_soon(save, store)
                await anyio.to_thread.run_sync(entered.wait)
        assert len(heard) == 1
        with pytest.raises(StoreInUseError):  # the lock stays with the thread that still writes
            async with open_sqlite_store(path):
                pass
    finally:
        released.set()
        await anyio.to_thread.run_sync(hanging[0].join)
    async with open_sqlite_store(path):
        pass


async def test_a_fault_of_our_own_ends_the_store_and_is_not_hidden(path: Path) -> None:
    armed = False

    def fault(sql: str) -> Exception | None:
        return RuntimeError("a fault of our own") if armed and sql.startswith("BEGIN") else None

    async def commit_once() -> None:
        nonlocal armed
        async with open_sqlite_store(path, factory=failing(fault)) as store:
            armed = True
            await store.commit([SessionSaved(WORK)])

    with pytest.raises(ExceptionGroup) as raised:
        await commit_once()
    assert [type(error) for error in raised.value.exceptions] == [RuntimeError]
    assert ids(await kept(path)) == set()
