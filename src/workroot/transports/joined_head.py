"""The head of an HTTP response leaves together with what follows it at once, in one system call.

uvicorn writes a response's head and its body one after the other, and our connections hand on at once whatever they
are given (`http_protocol`): that is two packets, and a client that wakes up twice. A stream of events is begun some
steps before its first event, which of a call is most often its answer; so a head waits a few milliseconds, and
nothing else waits at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["JoinedHead"]

_HOLD_SECONDS = 0.003
_CONTINUE = b"HTTP/1.1 100"


class JoinedHead:
    """What uvicorn writes one response to; holds the first piece until the second, but not for long."""

    __slots__ = ("_handle", "_held", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held: bytes | None = None
        self._handle: asyncio.TimerHandle | None = None

    def write(self, data: bytes) -> None:
        """Write a piece of the response."""
        if self._handle is None and not data.startswith(_CONTINUE):
            self._held, self._handle = data, self._loop.call_later(_HOLD_SECONDS, self._flush)
        elif self._held is None:
            self._transport.write(data)
        else:
            held = self._taken()
            self._transport.write(held + data)

    def close(self) -> None:
        """End the connection once all is written."""
        self._flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Tell whether the connection is ending."""
        return self._transport.is_closing()

    def _flush(self) -> None:
        if held := self._taken():
            self._transport.write(held)

    def _taken(self) -> bytes:
        """Return what was held; nothing is from now on."""
        held, self._held = self._held, None
        if held is None or self._handle is None:
            return b""
        self._handle.cancel()
        return b"" if self._transport.is_closing() else held
