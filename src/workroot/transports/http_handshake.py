"""One handshake-era conversation over HTTP while it is held in memory: the SDK's objects, made for an id we issued.

They know from the start what `initialize` settled, so that nobody has to send it again. Our own requests to the
client have ids that no other object uses: its late answer to an earlier one must not be taken for one to this.
"""

from __future__ import annotations

import itertools
import logging
import secrets
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.connection import Connection
from mcp.server.runner import ServerRunner, serve_connection
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.jsonrpc_dispatcher import JSONRPCDispatcher, cancelled_request_id_from_params
from mcp.shared.transport_context import TransportContext

from workroot.peer import PEER_KEY
from workroot.transports.http_bodies import MESSAGE_KEY
from workroot.transports.http_guard import MCP_PATH
from workroot.transports.http_in_flight import END_KEY
from workroot.transports.http_plain import plain_call_of
from workroot.transports.plain_call import compact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from anyio.abc import TaskStatus
    from mcp.server.lowlevel import Server
    from mcp.server.models import InitializationOptions
    from mcp.shared.dispatcher import CallOptions, DispatchContext, OnNotify, OnRequest
    from mcp_types import RequestId
    from starlette.types import Message, Receive, Scope, Send

    from workroot.peer import Peer
    from workroot.transports.http_handshake_ids import IssuedId
    from workroot.transports.plain_call import PlainCall

__all__ = ["SESSION_ID", "HandshakeObjects"]

logger = logging.getLogger(__name__)

SESSION_ID = b"mcp-session-id"
"""The header that names a session."""

_STREAM_HEAD = [
    (b"cache-control", b"no-cache, no-transform"),
    (b"connection", b"keep-alive"),
    (b"content-type", b"text/event-stream"),
]
_INITIALIZED = b'{"jsonrpc":"2.0","method":"notifications/initialized"}'


