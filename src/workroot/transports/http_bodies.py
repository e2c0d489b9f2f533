"""The bodies of HTTP requests: read whole, in bounded time and memory, and strict JSON or refused.

A request of this server's is short. So up to 64 KiB of each body is read as it comes, and what goes beyond that
shares one small room: however many bodies are begun and not ended, they take no more of memory than it has. Another
room is for what is made of them, until they are answered.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from workroot.transports import strict_json
from workroot.transports.http_refusal import PARSE_ERROR, Refusal
from workroot.transports.message_room import OWN_BYTES, MessageRoom, NoRoomError, Share, weight_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope

    from workroot.counters import Counters
    from workroot.limits import Limits

__all__ = ["MAX_BODY_BYTES", "MESSAGE_KEY", "TOO_LARGE", "HttpBodies"]

MAX_BODY_BYTES = 1024 * 1024
"""Longest body that is accepted."""

MESSAGE_KEY = "workroot.message"
"""Where in the scope of a request is the message of its body, so that nobody has to read that twice."""

TOO_LARGE = Refusal(status=413, message=f"a body may have at most {MAX_BODY_BYTES} bytes; send less at once")

_NO_ROOM = Refusal(
    status=503,
    message=f"too many bodies of more than {OWN_BYTES} bytes are on their way; send this again in a moment",
    headers=((b"retry-after", b"1"),),
)
_NO_MESSAGE = Refusal(
    status=400, message="this is not a JSON-RPC 2.0 message: send one object, and no batches", closes=False
)


class HttpBodies:
    """Reads bodies, and knows how much of memory they take: on their way, and until they are answered."""

    def __init__(
        self,
        limits: Limits,
        counters: Counters,
        *,
        arriving: MessageRoom | None = None,
        arrived: MessageRoom | None = None,
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._arriving = arriving if arriving is not None else MessageRoom()
        self._arrived = arrived if arrived is not None else MessageRoom(seconds=limits.body_seconds)

    @asynccontextmanager
    async def read(
        self, receive: Receive, *, is_message: bool, scope: Scope | None = None
    ) -> AsyncIterator[bytes | Refusal | None]:
        """Yield a request's body, or what is wrong with it; None if the client hung up. It counts until left.

        Args:
            receive: the request's.
            is_message: whether it must be a JSON object, as every message of JSON-RPC is.
            scope: the request's, which gets the message; None if nobody wants it.
        """
        with self._arrived.share() as held:
            with self._arriving.share() as arriving:
                found = await self._read(receive, arriving, held, scope, is_message=is_message)
            yield found

    async def _read(
        self, receive: Receive, arriving: Share, held: Share, scope: Scope | None, *, is_message: bool
    ) -> bytes | Refusal | None:
        found: bytes | Refusal | None
        seconds = self._limits.body_seconds
        with anyio.move_on_after(seconds) as deadline:
            found = await self._collected(receive, arriving)
        if deadline.cancelled_caught:
            self._counters.add("http_slow")
            return Refusal(status=408, message=f"the body took longer than {seconds:g} s; send it at once")
        if isinstance(found, Refusal):
            self._counters.add("http_head")
        elif found is not None and is_message:
            try:
                async with self._arrived.turn(weight := weight_of(found)):
                    held.hold(weight)
                    return self._check_message(found, scope) or found
            except NoRoomError:
                self._counters.add("http_slow")
                return _NO_ROOM
        return found

    def _check_message(self, body: bytes, scope: Scope | None) -> Refusal | None:
        try:
            message = strict_json.decode(body)
        except strict_json.StrictJsonError as error:
            self._counters.add("invalid_json")
            return Refusal(status=400, code=PARSE_ERROR, message=f"this is not strict JSON: {error}", closes=False)
        if not isinstance(message, dict):
            return _NO_MESSAGE
        if scope is not None:
            scope[MESSAGE_KEY] = message
        return None

    async def _collected(self, receive: Receive, arriving: Share) -> bytes | Refusal | None:
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > MAX_BODY_BYTES:  # sent in chunks, or longer than it said
                return TOO_LARGE
            if not message.get("more_body", False):
                return bytes(body)
            if not arriving.has_room_for(len(body)):
                return _NO_ROOM
            arriving.hold(len(body))
