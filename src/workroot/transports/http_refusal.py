"""How the HTTP face says no, and tells the log: a JSON-RPC error without an id, since nobody has read one yet.

The same body in both protocol eras, whoever refuses; it never holds what the client sent.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from workroot.logs.loop_errors import Seldom

if TYPE_CHECKING:
    from starlette.types import Scope, Send

__all__ = ["INVALID_REQUEST", "NO_REPLAY", "PARSE_ERROR", "Refusal", "RefusalLog", "wants_replay"]

logger = logging.getLogger(__name__)

PARSE_ERROR = -32700
"""The code for what is not JSON (JSON-RPC 2.0, section 5.1)."""

INVALID_REQUEST = -32600
"""The code for what is no request that we take (JSON-RPC 2.0, section 5.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is not the application's: a JSON-RPC error without an id.

    Attributes:
        message: what is wrong and what to do; never holds what the client sent.
        closes: the connection ends with it, since its body was not read.
        code: of the JSON-RPC error.
    """

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    closes: bool = True
    code: int = INVALID_REQUEST

    async def answer(self, send: Send) -> None:
        """Send this as the whole response."""
        headers, body = self._parts()
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def as_bytes(self) -> bytes:
        """Return this as it goes over a connection on which there is no request that could be answered."""
        headers, body = self._parts()
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}".encode()]
        return b"\r\n".join([*lines, *(name + b": " + value for name, value in headers), b"", body])

    def _parts(self) -> tuple[list[tuple[bytes, bytes]], bytes]:
        error = {"code": self.code, "message": self.message}
        body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *([(b"connection", b"close")] if self.closes else []),
            *self.headers,
        ]
        return headers, body


NO_REPLAY = Refusal(
    status=400,
    message=(
        "events are not kept, so none can be sent again: open the stream without Last-Event-ID, and send a request "
        "again whose answer you lost"
    ),
    closes=False,
)
"""What a client of the handshake era hears that wants events again; it has its event id from another server, since
this one gives out none (MCP 2025-11-25, basic/transports, "Resumability and Redelivery", which a server may offer)."""


def wants_replay(scope: Scope) -> bool:
    """Tell whether a request asks for events that were sent before; in the modern era the header says nothing."""
    return scope["method"] == "GET" and any(name == b"last-event-id" for name, _ in scope["headers"])


class RefusalLog:
    """Tells the log what was refused: each reason at once, then every ten seconds with how many more there were.

    Of the request nothing is told, since it may hold a token.
    """

    def __init__(self, seldom: Seldom | None = None) -> None:
        self._seldom = seldom if seldom is not None else Seldom()

    def note(self, refusal: Refusal) -> None:
        """Tell of one refusal, or count it for the next line."""
        reason, _, _ = refusal.message.partition(":")  # what follows differs from body to body
        if (untold := self._seldom.is_due((refusal.status, reason))) is not None:
            more = f"; {untold} more since the last such line" if untold else ""
            logger.info("refused an HTTP request with %d: %s%s", refusal.status, refusal.message, more)
