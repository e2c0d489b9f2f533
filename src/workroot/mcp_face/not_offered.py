"""What clients of some servers may ask for and this one does not offer: said in words, and nothing is kept of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import METHOD_NOT_FOUND

if TYPE_CHECKING:
    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

__all__ = ["refuse_tasks"]

_TASKS = frozenset({"tasks/get", "tasks/result", "tasks/list", "tasks/cancel", "tasks/update"})
"""Of MCP 2025-11-25, where tasks are an experiment, and of the extension `io.modelcontextprotocol/tasks`."""


async def refuse_tasks(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Server middleware: there are no tasks, since every call of ours is answered at once by its result.

    Raises:
        MCPError: the request is about a task.
    """
    if ctx.method in _TASKS:
        text = "Method not found: this server keeps no tasks; every call is answered by its result"
        raise MCPError(METHOD_NOT_FOUND, text, ctx.method)
    return await call_next(ctx)
