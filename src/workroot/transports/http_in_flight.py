"""HTTP requests in flight: all can be waited for, and ended so that their clients understand it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from workroot.transports.http_refusal import Refusal

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HttpInFlight"]


@dataclass(slots=True, eq=False)
class _Exchange:
    """A request in flight, and a way to end it that its client understands."""

    method: str
    _receive: Receive
    _send: Send
    _arrived: bool = False
    _started: bool = False
    _complete: bool = False
    _ended: bool = False
    _waiting: anyio.CancelScope | None = None

    async def receive(self) -> Message:
        if not self._ended:
            with anyio.CancelScope() as self._waiting:
                message = await self._receive()
                self._arrived = not message.get("more_body", False)
                return message
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
        else:
            self._complete = not message.get("more_body", False)
        await self._send(message)

    @property
    def is_open_ended(self) -> bool:
        """Whether waiting for its end is in vain: a stream that stands, or a body that may never be complete."""
        return self.method == "GET" or not self._arrived

    def end(self) -> None:
        """Tell the application that its client is gone: the one way to end a stream from outside."""
        self._ended = True
        if self._waiting is not None:
            self._waiting.cancel()

    async def finish(self) -> None:
        """Complete a response that was cut short by `end`."""
        if self._ended and not self._started:
            await Refusal(status=503, message="the daemon is stopping; send this again in a moment").answer(self._send)
        elif self._ended and not self._complete:
            await self._send({"type": "http.response.body", "body": b""})


class HttpInFlight:
    """All requests in flight, so that they can be waited for and ended. Decides nothing and reads nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._exchanges: set[_Exchange] = set()
        self._idle = anyio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and keep it until it is answered."""
        exchange = _Exchange(scope["method"], receive, send)
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
