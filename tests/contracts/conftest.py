"""Stores that the contract is held against."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from workroot.storage.memory import MemoryStore
from workroot.storage.sqlite import open_sqlite_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from workroot.core.ports import SessionStore


@asynccontextmanager
async def _open_memory(_: Path) -> AsyncIterator[SessionStore]:
    yield MemoryStore()


def _open_sqlite(directory: Path) -> AbstractAsyncContextManager[SessionStore]:
    return open_sqlite_store(directory / "state.db")


class _NoDisk(sqlite3.Connection):
    """A connection to a file that cannot be opened."""

    def __init__(self, *_: object, **__: object) -> None:
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error


def _open_sqlite_without_disk(directory: Path) -> AbstractAsyncContextManager[SessionStore]:
    return open_sqlite_store(directory / "state.db", factory=_NoDisk, may_keep_in_memory=True)


@pytest.fixture(
    params=[_open_memory, _open_sqlite, _open_sqlite_without_disk], ids=["memory", "sqlite", "sqlite without disk"]
)
def opens_store(request: pytest.FixtureRequest) -> Callable[[Path], AbstractAsyncContextManager[SessionStore]]:
    opens: Callable[[Path], AbstractAsyncContextManager[SessionStore]] = request.param
    return opens


@pytest.fixture
async def store(
    opens_store: Callable[[Path], AbstractAsyncContextManager[SessionStore]], tmp_path: Path
) -> AsyncIterator[SessionStore]:
    """An empty store of each kind.

    A task of its own opens and closes it: the set-up and the end of a fixture are two tasks, and
    a cancel scope must be left in the one that entered it.
    """
    opened: asyncio.Future[SessionStore] = asyncio.get_running_loop().create_future()
    finished = asyncio.Event()

    async def own() -> None:
        async with opens_store(tmp_path) as store:
            opened.set_result(store)
            await finished.wait()

    owner = asyncio.create_task(own())
    owner.add_done_callback(lambda _: opened.cancel())
    await asyncio.wait([opened])
    if opened.cancelled():
        owner.result()
    yield opened.result()
    finished.set()
    await owner
