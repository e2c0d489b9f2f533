"""What is forgotten gives its room back to the disk, and what is left is as it was."""

from __future__ import annotations

import os
from pathlib import Path

from workroot.core.changes import EndedForgotten, SessionEnded, SessionSaved
from workroot.core.projects import Directory
from workroot.core.sessions import EndedSession, Ending, Owner, SessionContext, SessionId
from workroot.storage.sqlite import open_sqlite_store

ADA = Owner("uid:1000")


def session(number: int) -> SessionContext:
    root = f"/home/ada/projects/app{number % 100}"
    return SessionContext(
        session_id=SessionId(f"wr_{number:024d}"),
        owner=ADA,
        working_directory=Directory(root),
        given_directory=root,
        config_path=f"{root}/.workroot/config.toml",
        set_at=1.0,
        last_used=1.0,
    )


def ended(number: int) -> SessionEnded:
    gone = session(number)
    return SessionEnded(
        EndedSession(
            session_id=gone.session_id,
            owner=ADA,
            last_directory=gone.working_directory,
            ending=Ending.EXPIRED,
            ended_at=1.0,
        )
    )


async def test_the_file_shrinks_when_nine_of_ten_are_forgotten_and_the_rest_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_sqlite_store(path) as store:
        for first in range(0, 20_000, 5_000):
            await store.commit([SessionSaved(session(number)) for number in range(first, first + 5_000)])
        used_before = await store.tidy()
        size_before = path.stat().st_size
        await store.commit([ended(number) for number in range(18_000)])
        await store.commit([EndedForgotten(1.0)])
        state = await store.load()

        used = await store.tidy()

        assert used_before == size_before
        assert path.stat().st_size <= used < 0.15 * size_before
        assert os.path.getsize(f"{path}-wal") == 0
        assert await store.load() == state
        await store.commit([SessionSaved(session(1))])
    async with open_sqlite_store(path) as store:
        assert len((await store.load()).sessions) == 2_001


async def test_a_file_with_little_free_room_is_left_as_it_is_but_its_log_goes(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    async with open_sqlite_store(path) as store:
        await store.commit([SessionSaved(session(number)) for number in range(5_000)])
        await store.commit([ended(number) for number in range(500)])
        assert os.path.getsize(f"{path}-wal") > 0

        used = await store.tidy()

        assert used <= path.stat().st_size
        assert os.path.getsize(f"{path}-wal") == 0
