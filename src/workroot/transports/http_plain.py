"""Which requests over HTTP are plain tool calls.

Served by the SDK, the body of one would be read a second time, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.shared.transport_context import TransportContext
from starlette.requests import Request

from workroot.transports.http_bodies import MESSAGE_KEY
from workroot.transports.plain_call import PlainCall

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Receive, Scope

__all__ = ["plain_call_of"]

_FIELDS = {"jsonrpc", "id", "method", "params"}
_ACCEPTED = (b"application/json, text/event-stream", b"text/event-stream, application/json", b"*/*")
"""What clients send; what else may mean the same is for the SDK to read."""
_PARAMETER = b"mcp-param-"
_TRANSPORT = TransportContext(kind="streamable-http", can_send_request=False)


def plain_call_of(scope: Scope, receive: Receive) -> PlainCall | None:
    """Return the tool call that a request is, if the SDK would neither refuse it nor answer with several messages.

    None of our tools declares a parameter that is repeated in a header, so without such headers there is nothing
    to compare (MCP 2026-07-28, basic/transports, "Custom Headers").
    """
    message: Mapping[str, Any] = scope.get(MESSAGE_KEY, {})
    if scope["method"] != "POST" or message.get("method") != "tools/call" or not message.keys() <= _FIELDS:
        return None
    is_request = message.get("jsonrpc") == "2.0" and type(message.get("id")) in (str, int)
    if not is_request or type(message.get("params")) is not dict:
        return None
    accepts, names = b"", set()
    for name, value in scope["headers"]:
        if name == b"accept":
            accepts = value
        elif name.startswith(b"mcp-") and (name in names or name.startswith(_PARAMETER)):
            return None
        names.add(name)
    return PlainCall(message, Request(scope, receive), _TRANSPORT) if accepts in _ACCEPTED else None