class HandshakeObjects:
    """The SDK's transport, dispatcher and connection of one conversation.

    Attributes:
        ready: requests may be handled.

    Args:
        issued: the id they are for; None for a client that has to send `initialize` first, and gets no id.
    """

    def __init__(self, server: Server[Any], options: InitializationOptions, issued: IssuedId | None) -> None:
        self._server, self._options, self._issued = server, options, issued
        self._transport = StreamableHTTPServerTransport(mcp_session_id=issued.text if issued is not None else None)
        self._dispatcher: _Dispatcher | None = None
        self._runner: ServerRunner[Any] | None = None
        self._calls: dict[RequestId, anyio.CancelScope] = {}
        self.ready = anyio.Event()
        self._has_ended = False

    @property
    def is_over(self) -> bool:
        """Tell whether requests cannot be handled any more."""
        return self._has_ended or self._transport.is_terminated

    @property
    def is_working(self) -> bool:
        """Tell whether a call is under way, even one whose client has hung up."""
        return bool(self._calls) or (self._dispatcher is not None and self._dispatcher.under_way > 0)

    async def run(self, peer: Peer | None, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Handle requests until `end`.

        Args:
            peer: whose conversation goes on; None if it begins, with `initialize`.
        """
        try:
            async with self._transport.connect() as (incoming, outgoing), anyio.create_task_group() as tasks:
                self._dispatcher = _Dispatcher(incoming, outgoing, inline_methods=frozenset({"initialize"}))
                connection = self._connection(self._dispatcher, resumed=peer is not None)
                if self._issued is not None and not self._issued.facts.roots:
                    self._runner = ServerRunner(self._server, connection, None, init_options=self._options)
                await tasks.start(
                    partial(
                        serve_connection,
                        self._server,
                        self._dispatcher,
                        connection=connection,
                        lifespan_state=None,
                        init_options=self._options,
                    )
                )
                if peer is not None:
                    await self._say_initialized(peer)
                self.ready.set()
                task_status.started()
        except Exception:  # a boundary: one conversation's fault is not another's
            logger.exception("a conversation over HTTP failed")
        finally:
            self._has_ended = True
            self.ready.set()

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; a plain call of a client that cannot be asked for its roots, without the SDK's stream."""
        runner = self._runner
        if runner is not None and not self.is_over and (call := plain_call_of(scope, receive)) is not None:
            await self._answer(call, runner, scope, send)
            return
        self._note_cancelled(scope.get(MESSAGE_KEY, {}))
        await self._transport.handle_request(scope, receive, send)

    async def _answer(self, call: PlainCall, runner: ServerRunner[Any], scope: Scope, send: Send) -> None:
        """Answer as a stream of one event; of none if the client takes the call back, or ends its session.

        Whoever ends the request itself answers in place of this.
        """
        key, event, is_ended = coerce_request_id(call.request_id), b"", False
        with anyio.CancelScope() as calling:
            self._calls[key] = calling

            def end() -> None:
                nonlocal is_ended
                is_ended = True
                calling.cancel()

            scope[END_KEY] = end
            try:
                answer, _ = await call.answered_by(runner, unforeseen=0)  # the SDK's code in this era
                event = b"event: message\r\ndata: " + compact(answer) + b"\r\n\r\n"
            finally:
                if self._calls.get(key) is calling:
                    del self._calls[key]
        if is_ended and not event:
            return
        await send({"type": "http.response.start", "status": 200, "headers": self._stream_head})
        await send({"type": "http.response.body", "body": event})

    @cached_property
    def _stream_head(self) -> list[tuple[bytes, bytes]]:
        session = [(SESSION_ID, self._issued.text.encode())] if self._issued is not None else []
        return [*_STREAM_HEAD, *session, (b"x-accel-buffering", b"no")]

    def _note_cancelled(self, message: Mapping[str, Any]) -> None:
        """Cancel the call that a notification takes back; the SDK knows only its own."""
        if message.get("method") == "notifications/cancelled":
            taken_back = cancelled_request_id_from_params(message.get("params"))
            calling = self._calls.get(coerce_request_id(taken_back)) if taken_back is not None else None
            if calling is not None:
                calling.cancel()

    async def end(self) -> None:
        """Let go of everything: open streams end, calls under way are cancelled."""
        for calling in self._calls.values():
            calling.cancel()
        with anyio.CancelScope(shield=True):
            await self._transport.terminate()

    def _connection(self, dispatcher: _Dispatcher, *, resumed: bool) -> Connection:
        facts = self._issued.facts if self._issued is not None else None
        connection = Connection.for_loop(
            dispatcher,
            session_id=self._issued.text if self._issued is not None else None,
            protocol_version_hint=facts.protocol_version if facts is not None else None,
        )
        if facts is not None and resumed:
            connection.client_params = facts.params()
            connection.initialized.set()
        return connection

    async def _say_initialized(self, peer: Peer) -> None:
        """Repeat the end of the opening exchange, as a connector does at a new daemon: handlers go on from it."""
        headers = [
            (b"accept", b"application/json, text/event-stream"),
            (b"content-type", b"application/json"),
            *([(SESSION_ID, self._issued.text.encode())] if self._issued is not None else []),
        ]
        scope: Scope = {"type": "http", "method": "POST", "path": MCP_PATH, "query_string": b"", "headers": headers}
        scope[PEER_KEY] = peer

        async def receive() -> Message:
            return {"type": "http.request", "body": _INITIALIZED, "more_body": False}

        async def send(_: Message) -> None:
            pass

        await self._transport.handle_request(scope, receive, send)


class _Dispatcher(JSONRPCDispatcher[TransportContext]):
    """The SDK's dispatcher, with ids of its own for what we ask, and a count of what is under way."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        prefix = secrets.token_hex(4)
        self._own_ids = (f"{prefix}:{number}" for number in itertools.count(1))
        self.under_way = 0

    async def run(self, on_request: OnRequest, on_notify: OnNotify, *arguments: Any, **options: Any) -> None:
        async def counted(
            context: DispatchContext[TransportContext], method: str, params: Mapping[str, Any] | None
        ) -> dict[str, Any]:
            self.under_way += 1
            try:
                return await on_request(context, method, params)
            finally:
                self.under_way -= 1

        await super().run(counted, on_notify, *arguments, **options)

    async def send_raw_request(
        self,
        method: str,
        params: Mapping[str, Any] | None,
        opts: CallOptions | None = None,
        *,
        _related_request_id: RequestId | None = None,
    ) -> dict[str, Any]:
        named: CallOptions = {"request_id": next(self._own_ids), **(opts or {})}
        return await super().send_raw_request(method, params, named, _related_request_id=_related_request_id)
