"""A database that is deleted, replaced or damaged under a running store: nothing acknowledged is missing afterwards."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from failing_connections import Fault, Held, failing, failure
from stored_sessions import ADA, LENT, OVER, WORK, ids, kept, numbered

from workroot.core.changes import AllocationSaved, SessionEnded, SessionSaved
from workroot.core.projects import Directory
from workroot.core.sessions import EndedSession, Ending, SessionContext
from workroot.errors import ChangeRefusedError, StoreUnavailableError
from workroot.storage.sqlite import SqliteStore, open_sqlite_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def held() -> Iterator[Held]:
    with closing(Held()) as made:
        yield made


async def attach(store: SqliteStore, held: Held) -> None:
    held.load(await store.load())
    store.attach(held.snapshot, held.adopt)


async def save(store: SqliteStore, held: Held, session: SessionContext) -> None:
    await store.commit(changes := [SessionSaved(session)])
    held.apply(changes)


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for each in path.parent.glob(f"{path.name}*"):
        if not each.name.endswith(".lock"):
            each.unlink()


def move(path: Path) -> None:
    path.rename(path.with_suffix(".old"))


def delete_log(path: Path) -> None:
    path.with_name("state.db-wal").unlink()


def replace_by_another(path: Path) -> None:
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE theirs (a)")
    os.replace(other, path)


def replace_by_a_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def cut_short(path: Path) -> None:
    os.truncate(path, 0)


def copy_another_over_it(path: Path) -> None:
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS theirs (a)")
    shutil.copyfile(other, path)


def copy_a_backup_over_it(path: Path) -> None:
    backup = path.read_bytes()
    path.write_bytes(backup)
    os.utime(path, (1, 1))  # as `cp -p` leaves it


LOSSES = (
    *(delete, delete_all, move, delete_log, replace_by_another, replace_by_a_directory),
    *(cut_short, copy_another_over_it, copy_a_backup_over_it),
)


@pytest.mark.parametrize("lose", LOSSES)
async def test_a_lost_file_is_written_anew_before_the_next_answer(
    path: Path, held: Held, lose: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    async with open_sqlite_store(path) as store:
        await attach(store, held)
        await save(store, held, WORK)

        lose(path)
        await save(store, held, numbered(1))

        assert store.health().problem is None
        assert len([each for each in caplog.records if "while in use" in each.message]) == 1
    assert await kept(path) == held.snapshot()
    assert ids(held.snapshot()) == {WORK.session_id, "wr_1"}


@pytest.mark.parametrize("lose", [delete_all, cut_short])
async def test_allocated_sessions_are_written_anew_with_all_that_is_held(
    path: Path, held: Held, lose: Callable[[Path], object]
) -> None:
    async with open_sqlite_store(path) as store:
        await attach(store, held)
        await store.commit(changes := [AllocationSaved(LENT), AllocationSaved(OVER)])
        held.apply(changes)

        lose(path)
        await store.commit(changes := [AllocationSaved(newer := replace(LENT, revision=2))])
        held.apply(changes)

        with pytest.raises(ChangeRefusedError, match="has ended"):
            await store.commit([AllocationSaved(replace(LENT, session_id=OVER.session_id, revision=9))])
    assert set((await kept(path)).allocations) == {newer, OVER}


async def test_what_lay_in_the_place_of_the_database_is_kept_and_named(path: Path, held: Held) -> None:
    async with open_sqlite_store(path) as store:
        await attach(store, held)
        replace_by_another(path)
        await save(store, held, WORK)
        (aside,) = store.health().moved_aside

    assert aside.startswith(f"{path}.replaced-")
    with closing(sqlite3.connect(aside)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


async def test_what_was_copied_over_the_database_is_kept_as_it_was(path: Path, held: Held) -> None:
    async with open_sqlite_store(path) as store:
        await attach(store, held)
        await save(store, held, WORK)
        copy_another_over_it(path)
        theirs = path.read_bytes()

        await save(store, held, numbered(1))
        (aside,) = store.health().moved_aside

    assert Path(aside).read_bytes() == theirs, "our log was not moved into it"
    assert not Path(f"{aside}-wal").exists()


@pytest.mark.parametrize("lose", [cut_short, copy_another_over_it])
async def test_a_file_written_over_while_a_commit_runs_is_noticed_before_the_answer(
    path: Path, held: Held, lose: Callable[[Path], object]
) -> None:
    async with open_sqlite_store(path, factory=lost_at_commit(path, lose)) as store:
        await attach(store, held)
        for number in range(8):
            await save(store, held, numbered(number))

        assert len(store.health().moved_aside) == 1


def garble(log: Path) -> None:
    log.write_bytes(b"no log" * 2000)


def empty(log: Path) -> None:
    os.truncate(log, 0)


def append(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b"no frame")


@pytest.mark.parametrize("write", [garble, empty, append])
@pytest.mark.parametrize("is_in_a_commit", [False, True])
async def test_a_log_that_somebody_wrote_into_is_kept_and_all_is_written_anew(
    path: Path, held: Held, write: Callable[[Path], object], is_in_a_commit: bool
) -> None:
    log = path.with_name("state.db-wal")
    factory = lost_at_commit(path, lambda _: write(log)) if is_in_a_commit else sqlite3.Connection
    async with open_sqlite_store(path, factory=factory) as store:
        await attach(store, held)
        await save(store, held, WORK)
        if not is_in_a_commit:
            write(log)
        theirs = log.read_bytes()
        for number in range(8):
            await save(store, held, numbered(number))
        moved, problem = store.health().moved_aside, store.health().problem

    assert problem is None
    assert is_in_a_commit or [Path(f"{each}-wal").read_bytes() for each in moved[1:]] == [theirs]
    assert await kept(path) == held.snapshot()


async def test_a_log_of_which_no_copy_can_be_made_is_left_until_there_is_room(
    path: Path, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = path.with_name("state.db-wal")

    def copy(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", source)

    async with open_sqlite_store(path) as store:
        await attach(store, held)
        await save(store, held, WORK)
        garble(log)
        with monkeypatch.context() as full:
            full.setattr(shutil, "copyfile", copy)
            with pytest.raises(StoreUnavailableError, match="the disk is full: free some space"):
                await save(store, held, numbered(1))
        assert log.read_bytes().startswith(b"no log"), "it is as they left it"
        assert not list(path.parent.glob("*.part"))

        delete_log(path)
        await save(store, held, numbered(2))

    assert await kept(path) == held.snapshot()


async def test_files_that_were_written_into_and_deleted_are_written_anew(path: Path, held: Held) -> None:
    async with open_sqlite_store(path) as store:
        await attach(store, held)
        await save(store, held, WORK)
        copy_a_backup_over_it(path)
        with pytest.raises(StoreUnavailableError, match="replaced"):
            await store.tidy()
        delete_log(path)
        await save(store, held, numbered(1))

    assert await kept(path) == held.snapshot()


async def test_what_another_program_commits_by_the_rules_of_sqlite_is_no_damage(path: Path, held: Held) -> None:
    async with open_sqlite_store(path) as store:
        await attach(store, held)
        await save(store, held, WORK)
        with closing(sqlite3.connect(path, isolation_level=None)) as theirs:
            theirs.execute("INSERT INTO meta VALUES ('theirs', '1')")
            await save(store, held, numbered(1))
            await store.tidy()
            await save(store, held, numbered(2))
        assert store.health().moved_aside == ()

    assert ids(await kept(path)) == {WORK.session_id, "wr_1", "wr_2"}


async def test_a_file_that_grows_by_its_own_log_is_no_stranger_s(path: Path, held: Held) -> None:
    class MovesOften(sqlite3.Connection):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.execute("PRAGMA wal_autocheckpoint = 12")

    async with open_sqlite_store(path, factory=MovesOften) as store:
        await attach(store, held)
        for number in range(40):
            await save(store, held, numbered(number))
        assert store.health().moved_aside == ()
        assert path.stat().st_size > 4096, "the log was moved into it"

    assert await kept(path) == held.snapshot()


async def test_a_connection_that_cannot_say_who_wrote_counts_as_damage(path: Path, held: Held) -> None:
    def fail(sql: str) -> sqlite3.Error | None:
        return failure(sqlite3.SQLITE_IOERR) if "data_version" in sql else None

    async with open_sqlite_store(path, factory=failing(fail)) as store:
        await attach(store, held)
        copy_a_backup_over_it(path)
        await save(store, held, WORK)
        assert len(store.health().moved_aside) == 1

    assert await kept(path) == held.snapshot()


@pytest.mark.parametrize("lose", LOSSES)
async def test_all_that_many_callers_were_told_is_there_whenever_the_file_is_lost(
    path: Path, held: Held, lose: Callable[[Path], object]
) -> None:
    saved = 0

    async def call(store: SqliteStore, caller: int) -> None:
        nonlocal saved
        for number in range(12):
            await save(store, held, numbered(caller * 100 + number))
            saved += 1
            if saved % 40 == 0:  # in the middle of those who were answered in the same step
                lose(path)

    with anyio.fail_after(20):
        async with open_sqlite_store(path, factory=lost_at_commit(path, lose)) as store:
            await attach(store, held)
            async with anyio.create_task_group() as callers:
                for caller in range(20):
                    callers.start_soon(call, store, caller)

    assert saved == 240
    assert await kept(path) == held.snapshot()
    assert len(held.snapshot().sessions) == 240


def lost_at_commit(path: Path, lose: Callable[[Path], object]) -> type[sqlite3.Connection]:
    """Return a kind of connection that loses its file just before its seventh commit."""
    commits = 0

    def look(sql: str) -> None:
        nonlocal commits
        commits += sql == "COMMIT"
        if sql == "COMMIT" and commits == 7:
            lose(path)

    return failing(look)


async def test_a_file_lost_after_the_last_commit_is_written_anew_at_the_end(path: Path, held: Held) -> None:
    async with open_sqlite_store(path) as store:
        await attach(store, held)
        await save(store, held, WORK)
        delete_all(path)
        assert "deleted or replaced" in str(store.health().problem)

    assert await kept(path) == held.snapshot()


async def test_what_ended_stays_ended_in_a_file_that_was_written_anew(path: Path, held: Held) -> None:
    end = EndedSession(
        session_id=WORK.session_id, owner=ADA, last_directory=Directory("/"), ending=Ending.CLOSED, ended_at=1.0
    )
    async with open_sqlite_store(path) as store:
        await attach(store, held)
        await save(store, held, WORK)
        await store.commit(changes := [SessionEnded(end)])
        held.apply(changes)
        delete(path)

        with pytest.raises(ChangeRefusedError):
            await save(store, held, replace(WORK, revision=5))

    assert await kept(path) == held.snapshot()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB])
async def test_a_file_that_turns_out_damaged_is_moved_aside_and_nobody_waits_for_it(
    path: Path, held: Held, code: int
) -> None:
    fault = Fault(0, code)
    async with open_sqlite_store(path, factory=fault.factory()) as store:
        await attach(store, held)
        await save(store, held, WORK)

        fault.nth = fault.calls + 2
        await save(store, held, numbered(1))

        (aside,) = store.health().moved_aside
        assert store.health().problem is None
    assert aside.startswith(f"{path}.damaged-")
    assert ids(await kept(path)) == {WORK.session_id, "wr_1"}


@pytest.mark.parametrize("step", ["", "DELETE FROM sessions"])
async def test_a_lost_file_that_cannot_be_written_anew_is_tried_again_by_the_next_caller(
    path: Path, held: Held, step: str
) -> None:
    is_full = False

    def full_disk(sql: str) -> sqlite3.Error | None:
        return failure(sqlite3.SQLITE_FULL) if is_full and sql.startswith(step) else None

    async with open_sqlite_store(path, factory=failing(full_disk)) as store:
        await attach(store, held)
        await save(store, held, WORK)
        delete_all(path)
        is_full = True
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match="disk is full"):
                await save(store, held, numbered(1))
        with pytest.raises(StoreUnavailableError):
            await store.back_up(str(path.parent / "backups"), version="1")

        is_full = False
        await save(store, held, numbered(2))

        assert store.health().moved_aside == ()
    assert ids(await kept(path)) == {WORK.session_id, "wr_2"}


async def test_a_file_that_is_lost_again_and_again_is_given_up_for_that_batch(path: Path, held: Held) -> None:
    is_bewitched = False

    def vanish(sql: str) -> None:
        if is_bewitched and sql == "COMMIT":
            path.unlink(missing_ok=True)

    async with open_sqlite_store(path, factory=failing(vanish)) as store:
        await attach(store, held)
        is_bewitched = True
        with pytest.raises(StoreUnavailableError, match="lost once more"):
            await save(store, held, WORK)
        is_bewitched = False
        await save(store, held, numbered(1))

    assert ids(await kept(path)) == {"wr_1"}


@pytest.mark.parametrize(
    ("code", "words"), [(sqlite3.SQLITE_CORRUPT, "is damaged"), (sqlite3.SQLITE_NOTADB, "is not a database")]
)
async def test_a_damaged_file_of_which_nobody_holds_anything_is_left_alone(path: Path, code: int, words: str) -> None:
    fault = Fault(0, code)
    async with open_sqlite_store(path, factory=fault.factory()) as store:
        await store.commit([SessionSaved(WORK)])
        fault.nth = fault.calls + 2
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match=words):
                await store.commit([SessionSaved(numbered(1))])
        assert store.health().moved_aside == ()

    assert ids(await kept(path)) == {WORK.session_id}
