"""The outermost gate of the HTTP face: who may speak is decided from a request's headers alone.

Nothing of a body is read before Host, Origin, path, token and rate are right, and never more than 1 MiB of it.
Web pages are kept out by exact comparison: prefixes and patterns in such checks have been the way in elsewhere.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.counters import Counters
from workroot.errors import TokenError
from workroot.limits import DEFAULT_LIMITS
from workroot.transports.http_bodies import MAX_BODY_BYTES, HttpBodies
from workroot.transports.http_heads import MCP_PATH, check_once, check_target
from workroot.transports.http_in_flight import STILL_COUNTS_KEY
from workroot.transports.http_rates import HttpRates
from workroot.transports.http_refusal import Refusal, RefusalLog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from workroot.core.sessions import Owner
    from workroot.limits import Limits

__all__ = ["MAX_BODY_BYTES", "MCP_PATH", "OWNER_KEY", "HttpGuard", "Page", "Refusal"]

logger = logging.getLogger(__name__)

OWNER_KEY = "workroot.owner"
"""Where in the scope of a request that passed its `Owner` is."""

_BYTES_PER_REQUEST = 16 * 1024  # a longer body counts as several: reading 1 MiB can take as long as 100 calls


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What is served beside MCP, to GET and HEAD.

    Attributes:
        answer: gives status, content type and body.
        needs_token: whether only a known user may see it.
    """

    answer: Callable[[], Awaitable[tuple[int, str, bytes]]]
    needs_token: bool = True


class HttpGuard:
    """Lets requests of known owners through to an ASGI application, their bodies read, bounded and strict JSON."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        port: int,
        owner_of: Callable[[str], Owner | None],
        belongs_to: Callable[[Scope, Owner], bool] = lambda scope, owner: True,
        pages: Mapping[str, Page] | None = None,
        limits: Limits = DEFAULT_LIMITS,
        counters: Counters | None = None,
        log: RefusalLog | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Guard *app*.

        Args:
            app: gets requests with `scope[OWNER_KEY]` set.
            port: the port of 127.0.0.1 that requests come in on.
            owner_of: on whose behalf the bearer of a token calls; may raise `TokenError`.
            belongs_to: told whose request it is; False if that user has too many connections.
            pages: what is served beside MCP, by path.
            log: tells what was refused.
            clock: for rates, in seconds; must never go back.
        """
        self._app = app
        self._owner_of = owner_of
        self._belongs_to = belongs_to
        self._pages = pages if pages is not None else {}
        self._counters = counters if counters is not None else Counters()
        self._rates = HttpRates(limits)
        self._bodies = HttpBodies(limits, self._counters)
        self._limits = limits
        self._log = log if log is not None else RefusalLog()
        self._clock = clock
        self._hosts = (f"127.0.0.1:{port}".encode(), f"localhost:{port}".encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request: by a refusal, by a page, or by the application."""
        headers = dict(scope["headers"])
        page = self._pages.get(scope["path"]) if scope.get("raw_path") == scope["path"].encode() else None
        refusal = self._check_head(scope, headers, is_page=page is not None)
        if refusal is None and (page is None or page.needs_token):
            refusal = self._check_sender(scope, headers)
        if refusal is not None:
            self._log.note(refusal)
            await refusal.answer(send)
        elif page is not None:
            await _show(page, send)
        else:
            await self._pass_on(scope, receive, send)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._bodies.read(receive, is_message=scope["method"] == "POST", scope=scope) as body:
            if isinstance(body, Refusal):
                self._log.note(body)
                await body.answer(send)
            elif body is not None:
                self._rates.charge(scope[OWNER_KEY], len(body) // _BYTES_PER_REQUEST)
                await self._app(scope, _replayed(body, receive), send)

    def _check_head(self, scope: Scope, headers: dict[bytes, bytes], *, is_page: bool) -> Refusal | None:
        if (refusal := check_once(scope)) is not None:
            self._counters.add("http_head")
        elif (refusal := self._check_origin(headers)) is not None:
            self._counters.add("http_origin")
        elif (refusal := check_target(scope, headers, is_page=is_page)) is not None:
            self._counters.add("http_head")
        return refusal

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

    def _check_sender(self, scope: Scope, headers: dict[bytes, bytes]) -> Refusal | None:
        """Find out whose request it is, and whether that user may send one more."""
        owner = self._owner(headers)
        if isinstance(owner, Refusal):
            self._counters.add("http_token")
            return owner
        if (seconds := self._rates.seconds_to_wait(owner, self._clock())) > 0:
            self._counters.add("rate_limit")
            return Refusal(
                status=429,
                message=f"more than {self._limits.requests_per_second:g} requests a second; send this again later",
                headers=((b"retry-after", str(math.ceil(seconds)).encode()),),
            )
        if not self._belongs_to(scope, owner):
            return Refusal(
                status=429,
                message=f"all {self._limits.max_connections_per_user} connections of this user are busy; close some",
                headers=((b"retry-after", b"1"),),
            )
        scope[OWNER_KEY] = owner
        scope[STILL_COUNTS_KEY] = lambda: self._owner(headers) == owner
        return None

    def _owner(self, headers: dict[bytes, bytes]) -> Owner | Refusal:
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


async def _show(page: Page, send: Send) -> None:
    """Answer with a page; to HEAD the server sends no body by itself."""
    status, content_type, body = await page.answer()
    headers = [
        (b"content-type", content_type.encode("latin-1")),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that begins with a body which was read already."""
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
