"""What the store and the watching say of themselves when something is wrong with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import anyio
import pytest
from watchfiles import Change

from workroot.core.changes import SessionSaved
from workroot.core.projects import Directory
from workroot.core.sessions import Owner, SessionContext, SessionId
from workroot.errors import StoreUnavailableError
from workroot.storage.sqlite import open_sqlite_store
from workroot.watching import Watcher
from workroot.watching.thread import Bell, watch_files

SESSION = SessionContext(
    session_id=SessionId("wr_one"),
    owner=Owner("uid:1000"),
    working_directory=Directory("/a"),
    given_directory="/a",
    set_at=1.0,
    last_used=1.0,
)


class FullDisk(sqlite3.Connection):
    """A connection whose commits fail while told so."""

    is_full = False

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        if FullDisk.is_full and sql.startswith("COMMIT"):
            raise sqlite3.OperationalError("database or disk is full")
        return super().execute(sql, *arguments)  # type: ignore[arg-type]  # as it was called


async def test_a_store_that_is_well_says_what_it_is(tmp_path: Path) -> None:
    async with open_sqlite_store(tmp_path / "w.db") as store:
        await store.commit([SessionSaved(SESSION)])

        health = store.health()

    assert (health.path, health.journal_mode, health.problem) == (str(tmp_path / "w.db"), "wal", None)
    assert (health.commits, health.failed_commits, health.waiting) == (1, 0, 0)
    assert health.size_bytes
    assert health.wal_bytes


async def test_a_store_that_failed_says_so_until_it_works_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_sqlite_store(tmp_path / "w.db", factory=FullDisk) as store:
        monkeypatch.setattr(FullDisk, "is_full", True)
        with pytest.raises(StoreUnavailableError):
            await store.commit([SessionSaved(SESSION)])
        assert "full" in (store.health().problem or "")
        assert store.health().failed_commits == 1

        monkeypatch.setattr(FullDisk, "is_full", False)
        await store.commit([SessionSaved(SESSION)])

        assert store.health().problem is None


async def test_a_store_whose_file_is_gone_says_so_before_anybody_writes(tmp_path: Path) -> None:
    async with open_sqlite_store(tmp_path / "w.db") as store:
        (tmp_path / "w.db").rename(tmp_path / "elsewhere.db")

        health = store.health()

    assert "deleted or replaced" in (health.problem or "")
    assert health.size_bytes is None


async def until(is_so: Callable[[], bool]) -> None:
    with anyio.fail_after(10):
        while not is_so():
            await anyio.lowlevel.checkpoint()


async def test_watching_says_what_is_told_and_what_is_polled(tmp_path: Path) -> None:
    watcher = Watcher()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watcher.run, lambda _: None)
        watcher.watch([str(tmp_path), str(tmp_path / "absent")])

        await until(lambda: watcher.health().watched == 1)

        health = watcher.health()
        tasks.cancel_scope.cancel()
    assert (health.polled, health.failures, health.last_failure, health.is_working) == (1, 0, None, True)


async def test_watching_that_fails_says_why_and_polls(tmp_path: Path) -> None:
    def fail(_: Sequence[str], __: Bell) -> Generator[set[tuple[Change, str]], None, None]:
        raise OSError(28, "no space left on device")
        yield from watch_files((), __)

    watcher = Watcher(watch_function=fail, retry_seconds=60)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(watcher.run, lambda _: None)
        watcher.watch([str(tmp_path)])

        await until(lambda: not watcher.health().is_working)

        health = watcher.health()
        tasks.cancel_scope.cancel()
    assert (health.watched, health.polled) == (0, 1)
    assert health.failures >= 1
    assert "no space left" in (health.last_failure or "")
