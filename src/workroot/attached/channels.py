"""What a tool can say to the client that called it, without being handed anything; and, from `asking`, ask of it.

All of it goes the way of the request that is served in this task (or the one that started this task or thread), so
nothing reaches another client. What is told is dropped where nobody can hear it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, get_args

from mcp_types import (
    LOG_LEVEL_META_KEY,
    LoggingLevel,
    LoggingMessageNotification,
    LoggingMessageNotificationParams,
    ResourceLink,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.requests import Request

from workroot.attached.asking import create_elicitation, create_message, list_roots
from workroot.attached.current_request import current_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcp.server.context import ServerRequestContext

__all__ = [
    "add_resource_link",
    "collected_links",
    "collecting_links",
    "create_elicitation",
    "create_message",
    "get_http_request",
    "list_roots",
    "send_log",
    "send_progress",
]

_LEVELS: Final[tuple[str, ...]] = get_args(LoggingLevel)  # from the least severe on

_links: ContextVar[list[ResourceLink] | None] = ContextVar("workroot.resource_links", default=None)


@contextmanager
def collecting_links() -> Iterator[None]:
    """Collect the links that are added inside of the block; for whoever serves a call."""
    token = _links.set([])
    try:
        yield
    finally:
        _links.reset(token)


async def send_progress(progress: float, total: float | None = None, message: str | None = None) -> None:
    """Tell the client how far the call is; nothing happens if it did not ask, or outside of calls.

    Args:
        progress: how far; more at each call.
        total: how far it will be in the end, or None if that is not known.
        message: what is being done, for people.
    """
    if (ctx := current_request.get()) is not None:
        await ctx.session.report_progress(progress, total, message)


async def send_log(level: LoggingLevel, data: object, logger_name: str | None = None) -> None:
    """Send the client a line for its log; nothing happens if it wants none, or outside of calls.

    In MCP 2026-07-28 a client says with each request from which level on it wants lines, if any.

    Args:
        level: `debug`, `info`, `notice`, `warning`, `error`, `critical`, `alert` or `emergency`.
        data: what can be written as JSON.
        logger_name: which part of the server says it.
    """
    ctx = current_request.get()
    if ctx is None or not _wants(ctx, level):
        return
    line = LoggingMessageNotificationParams(level=level, data=data, logger=logger_name)
    await ctx.session.send_notification(LoggingMessageNotification(params=line), related_request_id=ctx.request_id)


def add_resource_link(
    uri: str, name: str | None = None, description: str | None = None, mime_type: str | None = None
) -> None:
    """Add a link to a resource to the result of this call; nothing happens outside of calls.

    Args:
        uri: of the resource.
        name: for people; the last part of *uri* if it is left out.
        description: for people and models.
        mime_type: of the resource.
    """
    if (links := _links.get()) is not None:
        shown = name or uri.rstrip("/").rpartition("/")[2] or uri
        links.append(ResourceLink(uri=uri, name=shown, description=description, mime_type=mime_type))


def collected_links() -> tuple[ResourceLink, ...]:
    """Return the links that were added in this call so far."""
    return tuple(_links.get() or ())


def get_http_request() -> Request | None:
    """Return the HTTP request that this call came by; None over other transports, and outside of calls."""
    ctx = current_request.get()
    return ctx.request if ctx is not None and isinstance(ctx.request, Request) else None


def _wants(ctx: ServerRequestContext[Any, Any], level: str) -> bool:
    if ctx.protocol_version in HANDSHAKE_PROTOCOL_VERSIONS:
        return True
    meta = (ctx.params or {}).get("_meta")
    least = meta.get(LOG_LEVEL_META_KEY) if isinstance(meta, Mapping) else None
    return least in _LEVELS and _LEVELS.index(level) >= _LEVELS.index(least)
