"""In memory: how fast a session is read and changed, beside what people build instead.

Everything stands beside a dict behind an `asyncio.Lock`, each call an awaited method: the least that one would write.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from bench_rounds import Effort, Subject, in_turns, rate_of_calls
from bench_rows import Row, row_of
from bench_sessions import OWNER, sessions

from workroot.core.changes import SessionSaved
from workroot.core.identities import Identities
from workroot.project_finder import ProjectFinder
from workroot.session_context import SessionContextManager
from workroot.storage.memory import MemoryStore

__all__ = ["measure_memory"]

SECTION = "memory"
BESIDE = "a dict behind an asyncio.Lock"
AIM = 2.0  # times the locked dict, for `get_working_directory`

PUBLISHED = "get_working_directory"
GET, SET = "locked dict, get", "locked dict, set"  # what stands for 1

_HELD = 1000  # sessions, as of a busy machine


class LockedDict:
    """What everything else stands beside."""

    def __init__(self) -> None:
        self._held: dict[str, str] = {}
        self._lock = asyncio.Lock()

    async def get(self, key: str) -> str | None:
        """Return what is held under *key*."""
        async with self._lock:
            return self._held.get(key)

    async def set(self, key: str, value: str) -> None:
        """Hold *value* under *key*."""
        async with self._lock:
            self._held[key] = value


@dataclass
class Record:
    """What the earlier manager held of a session."""

    session_id: str
    working_directory: str | None = None
    config_path: str | None = None
    project_id: str | None = None
    set_at: float | None = None
    last_used: float | None = None


class LockedRecords:
    """The shape of the earlier `SessionContextManager`: a dict of records, one lock round every method."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._lock = asyncio.Lock()

    async def set_working_directory(self, session_id: str, directory: str) -> None:
        """Let a session work in *directory*; the first time, this makes its record."""
        async with self._lock:
            now = time.time()
            if session_id not in self._records:
                self._records[session_id] = Record(session_id, set_at=now)
            record = self._records[session_id]
            record.working_directory = directory
            record.last_used = now

    async def get_working_directory(self, session_id: str) -> str | None:
        """Return where a session works."""
        async with self._lock:
            record = self._records.get(session_id)
            if record is None:
                return None
            record.last_used = time.time()
            return record.working_directory


async def measure_memory(top: Path, effort: Effort) -> tuple[list[Row], dict[str, str]]:
    """Measure under each load, and return the rows and what is missing."""
    missing: dict[str, str] = {}
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        subjects = _dicts()
        try:
            subjects += await stack.enter_async_context(_chuk_sessions())
        except ImportError as error:
            missing["chuk-sessions in memory"] = f"not installed ({error})"
        subjects += await stack.enter_async_context(_ours(top))
        calls = {}
        for subject in subjects:
            await rate_of_calls(subject, 1, _HELD)  # all keys are held, all code is warm
            calls[subject.name] = max(100, int(effort.memory_seconds * await rate_of_calls(subject, 1, 500)))
        for callers in effort.memory_loads:

            async def measure(subject: Subject, callers: int = callers) -> tuple[float, list[float]]:
                return await rate_of_calls(subject, callers, calls[subject.name]), []

            found = await in_turns(subjects, effort.rounds, measure)
            for subject in subjects:
                rows.append(
                    row_of(
                        SECTION,
                        subject.name,
                        [rate / 1000 for rate in found[subject.name].rates],
                        [rate / 1000 for rate in found[subject.beside].rates],
                        unit="k/s",
                        load=f"{callers} task{'s' * (callers > 1)}",
                        of=subject.of,
                        beside_name=BESIDE,
                        aim=AIM if subject.name == PUBLISHED else None,
                        is_higher_better=True,
                    )
                )
    return rows, missing


def _dicts() -> list[Subject]:
    held, records = LockedDict(), LockedRecords()
    keys = [(session.session_id,) for session in sessions(_HELD)]
    values = [(*key, "/home/ada/work/project") for key in keys]
    get, change = records.get_working_directory, records.set_working_directory
    return [
        Subject(name=GET, call=held.get, arguments=keys, of="a dict", beside=GET),
        Subject(name=SET, call=held.set, arguments=values, of="a dict", beside=SET),
        Subject(name="locked dict of records, get", call=get, arguments=keys, of="earlier shape", beside=GET),
        Subject(name="locked dict of records, set", call=change, arguments=values, of="earlier shape", beside=SET),
    ]


@asynccontextmanager
async def _chuk_sessions() -> AsyncIterator[list[Subject]]:
    """The provider itself, and the manager in front of it, which touches what it validates."""
    memory = import_module("chuk_sessions.providers.memory")
    managers = import_module("chuk_sessions.session_manager")
    of = "chuk-sessions"
    async with memory.factory()() as provider:
        manager = managers.SessionManager(sandbox_id="bench", session_factory=memory.factory())
        allocate, validate = manager.allocate_session, manager.validate_session
        keys = [(session.session_id,) for session in sessions(_HELD)]
        allocated = [(await allocate(user_id=OWNER.principal),) for _ in keys]
        values = [(*key, 3600, "/home/ada/work/project") for key in keys]
        yield [
            Subject(name="chuk memory provider, get", call=provider.get, arguments=keys, of=of, beside=GET),
            Subject(name="chuk memory provider, set", call=provider.setex, arguments=values, of=of, beside=SET),
            Subject(name="chuk manager, validate", call=validate, arguments=allocated, of=of, beside=GET),
            Subject(name="chuk manager, allocate", call=allocate, arguments=[()] * _HELD, of=of, beside=SET),
        ]


@asynccontextmanager
async def _ours(top: Path) -> AsyncIterator[list[Subject]]:
    directory, identities = str(top), Identities()
    finder = ProjectFinder((await MemoryStore().load()).namespace, identities=identities)
    held = sessions(_HELD)
    async with SessionContextManager(MemoryStore(), finder, identities=identities) as manager:
        get, change = manager.get_working_directory, manager.set_working_directory
        keys = [(session.session_id,) for session in held]
        values = [(*key, directory) for key in keys]
        for key, place in values:
            await change(key, place)
        saved = [([SessionSaved(session)],) for session in held]
        yield [
            Subject(name=PUBLISHED, call=get, arguments=keys, beside=GET),
            Subject(name="MemoryStore.commit", call=MemoryStore().commit, arguments=saved, beside=SET),
            Subject(name="set_working_directory, MemoryStore", call=change, arguments=values, beside=SET),
        ]
