from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import workroot


@pytest.fixture(autouse=True)
def _no_manager_is_left() -> Iterator[None]:
    workroot.set_session_context_manager(None)
    yield
    workroot.set_session_context_manager(None)


@pytest.mark.row("S9")
async def test_every_caller_gets_the_same_manager_and_it_works(tmp_path: Path) -> None:
    async with workroot.get_session_context_manager() as manager:
        await manager.set_working_directory("editor-1", str(tmp_path))

        assert await workroot.get_session_context_manager().get_working_directory("editor-1") == str(tmp_path.resolve())


def test_a_manager_that_was_set_is_the_one_that_is_got() -> None:
    mine = workroot.get_session_context_manager()
    workroot.set_session_context_manager(None)
    assert workroot.get_session_context_manager() is not mine

    workroot.set_session_context_manager(mine)

    assert workroot.get_session_context_manager() is mine
