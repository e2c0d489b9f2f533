"""`workroot.attach`: gives an `MCPServer` of the official SDK the session tools, the middleware and a life."""

from __future__ import annotations

import functools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.mcpserver import MCPServer

from workroot.attached.attachment import Attachment
from workroot.attached.middleware import AttachedMiddleware
from workroot.attached.no_replay import NoReplay
from workroot.attached.peers import Peers
from workroot.attached.session_tools import SessionTools
from workroot.attached.told_errors import tell_errors
from workroot.attached.tool_table import ToolTable
from workroot.attached.tools_only import refuse_in_others

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.applications import Starlette

    from workroot.attached.rate_limit import RequestLimit
    from workroot.core.ports import Clock
    from workroot.session_service import SessionService

__all__ = ["attach"]

_CLOSE_SECONDS = 10.0


def attach(
    server: MCPServer[Any],
    *,
    store: str | os.PathLike[str] | SessionService | None = None,
    sandbox: str | None = None,
    rate_limit: RequestLimit | None = None,
    clock: Clock | None = None,
) -> Attachment:
    """Let *server* know who calls it, and in which project that one works.

    It gets the tools `get_working_directory`, `set_working_directory`, `list_projects` and `close_session`; its own
    tools may take `CurrentProject` and `CurrentSession`; arguments that a tool does not take are refused; and every
    request is served inside of a `RequestContext`. Attach before tools are added: of those that are there already
    it is not known what they need. A lifespan that the server has is left as it is.

    Args:
        server: is changed.
        store: where sessions are kept: None for memory; a path for a file that this process alone has open, in a
            directory that exists; or sessions that somebody keeps (`workroot.connect()`), used as they are.
        sandbox: the tenant; sessions of two sandboxes never meet. None: that of `connect()`, if that is the store.
        rate_limit: is asked before every request; None for no limit.
        clock: the time, for tests.

    Returns:
        What the server has of workroot. `server.run` closes it at its end; whoever serves the server otherwise
        closes it by `aclose`, or uses it as a context manager.

    Raises:
        ToolNameError: the server has a tool of one of these names, or is attached already; nothing was changed.
        TypeError: it is a server of another kind, or *store* or *rate_limit* is.
        ValueError: *store* is the name of no file.
    """
    _check_kind(server)
    attachment = Attachment(store, sandbox=sandbox, rate_limit=rate_limit, clock=clock)
    table = ToolTable(server)
    tools = SessionTools(attachment.clock)
    peers = Peers(attachment.owner)
    attachment.on_closing(peers.release)
    refuse_in_others(server)
    tell_errors(server)
    server.middleware.append(AttachedMiddleware(attachment, peers, table, tools))
    _close_at_end(server, attachment)
    return attachment


def _check_kind(server: object) -> None:
    """Refuse what has no tools to follow in our way.

    Raises:
        TypeError: says what to call instead.
    """
    if isinstance(server, MCPServer):
        return
    is_fastmcp = any(each.__module__.partition(".")[0] == "fastmcp" for each in type(server).__mro__)
    instead = (
        "for one of the package fastmcp call attach of workroot.attached.fastmcp, and take CurrentProject from there"
        if is_fastmcp
        else "attach one of those"
    )
    raise TypeError(f"workroot.attach is for an MCPServer of the official SDK, not for {type(server)!r}; {instead}")


def _close_at_end(server: MCPServer[Any], attachment: Attachment) -> None:
    """Close when the server ends.

    The SDK tells of that by its lifespan, which it enters for each connection of some transports, so the first
    client that leaves would end all. Therefore the instance's own ways to be served are wrapped: they end once.
    """

    def closing(run: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
        @functools.wraps(run)
        async def run_and_close(*arguments: Any, **options: Any) -> None:
            try:
                await run(*arguments, **options)
            finally:
                await _close(attachment)

        return run_and_close

    def closing_app(make_app: Callable[..., Starlette], *, is_replaying: bool) -> Callable[..., Starlette]:
        @functools.wraps(make_app)
        def app_that_closes(*arguments: Any, **options: Any) -> Starlette:
            app = make_app(*arguments, **options)
            if is_replaying and options.get("event_store") is None:
                app.add_middleware(NoReplay, path=options.get("streamable_http_path", "/mcp"))
            lifespan = app.router.lifespan_context

            @asynccontextmanager
            async def lifespan_and_close(served: Any) -> AsyncIterator[Any]:
                try:
                    async with lifespan(served) as state:
                        yield state
                finally:
                    await _close(attachment)

            app.router.lifespan_context = lifespan_and_close
            return app

        return app_that_closes

    vars(server).update(
        run_stdio_async=closing(server.run_stdio_async),
        run_sse_async=closing(server.run_sse_async),
        run_streamable_http_async=closing(server.run_streamable_http_async),
        streamable_http_app=closing_app(server.streamable_http_app, is_replaying=True),
        sse_app=closing_app(server.sse_app, is_replaying=False),
    )


async def _close(attachment: Attachment) -> None:
    """Close even when cancelled; bounded."""
    with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
        await attachment.aclose()
