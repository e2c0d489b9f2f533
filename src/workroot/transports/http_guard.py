"""The outermost gate of the HTTP face: who may speak is decided from a request's headers alone.

Nothing of a body is read before Host, Origin, path and token are right, and never more than 1 MiB of it.
Web pages are kept out by exact comparison: prefixes and patterns in such checks have been the way in elsewhere.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.errors import TokenError

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from workroot.core.sessions import Owner

__all__ = ["MAX_BODY_BYTES", "MCP_PATH", "OWNER_KEY", "HttpGuard", "Refusal"]

logger = logging.getLogger(__name__)

MCP_PATH = "/mcp"
"""The one path that exists."""

OWNER_KEY = "workroot.owner"
"""Where in the scope of a request that passed its `Owner` is."""

MAX_BODY_BYTES = 1024 * 1024
"""Longest body that is accepted."""

_INVALID_REQUEST = -32600  # JSON-RPC 2.0, section 5.1
_MOST_DIGITS = 10  # of a Content-Length: no legal one has more, and very long numbers cost time to read
_METHODS = ("GET", "POST", "DELETE")
_SINGLE_HEADERS = frozenset(
    {
        b"authorization",
        b"content-length",
        b"content-type",
        b"host",
        b"mcp-protocol-version",
        b"mcp-session-id",
        b"origin",
        b"sec-fetch-site",
        b"workroot-directory",
        b"workroot-session",
    }
)
"""Headers of which two mean that somebody reads the first and somebody else the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is not the application's: a JSON-RPC error without an id.

    Attributes:
        message: what is wrong and what to do; never holds what the client sent.
        closes: the connection ends with it, since its body was not read.
    """

    status: int
    message: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    closes: bool = True

    async def answer(self, send: Send) -> None:
        """Send this as the whole response."""
        error = {"code": _INVALID_REQUEST, "message": self.message}
        body = json.dumps({"jsonrpc": "2.0", "id": None, "error": error}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            *([(b"connection", b"close")] if self.closes else []),
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class HttpGuard:
    """Lets requests of known owners through to an ASGI application, their bodies read and bounded."""

    def __init__(self, app: ASGIApp, *, port: int, owner_of: Callable[[str], Owner | None]) -> None:
        """Guard *app*.

        Args:
            app: gets requests with `scope[OWNER_KEY]` set.
            port: the port of 127.0.0.1 that requests come in on.
            owner_of: on whose behalf the bearer of a token calls; may raise `TokenError`.
        """
        self._app = app
        self._owner_of = owner_of
        self._hosts = (f"127.0.0.1:{port}".encode(), f"localhost:{port}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: by a refusal, or by the application."""
        checked = self._check(scope)
        if isinstance(checked, Refusal):
            logger.debug("HTTP request refused with %d: %s", checked.status, checked.message)
            await checked.answer(send)
            return
        scope[OWNER_KEY] = checked
        body = await _read_body(receive)
        if isinstance(body, Refusal):
            await body.answer(send)
        elif body is not None:
            await self._app(scope, _replayed(body, receive), send)

    def _check(self, scope: Scope) -> Owner | Refusal:
        pairs: list[tuple[bytes, bytes]] = scope["headers"]
        for name, count in Counter(name for name, _ in pairs).items():
            if count > 1 and name in _SINGLE_HEADERS:
                return Refusal(status=400, message=f"the header {name.decode()} must be sent once")
        headers = dict(pairs)
        return self._check_origin(headers) or _check_target(scope, headers) or self._check_token(headers)

    def _check_origin(self, headers: dict[bytes, bytes]) -> Refusal | None:
        """Keep web pages out, whatever name they reached us by."""
        host = headers.get(b"host")
        if host not in self._hosts:
            names = " or ".join(name.decode() for name in self._hosts)
            return Refusal(status=421, message=f"this server answers to the Host {names} only; use that in the URL")
        if headers.get(b"origin", b"http://" + host) != b"http://" + host:
            return Refusal(status=403, message="web pages may not talk to this server; send no Origin header")
        if headers.get(b"sec-fetch-site", b"none") not in (b"none", b"same-origin"):
            return Refusal(status=403, message="other sites may not talk to this server")
        return None

    def _check_token(self, headers: dict[bytes, bytes]) -> Owner | Refusal:
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        try:
            owner = self._owner_of(token.strip()) if scheme.lower() == "bearer" else None
        except TokenError as error:
            logger.error("no HTTP client can be let in: %s", error)
            return Refusal(status=503, message="the file of tokens cannot be used; the daemon's log says why")
        if owner is None:
            return Refusal(
                status=401,
                message="send the header 'Authorization: Bearer TOKEN'; `workroot token create NAME` makes a token",
                headers=((b"www-authenticate", b"Bearer"),),
            )
        return owner


def _check_target(scope: Scope, headers: dict[bytes, bytes]) -> Refusal | None:
    """Refuse what the application could not answer anyway."""
    if scope.get("raw_path") != MCP_PATH.encode():
        return Refusal(status=404, message=f"there is nothing here; the path of this MCP server is {MCP_PATH}")
    method: str = scope["method"]
    if method not in _METHODS:
        allow = ", ".join(_METHODS)
        return Refusal(status=405, message=f"use one of {allow}", headers=((b"allow", allow.encode()),))
    media_type = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if method == "POST" and media_type != b"application/json":
        return Refusal(status=415, message="a body must be JSON: send 'Content-Type: application/json'")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > _MOST_DIGITS or int(length) > MAX_BODY_BYTES:
        return _too_large()
    return None


def _too_large() -> Refusal:
    return Refusal(status=413, message=f"a body may have at most {MAX_BODY_BYTES} bytes; send less at once")


async def _read_body(receive: Receive) -> bytes | Refusal | None:
    """Return a request's body, or None if the client hung up."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:  # sent in chunks, or longer than it said
            return _too_large()
        if not message.get("more_body", False):
            return bytes(body)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that begins with a body which was read already."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
