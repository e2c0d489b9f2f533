"""Changed files move sessions: what the watcher hears of becomes a look at the places that rest on it.

Nothing depends on it: each call looks for itself. It is what lets clients hear of a change without asking.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

import anyio

from workroot.errors import WorkrootError

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

    from workroot.core.projects import Directory
    from workroot.core.sessions import Owner
    from workroot.session_context import SessionContextManager
    from workroot.watching import Watcher

__all__ = ["switch_automatically"]

logger = logging.getLogger(__name__)


async def switch_automatically(sessions: SessionContextManager, watcher: Watcher) -> None:
    """Keep the sessions in step with what *watcher* sees, until cancelled."""
    due: set[tuple[Owner, Directory]] = set()
    wake: MemoryObjectSendStream[None]
    woken: MemoryObjectReceiveStream[None]
    wake, woken = anyio.create_memory_object_stream[None](math.inf)

    def look_again(directories: frozenset[str]) -> None:
        due.update(sessions.followed.resting_on(directories))
        wake.send_nowait(None)

    def watch() -> None:
        watcher.watch(sessions.followed.directories())

    sessions.followed.on_change(watch)
    async with anyio.create_task_group() as tasks, wake, woken:
        tasks.start_soon(watcher.run, look_again)
        await sessions.refresh_all()
        async for _ in woken:
            while due:
                owner, directory = due.pop()
                try:
                    await sessions.refresh(owner, directory)
                except WorkrootError as error:  # the next call will look again, and say so
                    logger.warning("a change in %s was not taken up: %s", directory, error)
