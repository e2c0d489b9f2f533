"""What one client asked and has no answer to yet, so that an end of either side can wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.dispatcher import coerce_request_id
from mcp_types import (
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UnansweredRequests", "cancelled_id"]


class UnansweredRequests:
    """The requests of one client that wait for their answer.

    A listen stream goes on until it is ended: once it is acknowledged it counts apart. A client that uses an id twice
    has two requests.
    """

    def __init__(self) -> None:
        self._waiting: dict[RequestId, list[int]] = {}  # their sizes
        self._listens: set[RequestId] = set()
        self._changed = anyio.Event()
        self._when_fewer: Callable[[], None] | None = None

    @property
    def count(self) -> int:
        """How many wait, open listen streams left out."""
        return sum(len(sizes) for sizes in self._waiting.values())

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits for its answer, and no listen stream is open."""
        return not self._waiting and not self._listens

    @property
    def size(self) -> int:
        """How many bytes their lines had, all together."""
        return sum(sum(sizes) for sizes in self._waiting.values())

    def note_incoming(self, message: JSONRPCMessage, size: int = 0) -> None:
        """Note what a message of the client asks, in a line of *size* bytes, or what it takes back."""
        if isinstance(message, JSONRPCRequest):
            self._waiting.setdefault(_key(message.id), []).append(size)
        elif (cancelled := cancelled_id(message)) is not None:
            self._settle(_key(cancelled))  # a cancelled request is never answered

    def note_outgoing(self, message: JSONRPCMessage) -> None:
        """Note what a message to the client answers."""
        match message:
            case JSONRPCResponse(id=request_id) | JSONRPCError(id=request_id) if request_id is not None:
                self.note_answered(request_id)
            case JSONRPCNotification(method="notifications/subscriptions/acknowledged", params={"_meta": {**meta}}) if (
                isinstance(listen := meta.get(SUBSCRIPTION_ID_META_KEY), str | int)
            ):
                if _key(listen) in self._waiting:
                    self._settle(_key(listen))
                    self._listens.add(_key(listen))
            case _:
                pass

    def note_answered(self, request_id: RequestId) -> None:
        """Note that the client has the answer to this request."""
        self._settle(_key(request_id))

    def call_when_fewer(self, call: Callable[[], None]) -> None:
        """Have *call* called whenever fewer wait than before; it replaces an earlier one."""
        self._when_fewer = call

    async def wait_none(self, *, with_listens: bool = False) -> None:
        """Return when no request waits; with *with_listens*, when no listen stream is open either."""
        while self._waiting or (with_listens and self._listens):
            if self._changed.is_set():  # else somebody waits for the same
                self._changed = anyio.Event()
            await self._changed.wait()

    def forget(self) -> None:
        """Nothing waits any more: the client is gone."""
        self._waiting.clear()
        self._listens.clear()
        self._tell()

    def _settle(self, key: RequestId) -> None:
        sizes = self._waiting.get(key)
        if sizes is None:
            self._listens.discard(key)
        elif len(sizes) > 1:
            sizes.pop()
        else:
            del self._waiting[key]
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        if self._when_fewer is not None:
            self._when_fewer()


def cancelled_id(message: JSONRPCMessage) -> RequestId | None:
    """Return the id of the request that a message takes back, or None: it takes none back."""
    match message:
        case JSONRPCNotification(
            method="notifications/cancelled", params={"requestId": str() | int() as request_id}
        ) if not isinstance(request_id, bool):
            return request_id
        case _:
            return None


def _key(request_id: RequestId) -> RequestId:
    return coerce_request_id(request_id)  # 1 and "1" are one to the SDK
