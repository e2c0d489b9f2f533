"""Errors of workroot that the body of a tool raises: its client is told of them as of any other refusal.

The SDK would say only that the tool failed, and log a traceback; both are right for errors of the tool's own, and
those stay as they are. So the instance's own `call_tool` is wrapped, through which the SDK serves its clients, too.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError

from workroot.attached.calls import current_call
from workroot.attached.current import RefusedError
from workroot.errors import WorkrootError

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

__all__ = ["tell_errors"]


def tell_errors(server: MCPServer[Any]) -> None:
    """Let *server* tell clients of workroot's errors in its tools."""
    call_tool = server.call_tool

    @functools.wraps(call_tool)
    async def telling(*arguments: Any, **options: Any) -> Any:
        call = current_call.get()
        try:
            result = await call_tool(*arguments, **options)
        except ToolError as error:
            if call is None:
                raise  # code of this process calls the tool
            refused = _refused(error)
            call.is_refused = refused is not None
            if refused is None:
                raise
            call.error = refused
            raise RefusedError(refused) from error
        if call is not None:
            call.is_refused = False  # a tool that this one ran may have been refused, and this one gone on
        return result

    vars(server).update(call_tool=telling)


def _refused(error: ToolError) -> WorkrootError | None:
    """Return what a tool, or what fills its parameters, raised, if that is ours and the author has not reworded it."""
    cause = error.__cause__
    if isinstance(cause, RefusedError):
        return cause.error
    return cause if isinstance(error, UnexpectedToolError) and isinstance(cause, WorkrootError) else None
