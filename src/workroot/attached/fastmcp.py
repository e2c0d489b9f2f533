"""What `workroot.attach` does for an `MCPServer`, for a server written with FastMCP 4.

    app = FastMCP("notes")
    attach(app)

    @app.tool
    async def add(text: str, project: CurrentProject) -> str: ...

FastMCP fills such a parameter by its own dependency mechanism, in both eras; it is none of the tool's arguments.
"""

from __future__ import annotations

try:
    from fastmcp.tools import InputRequiredToolResult as _InputRequiredToolResult  # noqa: F401 -- earlier ones have none
except ImportError as error:
    raise ImportError(
        "workroot.attached.fastmcp is for servers written with FastMCP 4.1 or later, which is not installed here: "
        'pip install "workroot[fastmcp]"'
    ) from error

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import anyio
from fastmcp import FastMCP
from fastmcp.dependencies import Depends
from fastmcp.exceptions import ToolError
from fastmcp.server.providers import Provider
from mcp.server.mcpserver.exceptions import ToolError as SdkToolError

from workroot.attached.attachment import Attachment
from workroot.attached.current import (
    resolved_project,
    resolved_project_if_any,
    resolved_session,
    resolved_session_if_any,
)
from workroot.attached.fastmcp_http import guard_http
from workroot.attached.fastmcp_middleware import AttachedMiddleware
from workroot.attached.fastmcp_parameters import Filled, check_parameters
from workroot.attached.fastmcp_requests import served_call
from workroot.attached.fastmcp_tools import AttachedTools
from workroot.attached.peers import Peers
from workroot.attached.session_tools import SessionTools
from workroot.attached.tool_table import ToolNameError
from workroot.core.projects import Project
from workroot.core.sessions import SessionContext
from workroot.mcp_face.tools import TOOLS

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Awaitable, Callable

    from workroot.attached.rate_limit import RequestLimit
    from workroot.core.ports import Clock
    from workroot.session_service import SessionService

__all__ = ["CurrentProject", "CurrentSession", "attach"]

_Value = TypeVar("_Value")

_CLOSE_SECONDS = 10.0


def attach(
    server: FastMCP[Any],
    *,
    store: str | os.PathLike[str] | SessionService | None = None,
    sandbox: str | None = None,
    rate_limit: RequestLimit | None = None,
    clock: Clock | None = None,
) -> Attachment:
    """Let *server* know who calls it, and in which project that one works.

    It gets the tools `get_working_directory`, `set_working_directory`, `list_projects` and `close_session`; its own
    tools may take `CurrentProject` and `CurrentSession`, whether they were added before or are later; arguments that
    a tool does not take are refused; and every request is served inside of a `RequestContext`. Of servers that are
    mounted on others, attach those whose tools ask.

    Args:
        server: is changed.
        store: where sessions are kept: None for memory; a path for a file that this process alone has open, in a
            directory that exists; or sessions that somebody keeps (`workroot.connect()`), used as they are.
        sandbox: the tenant; sessions of two sandboxes never meet. None: that of `connect()`, if that is the store.
        rate_limit: is asked before every request; None for no limit.
        clock: the time, for tests.

    Returns:
        What the server has of workroot. It is closed when the server's lifespan ends, and opens anew with the next.

    Raises:
        ToolNameError: the server is attached already; nothing was changed.
        TypeError: it is a server of another kind, or *store* or *rate_limit* is.
        ValueError: *store* is the name of no file.
    """
    if not isinstance(server, FastMCP):
        raise TypeError(
            f"workroot.attached.fastmcp.attach is for a FastMCP of the package fastmcp, not for {type(server)!r}; "
            "for an MCPServer of the official SDK call workroot.attach"
        )
    if any(isinstance(each, AttachedMiddleware) for each in server.middleware):
        raise ToolNameError([tool.name for tool in TOOLS])
    attachment = Attachment(store, sandbox=sandbox, rate_limit=rate_limit, clock=clock)
    peers = Peers(attachment.owner)
    attachment.on_closing(peers.release)
    server.add_middleware(AttachedMiddleware(attachment, peers, SessionTools(attachment.clock)))
    server.add_transform(AttachedTools({"Project": _project_if_any, "SessionContext": _session_if_any}))
    guard_http(server)
    server.add_provider(_Life(server, attachment))
    return attachment


class _Life(Provider):
    """Ends the sessions with the server, which enters the lifespan of what provides for it once, for all clients."""

    def __init__(self, server: FastMCP[Any], attachment: Attachment) -> None:
        super().__init__()
        self._server, self._attachment = server, attachment

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Check what the author wrote, and close at the end.

        Raises:
            ToolNameError: one has the name of one of ours.
            UnfilledParameterError: of one, or of a prompt, clients could make up the project or session.
        """
        ours, theirs = {tool.name for tool in TOOLS}, await self._server.local_provider.list_tools()
        if taken := sorted(ours & {tool.name for tool in theirs}):
            raise ToolNameError(taken)
        provided = self._server.local_provider
        for parts in (theirs, await provided.list_prompts(), await provided.list_resource_templates()):
            for each in parts:
                check_parameters(each)
        try:
            yield
        finally:
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                await self._attachment.aclose()


async def _in_fastmcp(resolver: Callable[[], Awaitable[_Value]]) -> _Value:
    """Return what *resolver* does, after having asked what it needs if nobody has.

    An `AskingTool` has; a resource, a prompt and a tool of a mounted server that is not attached itself have not.
    FastMCP takes no error for a tool's but its own.
    """
    if (served := served_call.get()) is not None:
        await served.resolve({})
    try:
        return await resolver()
    except SdkToolError as error:
        raise ToolError(str(error), log_level=logging.INFO) from error


async def _project() -> Project:
    return await _in_fastmcp(resolved_project)


async def _project_if_any() -> Project | None:
    return await _in_fastmcp(resolved_project_if_any)


async def _session() -> SessionContext:
    return await _in_fastmcp(resolved_session)


async def _session_if_any() -> SessionContext | None:
    return await _in_fastmcp(resolved_session_if_any)


CurrentProject = Annotated[Project, Depends(_project), Filled(Project)]
"""The project that the caller of a tool works in; the call fails with candidates if that is not known.

`CurrentProject | None` lets the tool work outside of projects too.
"""

CurrentSession = Annotated[SessionContext, Depends(_session), Filled(SessionContext)]
"""The session that the call of a tool is in; it fails if there is none, `CurrentSession | None` allows that."""
