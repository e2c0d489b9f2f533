"""What sessions take in memory, and that calls take nothing.

`tracemalloc` counts the bytes of every object, so the figures are the same on each machine; where it would slow a
million calls down, the interpreter's own count of blocks serves.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
import uuid
from itertools import chain
from typing import TYPE_CHECKING

import pytest

from workroot.core.changes import AliasBound, Change, SessionSaved, SessionTouched
from workroot.core.ports import PlaceFinder
from workroot.core.projects import Directory, Place, Project, ProjectId, StopReason
from workroot.core.sessions import Alias, Owner, PinnedSign, SessionContext, SessionId, SessionKey
from workroot.core.signs import Hint, Signs, Source
from workroot.followed_places import MOST_HELD
from workroot.session_context import SessionContextManager
from workroot.session_rules import SessionRules
from workroot.storage.memory import MemoryStore
from workroot.storage.sqlite import open_sqlite_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SESSIONS = 20_000
FEWER_SESSIONS = 2_500  # they fill their dictionaries as well as 20,000 do
MOST_BYTES = 1024
ADA = Owner("uid:1000")


def allocated() -> int:
    """Return how many bytes are held."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def blocks() -> int:
    """Return how many pieces of memory are held."""
    gc.collect()
    return sys.getallocatedblocks()


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.fixture
def count(is_full: bool) -> int:
    return SESSIONS if is_full else FEWER_SESSIONS


def root_of(number: int) -> str:
    return f"/home/ada/work/shop-{number:06}"


def alias_of(number: int) -> Alias:
    return Alias(f"connector-{number:08}")


class OwnProjects(PlaceFinder):
    """Each directory is a project of its own; nothing of an answer is remembered, nor shared with another."""

    async def find(self, directory: str) -> Place:
        root = Directory("".join([directory[:5], directory[5:]]))
        config_path = f"{root}/.workroot/config.toml"
        project = Project(
            project_id=ProjectId(str(uuid.uuid5(uuid.NAMESPACE_URL, root))),
            name=root.rpartition("/")[2],
            root=root,
            config_path=config_path,
        )
        return Place(
            directory=root,
            given=directory,
            project=project,
            config_path=config_path,
            stopped_at=root,
            stop=StopReason.CONFIG,
        )


class KeepsNothing(MemoryStore):
    """What is kept here would count twice."""

    async def commit(self, changes: Sequence[Change]) -> None:
        pass


def session_of(number: int) -> SessionContext:
    root = Directory(root_of(number))
    return SessionContext(
        session_id=SessionId(f"wr_{number:024}"),
        owner=ADA,
        working_directory=root,
        given_directory=root,
        config_path=f"{root}/.workroot/config.toml",
        project_id=ProjectId(str(uuid.uuid5(uuid.NAMESPACE_URL, root))),
        project_root=root,
        project_name=root.rpartition("/")[2],
        signs=(
            PinnedSign("roots: the first one", root, agreed=True),
            PinnedSign("connector: working directory", root, agreed=True),
        ),
        set_at=1_700_000_000.0 + number,
        last_used=1_700_000_000.5 + number,
    )


def changes_of(number: int) -> list[Change]:
    session = session_of(number)
    return [SessionSaved(session, float(number)), AliasBound(ADA, alias_of(number), session.session_id)]


# A session with its project, alias and two signs


@pytest.mark.usefixtures("traced")
@pytest.mark.row("S16")
async def test_a_session_that_was_opened_takes_at_most_a_kibibyte(count: int) -> None:
    async with SessionContextManager(KeepsNothing(), OwnProjects(), rules=SessionRules(max_projects=1)) as manager:

        async def open_session(number: int) -> None:
            root = root_of(number)
            meta, connector = Hint(Source.META, "directory", root), Hint(Source.CONNECTOR, "directory", root)
            await manager.enter(ADA, Signs(alias=alias_of(number), hints=(meta, connector)), root)

        for number in range(MOST_HELD):  # places of so many are followed, however many sessions there are
            await open_session(number)
        before = allocated()
        for number in range(MOST_HELD, count):
            await open_session(number)

        assert (allocated() - before) / (count - MOST_HELD) <= MOST_BYTES
        assert {len(session.signs) for session in manager.all_sessions()} == {2}
        assert await manager.get_session_count() == count


@pytest.mark.usefixtures("traced")
async def test_a_session_that_was_loaded_takes_at_most_a_kibibyte(tmp_path: Path, count: int) -> None:
    async with open_sqlite_store(tmp_path / "workroot.db") as store:
        for first in range(0, count, 500):
            await store.commit(list(chain.from_iterable(map(changes_of, range(first, first + 500)))))

    async with open_sqlite_store(tmp_path / "workroot.db") as store:
        manager = SessionContextManager(store, OwnProjects())
        before = allocated()
        async with manager:
            nobody = SessionTouched(SessionKey("no", SessionId("body")), 1.0)
            await store.commit([nobody])  # the store's thread holds its last result until it has another

            assert (allocated() - before) / count <= MOST_BYTES
            assert manager.default_session(ADA, alias_of(7)) == session_of(7)
            assert await manager.get_session_count() == count


# Calls


async def test_memory_stays_as_it_is_however_many_calls_there_are(is_full: bool) -> None:
    rounds = 10_000 if is_full else 1_000
    async with SessionContextManager(
        MemoryStore(), OwnProjects(), rules=SessionRules(write_behind_seconds=0.01)
    ) as manager:

        async def call_a_hundred_times(turn: int) -> None:
            for number in range(10):
                session_id, here, there = f"s{number}", root_of(turn % 7), root_of(turn % 5)
                await manager.set_working_directory(session_id, here, owner=ADA)
                for _ in range(6):
                    assert await manager.get_working_directory(session_id, owner=ADA) == here
                signs = Signs(alias=alias_of(number), hints=(Hint(Source.CONNECTOR, "working directory", there),))
                if manager.default_session(ADA, alias_of(number)) is None:
                    await manager.enter(ADA, signs, there)
                resolution = await manager.resolve(ADA, signs)
                assert resolution.place is not None
                assert resolution.place.directory == there
                assert await manager.get_working_directory("stranger", owner=ADA) is None
                await manager.refresh(ADA, Directory(there))

        for turn in range(50):
            await call_a_hundred_times(turn)
        before = blocks()
        for turn in range(rounds):
            await call_a_hundred_times(turn)

        assert blocks() - before < 500
        assert len(manager._turns) == 0
