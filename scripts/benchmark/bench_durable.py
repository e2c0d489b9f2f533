"""On disk: how fast a change is acknowledged that outlives a power failure, beside what else gives that promise.

Everything stands beside one aiosqlite commit a call (WAL, `synchronous=FULL`), under the same number of callers.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import fields
from pathlib import Path

import aiosqlite
import anyio
from bench_rounds import Effort, Subject, in_turns, p99, rate_of_seconds
from bench_rows import Row, row_of
from bench_sessions import sessions
from bench_valkey import open_valkey

from workroot.core.changes import SessionSaved
from workroot.core.identities import Identities
from workroot.core.sessions import SessionContext
from workroot.project_finder import ProjectFinder
from workroot.session_context import SessionContextManager
from workroot.storage.sqlite import open_sqlite_store

__all__ = ["measure_durable"]

SECTION = "durable"
BESIDE = "one aiosqlite commit a call"
SAVE, SET = "store.commit, through the queue", "set_working_directory, warm cache"
AIMS = {(SAVE, 1): 1.0, (SAVE, 100): 20.0, (SET, 100): 2.5}

_COLUMNS = tuple(field.name for field in fields(SessionContext) if field.name not in ("owner", "signs"))
_TABLE = (
    f"CREATE TABLE sessions (principal, sandbox, {', '.join(_COLUMNS)}, "
    f"PRIMARY KEY (sandbox, session_id)) WITHOUT ROWID"
)
_UPSERT = (
    f"INSERT INTO sessions VALUES (?, ?, {', '.join('?' * len(_COLUMNS))}) ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)
)
_PRAGMAS = ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", "PRAGMA fullfsync = 1")


async def measure_durable(top: Path, effort: Effort) -> tuple[list[Row], dict[str, str]]:
    """Measure under each load, and return the rows and what is missing."""
    missing: dict[str, str] = {}
    rows: list[Row] = []
    held = sessions(max(effort.durable_loads))
    async with AsyncExitStack() as stack:
        baseline = await stack.enter_async_context(_one_commit_a_call(top / "aiosqlite.db", held))
        subjects = [baseline, stack.enter_context(closing(InLine(top / "in-line.db"))).subject(held)]
        try:
            subjects += await stack.enter_async_context(_valkey(top / "valkey", held, max(effort.durable_loads)))
        except (ImportError, OSError) as error:
            missing["Valkey"] = f"cannot be started ({error})"
        subjects += await stack.enter_async_context(_ours(top, held))
        for callers in effort.durable_loads:

            async def measure(subject: Subject, callers: int = callers) -> tuple[float, list[float]]:
                return await rate_of_seconds(subject, callers, effort.durable_seconds)

            now = [subject for subject in subjects if callers <= subject.most_callers]
            found = await in_turns(now, effort.rounds, measure)
            rows += [
                row_of(
                    SECTION,
                    subject.name,
                    found[subject.name].rates,
                    found[baseline.name].rates,
                    unit="/s",
                    load=f"{callers} caller{'s' * (callers > 1)}",
                    of=subject.of,
                    beside_name=BESIDE,
                    aim=AIMS.get((subject.name, callers)),
                    is_higher_better=True,
                    note=f"p99 {p99(found[subject.name].took) * 1000:.2f} ms",
                )
                for subject in now
            ]
    return rows, missing


def _values(session: SessionContext) -> tuple[object, ...]:
    return (*session.owner, *(getattr(session, name) for name in _COLUMNS))


@asynccontextmanager
async def _one_commit_a_call(path: Path, held: list[SessionContext]) -> AsyncIterator[Subject]:
    """What one writes first; the lock keeps callers that share the connection from sharing a transaction."""
    async with aiosqlite.connect(path) as connection:
        for statement in (*_PRAGMAS, _TABLE):
            await connection.execute(statement)
        await connection.commit()
        lock = asyncio.Lock()

        async def save(*values: object) -> None:
            async with lock:
                await connection.execute(_UPSERT, values)
                await connection.commit()

        arguments = [_values(session) for session in held]
        yield Subject(name="aiosqlite, one commit a call", call=save, arguments=arguments, of="SQLite")


class InLine:
    """`sqlite3` on the event loop's own thread: no trip to another one, and everybody waits for the disk."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for statement in (*_PRAGMAS, _TABLE):
            self._connection.execute(statement)

    async def save(self, *values: object) -> None:
        """Insert or update one row, and commit; let others go on between two calls."""
        self._connection.execute(_UPSERT, values)
        await asyncio.sleep(0)

    def subject(self, held: list[SessionContext]) -> Subject:
        """Return it as a subject."""
        arguments = [_values(session) for session in held]
        return Subject(name="sqlite3 in-line (blocks the loop)", call=self.save, arguments=arguments, of="SQLite")

    def close(self) -> None:
        """Close the database."""
        self._connection.close()


@asynccontextmanager
async def _valkey(directory: Path, held: list[SessionContext], most: int) -> AsyncIterator[list[Subject]]:
    """`SET` of the record as JSON: over one connection that everybody shares a turn of, and over a pool."""
    async with open_valkey(directory) as server:
        pool, of = server.pool(min(most, 100)), "Valkey"
        connection = server.held_connection()
        lock = asyncio.Lock()

        async def set_held(key: str, value: str) -> None:
            async with lock:
                await connection.set(key, value)

        arguments = [
            (f"session:{session.session_id}", json.dumps(dict(zip(_COLUMNS, _values(session)[2:], strict=True))))
            for session in held
        ]
        try:
            yield [
                Subject(name="Valkey, always, held connection", call=set_held, arguments=arguments, of=of),
                Subject(name="Valkey, always, pool of 100", call=pool.set, arguments=arguments, of=of),
            ]
        finally:
            await pool.aclose()
            await connection.aclose()


@asynccontextmanager
async def _ours(top: Path, held: list[SessionContext]) -> AsyncIterator[list[Subject]]:
    """The store alone, and the whole manager on a store of its own: it looks at the directory, too."""
    directories = [top / name for name in ("one", "two")]
    for directory in directories:
        (directory / ".git").mkdir(parents=True)
        (directory / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    await anyio.sleep(2.1)  # what changed less than two seconds ago is not remembered
    identities = Identities()
    async with open_sqlite_store(top / "store.db") as store, open_sqlite_store(top / "manager.db") as managed:
        finder = ProjectFinder((await managed.load()).namespace, identities=identities)
        async with SessionContextManager(managed, finder, identities=identities) as manager:
            places = [str(directory.resolve()) for directory in directories]
            arguments = [(session.session_id, place) for place in places for session in held]
            yield [
                Subject(name=SAVE, call=store.commit, arguments=[([SessionSaved(session)],) for session in held]),
                Subject(name=SET, call=manager.set_working_directory, arguments=arguments),
            ]
