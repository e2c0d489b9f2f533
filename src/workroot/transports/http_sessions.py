"""Behind the guard: routes by protocol era, attaches peers, and ends handshake-era sessions.

In the handshake era one conversation lasts as long as its `Mcp-Session-Id`, in the modern era as long as the
request. Whoever holds another owner's `Mcp-Session-Id` is told what a stranger is told: there is no such session.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from workroot.core.sessions import Alias
from workroot.peer import PEER_KEY, Conversation, Peer
from workroot.transports.http_guard import MCP_PATH, OWNER_KEY, Refusal
from workroot.transports.http_signs import header_of, hints_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from anyio.abc import TaskGroup
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from starlette.types import Message, Receive, Scope, Send

    from workroot.core.sessions import Owner

__all__ = ["MAX_SESSIONS", "HttpEndpoint"]

logger = logging.getLogger(__name__)

MAX_SESSIONS = 256
"""Handshake-era sessions held at a time: each costs two tasks and 37 KiB."""

_SESSION_ID = b"mcp-session-id"


@dataclass(slots=True, eq=False)
class _Handshake:
    """A handshake-era session: what an `Mcp-Session-Id` stands for."""

    owner: Owner
    last_used: float
    conversation: Conversation = field(default_factory=Conversation)
    in_flight: int = 0


class HttpEndpoint:
    """The ASGI application behind the guard: routes by era, attaches peers, ends sessions."""

    def __init__(
        self,
        manager: StreamableHTTPSessionManager,
        *,
        idle_seconds: float,
        connected: Callable[[Owner, Alias], AbstractContextManager[None]],
    ) -> None:
        """Answer through *manager*.

        Args:
            idle_seconds: how long a handshake-era session without any request in flight is kept.
            connected: held for as long as one is kept, which makes its alias' session one that is in use; must
                neither wait nor raise.
        """
        self._manager = manager
        self._idle_seconds = idle_seconds
        self._connected = connected
        self._housekeeping: TaskGroup | None = None
        self._sessions: OrderedDict[str, _Handshake] = OrderedDict()  # least recently used first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that the guard let through."""
        version = header_of(scope, b"mcp-protocol-version")
        if version is None or version in HANDSHAKE_PROTOCOL_VERSIONS:
            await self._answer_handshake(scope, receive, send)
        else:
            with Conversation().open() as conversation:
                await self._pass_on(scope, receive, send, conversation)

    @contextmanager
    def running(self, housekeeping: TaskGroup) -> Iterator[None]:
        """Have sessions ended by tasks of *housekeeping*; let go of all on leaving."""
        self._housekeeping = housekeeping
        housekeeping.start_soon(self._end_idle_sessions)
        try:
            yield
        finally:
            for session_id in tuple(self._sessions):
                self._forget(session_id)

    async def end_all_sessions(self) -> None:
        """End every handshake-era session, as its client would."""
        for session_id in tuple(self._sessions):
            await self._end_session(session_id)

    async def _answer_handshake(self, scope: Scope, receive: Receive, send: Send) -> None:
        owner: Owner = scope[OWNER_KEY]
        session_id = header_of(scope, _SESSION_ID)
        if session_id is None:
            if scope["method"] == "POST":
                await self._open_session(scope, receive, send, owner)
            else:
                await Refusal(status=400, message="send the Mcp-Session-Id that initialize returned").answer(send)
            return
        session = self._sessions.get(session_id)
        if session is None or session.owner != owner:
            unknown = Refusal(status=404, message="there is no such session; send initialize again", closes=False)
            await unknown.answer(send)
            return
        session.in_flight += 1
        self._touch(session_id, session)
        try:
            status = await self._pass_on(scope, receive, send, session.conversation, alias=Alias(session_id))
        finally:
            session.in_flight -= 1
            self._touch(session_id, session)
        if status == 404 or (scope["method"] == "DELETE" and status == 200):
            self._forget(session_id)

    async def _open_session(self, scope: Scope, receive: Receive, send: Send, owner: Owner) -> None:
        """Pass on what should be `initialize`; the SDK mints the id and says it in the response's head."""
        session, opened = _Handshake(owner, anyio.current_time(), in_flight=1), False

        def look_for_id(head: Message) -> None:
            nonlocal opened
            minted = dict(head["headers"]).get(_SESSION_ID)
            if minted is not None and head["status"] < 400:
                session_id = minted.decode("ascii")
                self._sessions[session_id] = session
                held = ExitStack()
                held.enter_context(self._connected(owner, Alias(session_id)))
                session.conversation.on_close(held.close)
                opened = True
                peer: Peer = scope[PEER_KEY]
                peer.alias = Alias(session_id)
                self._make_room()

        try:
            await self._pass_on(scope, receive, send, session.conversation, on_head=look_for_id)
        finally:
            session.in_flight -= 1
            if not opened:
                session.conversation.close()

    async def _pass_on(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        conversation: Conversation,
        *,
        alias: Alias | None = None,
        on_head: Callable[[Message], None] | None = None,
    ) -> int | None:
        """Have the SDK answer; return the status it answered with, if it did."""
        status: int | None = None

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if on_head is not None:
                    on_head(message)
            await send(message)

        scope[PEER_KEY] = Peer(
            owner=scope[OWNER_KEY],
            alias=alias,
            hints=await hints_of(scope),
            header_session=header_of(scope, b"workroot-session") or None,  # an unset variable in a client's config
            conversation=conversation,
        )
        await self._manager.handle_request(scope, receive, watch)
        return status

    def _touch(self, session_id: str, session: _Handshake) -> None:
        if session_id in self._sessions:
            session.last_used = anyio.current_time()
            self._sessions.move_to_end(session_id)

    def _forget(self, session_id: str) -> None:
        if (session := self._sessions.pop(session_id, None)) is not None:
            session.conversation.close()

    def _make_room(self) -> None:
        """Above the cap the longest unused session goes, one without a request in flight if there is one."""
        if len(self._sessions) <= MAX_SESSIONS or self._housekeeping is None:
            return
        unused = (session_id for session_id, session in self._sessions.items() if not session.in_flight)
        victim = next(unused, next(iter(self._sessions)))
        self._forget(victim)
        self._housekeeping.start_soon(self._end_session, victim)

    async def _end_idle_sessions(self) -> None:
        while True:
            await anyio.sleep(self._idle_seconds / 10)
            before = anyio.current_time() - self._idle_seconds
            for session_id, session in tuple(self._sessions.items()):
                if not session.in_flight and session.last_used < before:
                    await self._end_session(session_id)

    async def _end_session(self, session_id: str) -> None:
        """End a session as its client would: DELETE is the SDK's public way."""
        self._forget(session_id)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(_: Message) -> None:
            pass

        headers = [(_SESSION_ID, session_id.encode("ascii"))]
        scope = {"type": "http", "method": "DELETE", "path": MCP_PATH, "query_string": b"", "headers": headers}
        try:
            await self._manager.handle_request(scope, receive, send)
        except Exception:  # one session's end is no reason to end the others
            logger.exception("a session over HTTP did not end cleanly")
