"""What a caller hears of a call that was refused: the error as text and as `_meta`, and what its own signs say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_types import CallToolResult, TextContent

from workroot.core.resolution import claimed_session
from workroot.errors import (
    ClosedSessionError,
    ExpiredSessionError,
    MoveRefusedError,
    ProjectNeededError,
    ProjectUnknownError,
    WorkrootError,
)
from workroot.escaping import escaped
from workroot.mcp_face.evidence import signs_of_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcp.server.context import ServerRequestContext
    from mcp_types import CallToolRequestParams

__all__ = ["claimed_handle", "refusal"]


def refusal(error: WorkrootError, explained: Sequence[str] = ()) -> CallToolResult:
    """Return *error* as a tool's result, so that the model hears of it.

    Args:
        explained: further lines about where the caller works.
    """
    message = escaped(str(error))  # it may name a path, and a path may hold a newline
    text = "\n".join([message, *(escaped(line) for line in explained)])
    details: dict[str, Any] = {"code": error.code, "message": message}
    if isinstance(error, ClosedSessionError | ExpiredSessionError):
        details["last_directory"] = error.last_directory
    if isinstance(error, ProjectUnknownError | ProjectNeededError | MoveRefusedError):
        details["candidates"] = list(error.candidates)
    return CallToolResult(content=[TextContent(text=text)], is_error=True, _meta={"workroot/error": details})


def claimed_handle(ctx: ServerRequestContext[Any, Any], params: CallToolRequestParams) -> str | None:
    """Return the session's handle that a refused call passed, or None if it passed none, or two."""
    argument = (params.arguments or {}).get("session_id")
    try:
        claim = claimed_session(signs_of_call(ctx, session_id=argument if isinstance(argument, str) else None))
    except WorkrootError:
        return None
    return claim.name if claim.by == "handle" else None
