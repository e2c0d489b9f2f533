"""A database that is deleted, replaced or damaged under a running store: nothing acknowledged is missing afterwards."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest
from failing_connections import Fault, Held, failing, failure

from workroot.core.changes import SessionEnded, SessionSaved, StoredState
from workroot.core.projects import Directory
from workroot.core.sessions import EndedSession, Ending, Owner, SessionContext, SessionId
from workroot.errors import ChangeRefusedError, StoreUnavailableError
from workroot.storage.sqlite import SqliteStore, open_sqlite_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ADA = Owner("uid:1000")
WORK = SessionContext(
    session_id=SessionId("wr_ada"),
    owner=ADA,
    working_directory=Directory("/home/ada/app"),
    given_directory="/home/ada/app",
    set_at=1.0,
    last_used=1.0,
)


def numbered(number: int) -> SessionContext:
    return replace(WORK, session_id=SessionId(f"wr_{number}"))


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


async def kept(path: Path) -> StoredState:
    async with open_sqlite_store(path) as store:
        return await store.load()


def ids(state: StoredState) -> set[str]:
    return {session.session_id for session in state.sessions}


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


LOSSES = (delete, delete_all, move, delete_log, replace_by_another, replace_by_a_directory)


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


async def test_what_lay_in_the_place_of_the_database_is_kept_and_named(path: Path, held: Held) -> None:
    async with open_sqlite_store(path) as store:
        await attach(store, held)
        replace_by_another(path)
        await save(store, held, WORK)
        (aside,) = store.health().moved_aside

    assert aside.startswith(f"{path}.replaced-")
    with closing(sqlite3.connect(aside)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


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
