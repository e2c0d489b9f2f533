"""What one client asked and has no answer to yet, so that an end of either side can wait for it."""

from __future__ import annotations

import anyio
from mcp_types import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

__all__ = ["UnansweredRequests"]


class UnansweredRequests:
    """The requests of one client that wait for their answer; listen streams, which go on until ended, apart."""

    def __init__(self) -> None:
        self._ids: set[tuple[type, RequestId]] = set()
        self._listens: set[tuple[type, RequestId]] = set()
        self._changed = anyio.Event()

    def note_incoming(self, message: JSONRPCMessage) -> None:
        """Note what a message of the client asks, or takes back."""
        match message:
            case JSONRPCRequest(method="subscriptions/listen", id=request_id):
                self._listens.add((type(request_id), request_id))
            case JSONRPCRequest(id=request_id):
                self._ids.add((type(request_id), request_id))
            case JSONRPCNotification(
                method="notifications/cancelled", params={"requestId": str() | int() as cancelled}
            ):
                self._settle(cancelled)  # a cancelled request is never answered
            case _:
                pass

    def note_outgoing(self, message: JSONRPCMessage) -> None:
        """Note what a message to the client answers."""
        if isinstance(message, JSONRPCResponse | JSONRPCError) and message.id is not None:
            self._settle(message.id)

    async def wait_none(self, *, with_listens: bool = False) -> None:
        """Return when no request waits; with *with_listens*, when no listen stream is open either."""
        while self._ids or (with_listens and self._listens):
            if self._changed.is_set():  # else somebody waits for the same
                self._changed = anyio.Event()
            await self._changed.wait()

    def forget(self) -> None:
        """Nothing waits any more: the client is gone."""
        self._ids.clear()
        self._listens.clear()
        self._changed.set()

    def _settle(self, request_id: RequestId) -> None:
        self._ids.discard((type(request_id), request_id))
        self._listens.discard((type(request_id), request_id))
        self._changed.set()
