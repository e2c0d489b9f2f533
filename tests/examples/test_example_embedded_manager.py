"""The documented example of a server that keeps working directories: its lifespan, its tool, its figures.

Not as documented: the manager is made by `get_session_context_manager` alone, since the class wants a store; a
directory has to be there, and is kept with its symlinks resolved.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from examples.programs.embedded_manager import lifespan, set_working_directory
from workroot import get_session_context_manager


@dataclass(frozen=True)
class ToolContext:
    session_id: str


async def test_each_session_has_its_own_working_directory(tmp_path: Path) -> None:
    directories = [tmp_path / f"project-{n}" for n in range(10)]
    async with lifespan("the server"):
        manager = get_session_context_manager()
        assert await manager.get_working_directory("session_0") is None
        assert await manager.get_session_count() == 0
        for each in directories:
            each.mkdir()
        answers = await asyncio.gather(
            *(set_working_directory(str(each), ToolContext(f"session_{n}")) for n, each in enumerate(directories))
        )
        assert answers == [{"success": True}] * 10
        found = [await manager.get_working_directory(f"session_{n}") for n in range(10)]
        assert found == [str(each.resolve()) for each in directories]
        assert await manager.get_session_count() == 10


async def test_starting_and_stopping_again_changes_nothing(tmp_path: Path) -> None:
    manager = get_session_context_manager()
    async with lifespan("the server"):
        await manager.start()
        await set_working_directory(str(tmp_path), ToolContext("session_1"))
    await manager.stop()
    assert await manager.get_session_count() == 1
    assert get_session_context_manager() is manager
