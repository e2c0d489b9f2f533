"""Behind the guard: routes by protocol era, attaches peers, and knows the handshake era's sessions.

In the handshake era one conversation lasts as long as its `Mcp-Session-Id`, in the modern era as long as the
request. The id proves by itself that we issued it, so it outlives the daemon; whoever holds another owner's is told
what a stranger is told: there is no such session.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mcp_types import InitializeRequestParams
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from pydantic import ValidationError
from pydantic_core import from_json

from workroot.errors import StoreUnavailableError
from workroot.peer import PEER_KEY, Conversation, Peer
from workroot.transports.http_guard import OWNER_KEY
from workroot.transports.http_handshake import SESSION_ID
from workroot.transports.http_handshake_ids import ClientFacts
from workroot.transports.http_handshake_table import AllBusyError
from workroot.transports.http_refusal import NO_REPLAY, Refusal, wants_replay
from workroot.transports.http_signs import header_of, hints_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from workroot.core.sessions import Alias, Owner
    from workroot.counters import Counters
    from workroot.kept_connections import KeptConnections
    from workroot.transports.http_handshake_ids import IssuedId, SessionIds
    from workroot.transports.http_handshake_table import HandshakeTable

__all__ = ["HttpEndpoint"]

logger = logging.getLogger(__name__)

_UNKNOWN = Refusal(status=404, message="there is no such session; send initialize again", closes=False)
_NO_SESSION = Refusal(status=400, message="send initialize first, then the Mcp-Session-Id that it returned")
_NOT_ENDED = Refusal(
    status=503, message="the session could not be ended for good; send this again in a moment", closes=False
)
_BUSY = Refusal(
    status=503,
    message="all conversations that may be held have calls under way; send this again in a moment",
    headers=((b"retry-after", b"1"),),
    closes=False,
)


class HttpEndpoint:
    """The ASGI application behind the guard: routes by era, attaches peers, ends sessions.

    Args:
        modern: answers requests of the modern era.
        ids: issues and reads `Mcp-Session-Id`.
        table: holds conversations in memory.
        kept: knows which have ended, and what was asked for in the others.
    """

    def __init__(
        self,
        modern: ASGIApp,
        *,
        ids: SessionIds,
        table: HandshakeTable,
        kept: KeptConnections,
        counters: Counters,
    ) -> None:
        self._modern, self._ids, self._table, self._kept, self._counters = modern, ids, table, kept, counters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that the guard let through."""
        version = header_of(scope, b"mcp-protocol-version")
        if version is None or version in HANDSHAKE_PROTOCOL_VERSIONS:
            await self._answer_handshake(scope, receive, send)
            return
        with Conversation().open() as conversation:
            scope[PEER_KEY] = await _peer(scope)
            scope[PEER_KEY].conversation = conversation
            await self._modern(scope, receive, send)

    async def _answer_handshake(self, scope: Scope, receive: Receive, send: Send) -> None:
        owner: Owner = scope[OWNER_KEY]
        session_id = header_of(scope, SESSION_ID)
        if session_id is None:
            await self._open_session(scope, receive, send)
            return
        issued = self._ids.read(owner, session_id)
        if issued is None or self._kept.is_over(owner, issued.alias, begun_at=issued.issued_at):
            await _UNKNOWN.answer(send)
        elif scope["method"] == "DELETE":
            await self._end_session(owner, issued, send)
        elif wants_replay(scope):
            await NO_REPLAY.answer(send)
        else:
            await self._go_on(scope, receive, send, issued)

    async def _open_session(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer `initialize`, which makes an id and nothing else."""
        body = await _body_of(receive) if scope["method"] == "POST" else b""
        message = _message_in(body)
        if message.get("method") != "initialize":
            await _NO_SESSION.answer(send)
            return
        try:
            params = InitializeRequestParams.model_validate(message.get("params"), by_name=False)
        except ValidationError:
            issued = None  # the SDK says what is wrong
        else:
            issued = self._ids.issue(scope[OWNER_KEY], ClientFacts.of(params))
        scope[PEER_KEY] = peer = await _peer(scope, issued.alias if issued is not None else None)
        with peer.conversation.open():
            async with self._table.begun(issued) as objects:
                await objects.handle(scope, _replayed(body, receive), send)

    async def _go_on(self, scope: Scope, receive: Receive, send: Send, issued: IssuedId) -> None:
        """Answer a request within a session, which goes on from wherever it was left."""
        if issued.alias not in self._table and scope["method"] == "POST":
            body = await _body_of(receive)
            if _message_in(body).get("method") == "notifications/initialized":
                await _accept(send, issued)  # that alone is no use of it
                return
            receive = _replayed(body, receive)
        peer = scope[PEER_KEY] = await _peer(scope, issued.alias)
        await self._kept.note_use(peer.owner, issued.alias, begun_at=issued.issued_at)
        if self._kept.is_over(peer.owner, issued.alias, begun_at=issued.issued_at):  # meanwhile
            await _UNKNOWN.answer(send)
            return
        is_stream = scope["method"] == "GET"
        try:
            async with self._table.use(issued, peer, scope, is_stream=is_stream) as objects:
                with _hearing(peer.conversation, send) as hearing:
                    await objects.handle(scope, receive, hearing if is_stream else send)
        except AllBusyError:
            self._counters.add("connection_limit")
            await _BUSY.answer(send)

    async def _end_session(self, owner: Owner, issued: IssuedId, send: Send) -> None:
        try:
            await self._kept.end(owner, issued.alias)
        except StoreUnavailableError as error:
            logger.warning("a session over HTTP could not be ended for good: %s", error)
            await _NOT_ENDED.answer(send)
            return
        await self._table.drop(issued.alias)
        await _answer(send, issued, status=200)


async def _peer(scope: Scope, alias: Alias | None = None) -> Peer:
    return Peer(
        owner=scope[OWNER_KEY],
        alias=alias,
        hints=await hints_of(scope),
        header_session=header_of(scope, b"workroot-session") or None,  # an unset variable in a client's config
        is_resumable=True,
    )


@contextmanager
def _hearing(conversation: Conversation, send: Send) -> Iterator[Send]:
    """Yield a `send` for a stream; what goes over it unasked reaches the client until the stream ends."""
    has_begun = False

    async def watch(message: Message) -> None:
        nonlocal has_begun
        await send(message)
        if message["type"] == "http.response.start" and message["status"] == 200:
            has_begun = conversation.hears = True

    try:
        yield watch
    finally:
        if has_begun:
            conversation.hears = False


async def _body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that begins with a body which was read already."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


def _message_in(body: bytes) -> dict[str, Any]:
    """Return the JSON-RPC message in a body, or nothing; who answers it says what is wrong with it."""
    try:
        message = from_json(body)
    except ValueError:
        return {}
    return message if isinstance(message, dict) else {}


async def _accept(send: Send, issued: IssuedId) -> None:
    """Answer a notification."""
    await _answer(send, issued, status=202)


async def _answer(send: Send, issued: IssuedId, *, status: int) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"0"), (SESSION_ID, issued.text.encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})
