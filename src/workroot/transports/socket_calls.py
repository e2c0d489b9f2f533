"""Plain tool calls of the modern era over the socket, answered beside the SDK's loop; all else of it is the SDK's."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio
from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.inbound import InboundModernRoute, classify_inbound_request
from mcp.shared.transport_context import TransportContext
from mcp_types import INTERNAL_ERROR, JSONRPCRequest

from workroot.transports.plain_call import PlainCall, compact
from workroot.transports.unanswered import cancelled_id

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from mcp.server.lowlevel.server import Server
    from mcp_types import JSONRPCMessage, RequestId

    from workroot.peer import Peer
    from workroot.transports.message_writer import MessageWriter

__all__ = ["SocketCalls"]

_LONGEST_KEPT = 4096  # characters of what a client says of itself; more is read anew in each call
_TRANSPORT = TransportContext(kind="jsonrpc", can_send_request=False)


class SocketCalls:
    """Answers the plain calls of one connection, if its first request is of the modern era.

    That one goes to the SDK, whose loop goes by it, too: it serves one era a connection.

    Args:
        server: answers.
        tasks: in which calls are answered; whoever cancels them leaves it to the connector to say so.
    """

    def __init__(self, server: Server[None], writer: MessageWriter, peer: Peer, tasks: TaskGroup) -> None:
        self._server, self._writer, self._peer, self._tasks = server, writer, peer, tasks
        self._is_modern: bool | None = None
        self._calls: dict[RequestId, anyio.CancelScope] = {}
        self._route: InboundModernRoute | None = None
        self._runner: ServerRunner[None] | None = None

    def take(self, message: JSONRPCMessage) -> bool:
        """Begin to answer a message if it is a plain call; False: it is for the SDK, which may need to hear of it."""
        if not isinstance(message, JSONRPCRequest):
            taken_back = cancelled_id(message)
            calling = self._calls.get(coerce_request_id(taken_back)) if taken_back is not None else None
            if calling is not None:
                calling.cancel()
            return False
        if self._is_modern is None:
            self._is_modern = message.method != "initialize" and _route_of(message) is not None
            return False
        route = _route_of(message) if self._is_modern and message.method == "tools/call" else None
        if route is None:
            return False
        fields = {"jsonrpc": "2.0", "id": message.id, "method": message.method, "params": message.params}
        call = PlainCall(fields, self._peer, _TRANSPORT)
        calling = self._calls[coerce_request_id(message.id)] = anyio.CancelScope()
        self._tasks.start_soon(self._answer, call, self._runner_for(route), calling)
        return True

    async def _answer(self, call: PlainCall, runner: ServerRunner[None], calling: anyio.CancelScope) -> None:
        key, answer = coerce_request_id(call.request_id), None
        with calling:
            try:
                answer, _ = await call.answered_by(runner, unforeseen=INTERNAL_ERROR)
            finally:
                if self._calls.get(key) is calling:  # an id may be used twice
                    del self._calls[key]
        if answer is not None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # the client is gone
                await self._writer.answer(call.request_id, compact(answer) + b"\n")

    def _runner_for(self, route: InboundModernRoute) -> ServerRunner[None]:
        """Return what answers such a call; a client says the same of itself in each, and to read it costs."""
        if self._runner is not None and route == self._route:
            return self._runner
        connection = Connection.from_envelope(route.protocol_version, route.client_info, route.client_capabilities)
        runner = ServerRunner(self._server, connection, None)
        if len(repr(route)) <= _LONGEST_KEPT:
            self._route, self._runner = route, runner
        return runner


def _route_of(request: JSONRPCRequest) -> InboundModernRoute | None:
    """Return what a request says of its client; None if it is not of the modern era, or lacks something."""
    route = classify_inbound_request({"method": request.method, "params": request.params})
    return route if isinstance(route, InboundModernRoute) else None
