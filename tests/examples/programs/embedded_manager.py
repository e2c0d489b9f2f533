"""A server that keeps each client's working directory: started and stopped by its lifespan, asked by its tool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from workroot import get_session_context_manager


class Context(Protocol):
    """What a framework gives a tool to know its session by."""

    @property
    def session_id(self) -> str: ...


@asynccontextmanager
async def lifespan(mcp: object) -> AsyncIterator[None]:
    manager = get_session_context_manager()
    await manager.start()
    yield
    await manager.stop()


async def set_working_directory(directory: str, ctx: Context) -> dict[str, bool]:
    manager = get_session_context_manager()
    await manager.set_working_directory(ctx.session_id, directory)
    return {"success": True}
