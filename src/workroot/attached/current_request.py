"""The MCP request that is being served in this task, for code that has no other way to it.

Each request sets it for itself, and what it starts inherits it; nothing here outlives the request.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext

__all__ = ["current_request"]

current_request: ContextVar[ServerRequestContext[Any, Any] | None] = ContextVar(
    "workroot.current_request", default=None
)
"""The SDK's context of the request, as the server's handlers see it; None outside of requests."""
