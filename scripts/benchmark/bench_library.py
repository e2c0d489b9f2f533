"""The session services of the library, beside the same calls of chuk-sessions' manager, in turns within one run.

Its manager stands on its memory provider: nothing that it answers outlives the process. Ours is measured so, and on a
database, where each answer to `allocate_session` outlives a power failure.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import import_module
from pathlib import Path

from bench_rounds import Effort, Subject, in_turns, p99, rate_of_seconds
from bench_rows import Row, row_of

from workroot import SessionContextManager, SessionManager
from workroot.core.identities import Identities
from workroot.core.ports import SessionStore
from workroot.project_finder import ProjectFinder
from workroot.providers import memory
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore
from workroot.storage.sqlite import open_sqlite_store

__all__ = ["measure_library"]

SECTION = "library"
OTHER = "chuk-sessions"
AIMS = {  # by name and callers
    ("validate_session", 1): 5.0,
    ("validate_session", 100): 5.0,
    ("validate_session, on disk", 1): 5.0,
    ("validate_session, on disk", 100): 5.0,
    ("allocate_session, on disk", 100): 1.0,
}

_HELD = 1000  # sessions that are validated and changed
_LOADS = (1, 100)
_MOST = 50_000_000  # allocated within one run, at most
_SUBJECTS = (
    "validate_session",
    "get_session_info",
    "update_session_metadata",
    "extend_session_ttl",
    "allocate_session",
)


async def measure_library(top: Path, effort: Effort) -> tuple[list[Row], dict[str, str]]:
    """Measure under each load, and return the rows and what is missing."""
    async with AsyncExitStack() as stack:
        try:
            theirs = await stack.enter_async_context(_theirs())
        except ImportError as error:
            return [], {"chuk-sessions beside the library": f"not installed ({error})"}
        kept = await stack.enter_async_context(open_sqlite_store(top / "library.db"))
        ours = [
            *await stack.enter_async_context(_managed(MemoryStore(), "")),
            *await stack.enter_async_context(_managed(kept, ", on disk")),
            *await stack.enter_async_context(_provided()),
        ]
        names = [subject.name for subject in theirs]  # each of ours right after its counterpart, under the same load
        subjects = sorted([*theirs, *ours], key=lambda subject: names.index(subject.beside or subject.name))
        rows: list[Row] = []
        for callers in _LOADS:

            async def measure(subject: Subject, callers: int = callers) -> tuple[float, list[float]]:
                return await rate_of_seconds(subject, callers, effort.durable_seconds)

            found = await in_turns(subjects, effort.rounds, measure)
            rows += [
                row_of(
                    SECTION,
                    subject.name,
                    [rate / 1000 for rate in found[subject.name].rates],
                    [rate / 1000 for rate in found[subject.beside].rates],
                    unit="k/s",
                    load=f"{callers} caller{'s' * (callers > 1)}",
                    beside_name=subject.beside,
                    aim=AIMS.get((subject.name, callers)),
                    is_higher_better=True,
                    note=f"p99 {p99(found[subject.name].took) * 1000:.3f} ms",
                )
                for subject in ours
            ]
    return rows, {}


@asynccontextmanager
async def _theirs() -> AsyncIterator[list[Subject]]:
    provider = import_module("chuk_sessions.providers.memory")
    manager = import_module("chuk_sessions.session_manager").SessionManager(
        sandbox_id="bench", session_factory=provider.factory()
    )
    async with provider.factory()() as values:
        yield [
            *_subjects(manager, [await manager.allocate_session(user_id="ada") for _ in range(_HELD)], "theirs, "),
            Subject(name="theirs, setex", call=values.setex, arguments=_VALUES, of=OTHER),
            Subject(name="theirs, get", call=values.get, arguments=_KEYS, of=OTHER),
        ]


@asynccontextmanager
async def _managed(store: SessionStore, where: str) -> AsyncIterator[list[Subject]]:
    identities = Identities()
    finder = ProjectFinder((await store.load()).namespace, identities=identities)
    rules = SessionRules(max_allocated_sessions=_MOST, max_store_bytes=2.0**40)
    async with SessionContextManager(store, finder, identities=identities, rules=rules) as sessions:
        manager = SessionManager(sandbox_id="bench", sessions=sessions)
        held = [await manager.allocate_session(user_id="ada") for _ in range(_HELD)]
        counters = Subject(
            name=f"increment{where}",
            call=manager.increment,
            arguments=[(session_id, "calls") for session_id in held],
            beside="theirs, update_session_metadata",
        )
        yield [*_subjects(manager, held, "", where), counters]


@asynccontextmanager
async def _provided() -> AsyncIterator[list[Subject]]:
    async with memory.factory()() as values:
        yield [
            Subject(name="memory provider, setex", call=values.setex, arguments=_VALUES, beside="theirs, setex"),
            Subject(name="memory provider, get", call=values.get, arguments=_KEYS, beside="theirs, get"),
        ]


_KEYS: Sequence[tuple[str]] = [(f"key-{number}",) for number in range(_HELD)]
_VALUES: Sequence[tuple[str, int, str]] = [(*key, 3600, "/home/ada/work/project") for key in _KEYS]


def _subjects(manager: SessionManager, held: list[str], whose: str, where: str = "") -> list[Subject]:
    """Return the calls that both managers have."""
    arguments: dict[str, list[tuple[object, ...]]] = {
        "validate_session": [(session_id,) for session_id in held],
        "get_session_info": [(session_id,) for session_id in held],
        # Each call changes something: what changes nothing, ours does not write.
        "update_session_metadata": [(session_id, {"tool": tool}) for tool in ("grep", "sed") for session_id in held],
        "extend_session_ttl": [(session_id, 1) for session_id in held],
        "allocate_session": [(None, "ada")] * _HELD,
    }
    return [
        Subject(
            name=f"{whose}{name}{where}",
            call=getattr(manager, name),
            arguments=arguments[name],
            of=OTHER if whose else "workroot",
            beside="" if whose else f"theirs, {name}",
        )
        for name in _SUBJECTS
    ]
