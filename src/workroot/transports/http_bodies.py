"""The bodies of HTTP requests: read whole, in bounded time and memory, and strict JSON or refused.

A request of this server's is short. So up to 64 KiB of each body is read as it comes, and what goes beyond that
shares one small room: however many bodies are begun and not ended, they take no more of memory than it has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from workroot.transports import strict_json
from workroot.transports.http_refusal import PARSE_ERROR, Refusal

if TYPE_CHECKING:
    from starlette.types import Receive

    from workroot.counters import Counters
    from workroot.limits import Limits

__all__ = ["MAX_BODY_BYTES", "TOO_LARGE", "HttpBodies"]

MAX_BODY_BYTES = 1024 * 1024
"""Longest body that is accepted."""

TOO_LARGE = Refusal(status=413, message=f"a body may have at most {MAX_BODY_BYTES} bytes; send less at once")

_FREE_BYTES = 64 * 1024
_ROOM_BYTES = 16 * 1024 * 1024
_NO_ROOM = Refusal(
    status=503,
    message=f"too many bodies of more than {_FREE_BYTES} bytes are on their way; send this again in a moment",
    headers=((b"retry-after", b"1"),),
)
_NO_MESSAGE = Refusal(
    status=400, message="this is not a JSON-RPC 2.0 message: send one object, and no batches", closes=False
)


class HttpBodies:
    """Reads bodies, and knows how much of memory those on their way take."""

    def __init__(self, limits: Limits, counters: Counters) -> None:
        self._limits = limits
        self._counters = counters
        self._taken = 0

    async def read(self, receive: Receive, *, is_message: bool) -> bytes | Refusal | None:
        """Return a request's body, or what is wrong with it; None if the client hung up.

        Args:
            receive: the request's.
            is_message: whether it must be a JSON object, as every message of JSON-RPC is.
        """
        found: bytes | Refusal | None
        seconds = self._limits.body_seconds
        with anyio.move_on_after(seconds) as deadline:
            found = await self._collected(receive)
        if deadline.cancelled_caught:
            self._counters.add("http_slow")
            return Refusal(status=408, message=f"the body took longer than {seconds:g} s; send it at once")
        if isinstance(found, Refusal):
            self._counters.add("http_head")
        elif found is not None and is_message:
            return self._check_message(found) or found
        return found

    def _check_message(self, body: bytes) -> Refusal | None:
        try:
            message = strict_json.decode(body)
        except strict_json.StrictJsonError as error:
            self._counters.add("invalid_json")
            return Refusal(status=400, code=PARSE_ERROR, message=f"this is not strict JSON: {error}", closes=False)
        return None if isinstance(message, dict) else _NO_MESSAGE

    async def _collected(self, receive: Receive) -> bytes | Refusal | None:
        body, taken = bytearray(), 0
        try:
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return None
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:  # sent in chunks, or longer than it said
                    return TOO_LARGE
                if not message.get("more_body", False):
                    return bytes(body)
                more = max(0, len(body) - _FREE_BYTES) - taken
                if more > 0:
                    if self._taken + more > _ROOM_BYTES:
                        return _NO_ROOM
                    taken += more
                    self._taken += more
        finally:
            self._taken -= taken
