"""HTTP requests in flight: all can be waited for, and ended so that their clients understand it.

A stream of events goes on no longer than what let its request in: whoever lets it in says how to see that.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from workroot.transports.http_refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["END_KEY", "HANG_UP_KEY", "STILL_COUNTS_KEY", "HttpInFlight"]

logger = logging.getLogger(__name__)

END_KEY = "workroot.end"
"""Where in the scope of a request is what ends it, if whoever answers does not wait to hear that its client is gone."""

HANG_UP_KEY = "workroot.hang_up"
"""Where in the scope of a request is what to call when its client hangs up before it is answered, if anybody cares."""

STILL_COUNTS_KEY = "workroot.still_counts"
"""Where in the scope of a request is what tells whether it would be let in again; without it, it always would."""


@dataclass(slots=True, eq=False)
class _Exchange:
    """A request in flight, and a way to end it that its client understands."""

    scope: Scope
    _receive: Receive
    _send: Send
    _arrived: bool = False
    _started: bool = False
    _complete: bool = False
    _ended: bool = False
    _is_stream: bool = False
    _is_cut: bool = False
    _waiting: anyio.CancelScope | None = None

    async def receive(self) -> Message:
        if not self._ended:
            with anyio.CancelScope() as self._waiting:
                message = await self._receive()
                self._arrived = not message.get("more_body", False)
                return message
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if self._is_cut:
            return
        if message["type"] == "http.response.start":
            self._started = True
            self._is_stream = dict(message["headers"]).get(b"content-type", b"").startswith(b"text/event-stream")
        elif self._is_stream and message.get("body") and not self._still_counts():
            self._cut()
            return
        else:
            self._complete = not message.get("more_body", False)
        await self._send(message)

    def _still_counts(self) -> bool:
        still_counts: Callable[[], bool] | None = self.scope.get(STILL_COUNTS_KEY)
        return still_counts is None or still_counts()

    def _cut(self) -> None:
        """End the stream in place of its next event; nothing follows but its completion."""
        logger.info("ended a stream over HTTP: the token that opened it does not let anybody in any more")
        self._is_cut = True
        self.end()

    @property
    def is_open_ended(self) -> bool:
        """Whether waiting for its end is in vain: a stream that stands, or a body that may never be complete."""
        return self.scope["method"] == "GET" or not self._arrived

    def end(self) -> None:
        """Tell the application that its client is gone: the one way to end a stream from outside."""
        self._ended = True
        if self._waiting is not None:
            self._waiting.cancel()
        if (end := self.scope.get(END_KEY)) is not None:
            end()

    async def finish(self) -> None:
        """Complete a response that was cut short by `end`."""
        if self._ended and not self._started:
            await Refusal(status=503, message="the daemon is stopping; send this again in a moment").answer(self._send)
        elif self._ended and not self._complete:
            await self._send({"type": "http.response.body", "body": b""})


class HttpInFlight:
    """All requests in flight, so that they can be waited for and ended. Reads nothing of what is said."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._exchanges: set[_Exchange] = set()
        self._idle = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and keep it until it is answered."""
        exchange = _Exchange(scope, receive, send)
        self._exchanges.add(exchange)
        try:
            await self._app(scope, exchange.receive, exchange.send)
            await exchange.finish()
        finally:
            self._exchanges.discard(exchange)
            if not self._exchanges:
                self._idle.set()

    async def wait_idle(self) -> None:
        """Return when nothing is in flight."""
        while self._exchanges:
            self._idle = anyio.Event()
            await self._idle.wait()

    def end(self, *, open_ended_only: bool = False) -> None:
        """End what is in flight; *open_ended_only*: what may never end by itself, and nothing that is being done."""
        for exchange in self._exchanges:
            if not open_ended_only or exchange.is_open_ended:
                exchange.end()
