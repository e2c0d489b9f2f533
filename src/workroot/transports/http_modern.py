"""Plain tool calls of the modern era over HTTP, answered in JSON; all else of that era is the SDK's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner
from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS, InboundModernRoute, classify_inbound_request
from mcp_types import INTERNAL_ERROR

from workroot.transports.http_in_flight import END_KEY, HANG_UP_KEY
from workroot.transports.http_plain import plain_call_of

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from starlette.types import ASGIApp, Receive, Scope, Send

    from workroot.transports.plain_call import PlainCall

__all__ = ["ModernCalls"]


class ModernCalls:
    """Answers plain calls; passes on everything else.

    Args:
        server: answers.
        others: answers what is no plain call.
    """

    def __init__(self, server: Server[Any], others: ASGIApp) -> None:
        self._server, self._others = server, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request that the guard let through."""
        call = plain_call_of(scope, receive)
        route = _route_of(call, scope) if call is not None else None
        if call is None or route is None:
            await self._others(scope, receive, send)
            return
        connection = Connection.from_envelope(route.protocol_version, route.client_info, route.client_capabilities)
        runner = ServerRunner(self._server, connection, None)
        with anyio.CancelScope() as calling:
            # As the SDK does it: a client of this era cancels its call by hanging up.
            scope[END_KEY] = scope[HANG_UP_KEY] = calling.cancel
            answer, code = await call.answered_by(runner, unforeseen=INTERNAL_ERROR)
            status = ERROR_CODE_HTTP_STATUS.get(code, 200) if code is not None else 200
            body = json.dumps(answer, separators=(",", ":")).encode()
            head = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": status, "headers": head})
            await send({"type": "http.response.body", "body": body})


def _route_of(call: PlainCall, scope: Scope) -> InboundModernRoute | None:
    """Return what a call says of its client; None if it contradicts its headers or lacks something."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    route = classify_inbound_request(call.message, headers=headers)
    return route if isinstance(route, InboundModernRoute) else None
