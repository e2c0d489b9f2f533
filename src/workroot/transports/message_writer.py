"""JSON-RPC messages to a client as lines of a socket, in the shape of the stream that the SDK writes to."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Self

import anyio
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.message import SessionMessage
from mcp_types import (
    CONNECTION_CLOSED,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
)
from pydantic_core import PydanticSerializationError

from workroot.counters import Counters
from workroot.limits import DEFAULT_LIMITS
from workroot.transports.unanswered import UnansweredRequests

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator
    from types import TracebackType

    from anyio.abc import SocketStream
    from mcp_types import RequestId

    from workroot.peer import Peer

__all__ = ["MessageWriter"]

logger = logging.getLogger(__name__)

_PIECE_BYTES = 64 * 1024  # a client that takes so much in time is slow, and one that takes less is gone


class MessageWriter:
    """The SDK's write stream: one message, one line.

    Ids of our own requests carry the daemon's boot id, so that a client's late answer to an earlier
    daemon cannot be taken for an answer to this one: both count from 0.

    Args:
        write_seconds: how long the client may take nothing of what it is sent.
        raw: the socket under *stream*, which does not block; None: all goes through *stream*.
    """

    def __init__(
        self,
        stream: SocketStream,
        peer: Peer,
        boot: str,
        *,
        write_seconds: float = DEFAULT_LIMITS.write_seconds,
        counters: Counters | None = None,
        raw: socket.socket | None = None,
    ) -> None:
        self._stream, self._peer, self._boot, self._raw = stream, peer, boot, raw
        self._write_seconds = write_seconds
        self._counters = counters if counters is not None else Counters()
        self._turn = anyio.Lock(fast_acquire=True)
        self._is_broken = self._gave_up = False
        self._untaken = 0
        self._writing: anyio.CancelScope | None = None
        self.unanswered = UnansweredRequests()

    @property
    def is_behind(self) -> bool:
        """Whether the client takes what it is sent so slowly that no more should be made for it."""
        return self._untaken > _PIECE_BYTES

    async def send(self, item: SessionMessage) -> None:
        """Write one message.

        Raises:
            anyio.BrokenResourceError: the client is gone, or took nothing for too long.
        """
        for message in self._outgoing(item.message):
            await self._send(_line_of(message))
        self.unanswered.note_outgoing(item.message)

    async def answer(self, request_id: RequestId, line: bytes) -> None:
        """Write the answer to a request, which is a line already.

        Raises:
            anyio.BrokenResourceError: as `send`.
        """
        await self._send(line)
        self.unanswered.note_answered(request_id)

    async def refuse(self, code: int, problem: str, *, request_id: str | int | None = None) -> None:
        """Answer a line that is no message; whoever waits for *request_id* must hear of it."""
        error = JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=code, message=problem))
        await self.send(SessionMessage(error))

    async def aclose(self) -> None:
        """Leave the socket to the connection's task, which closes it."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def give_up(self) -> None:
        """Wait no longer for a client that does not read: the connection ends."""
        self._gave_up = True
        if self._writing is not None:
            self._writing.cancel()

    async def _send(self, line: bytes) -> None:
        self._untaken += len(line)
        try:
            await self._write(line)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.unanswered.forget()  # nobody is left to wait for the rest
            raise
        finally:
            self._untaken -= len(line)

    async def _write(self, line: bytes) -> None:
        async with self._turn:
            if self._is_broken:
                raise anyio.BrokenResourceError
            if (sent := self._send_nowait(line)) == len(line):
                return
            self._is_broken = True  # until the line is out whole: a part of it would spoil the next one
            with anyio.CancelScope(shield=True) as self._writing:
                for start in range(sent, len(line), _PIECE_BYTES):
                    self._writing.deadline = anyio.current_time() + self._write_seconds
                    await self._stream.send(line[start : start + _PIECE_BYTES])
                self._is_broken = False
            if self._is_broken:
                if not self._gave_up:
                    self._counters.add("slow_reader")
                    logger.warning("a client took nothing for too long; its connection ends")
                with anyio.CancelScope(shield=True):
                    await self._stream.aclose()
                raise anyio.BrokenResourceError

    def _send_nowait(self, line: bytes) -> int:
        """Return how many bytes of *line* the client took at once, which is nearly always all of them."""
        if self._raw is None:
            return 0
        try:
            return self._raw.send(line)
        except OSError:  # it took nothing: the one who waits for it finds out whether it can
            return 0

    def _outgoing(self, message: JSONRPCMessage) -> Iterator[JSONRPCMessage]:
        match message:
            case JSONRPCRequest():
                yield message.model_copy(update={"id": self._own_id(message.id)})
            case JSONRPCNotification(method="notifications/cancelled", params={"requestId": asked}):
                # The SDK takes back nothing but what it has asked itself, and that went out under another id.
                params = {**(message.params or {}), "requestId": self._own_id(asked)}
                yield message.model_copy(update={"params": params})
            case JSONRPCNotification(method="notifications/subscriptions/acknowledged"):
                yield from self._acknowledgement(message)
            case JSONRPCError(error=ErrorData(code=code)) if code == CONNECTION_CLOSED:
                pass  # the daemon's end cut a call off: a connector says so, and that it may be retried
            case _:
                yield message

    def _own_id(self, request_id: object) -> str:
        """Return the id that a request of ours goes out under."""
        return f"{self._boot}:{request_id}"

    def _acknowledgement(self, message: JSONRPCNotification) -> Iterator[JSONRPCNotification]:
        """Let an acknowledgement pass, unless the client has had it from an earlier daemon.

        A stream that a connector opened again may have missed events: each honoured kind is told once.
        """
        params: dict[str, Any] = message.params or {}
        meta = params.get("_meta") or {}
        resumption = self._peer.resumption
        if resumption is None or meta.get(SUBSCRIPTION_ID_META_KEY) not in resumption.listens:
            yield message
            return
        honoured = params.get("notifications") or {}
        for kind in ("tools", "prompts", "resources"):
            if honoured.get(f"{kind}ListChanged"):
                yield _notification(f"notifications/{kind}/list_changed", _meta=meta)
        for uri in dict.fromkeys(honoured.get("resourceSubscriptions") or ()):
            yield _notification("notifications/resources/updated", uri=uri, _meta=meta)


def _line_of(message: JSONRPCMessage) -> bytes:
    """Return a message as a line; a name on disk may hold half of a surrogate pair, which goes out as it is."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except PydanticSerializationError:
        return json.dumps(message.model_dump(by_alias=True, exclude_unset=True)).encode() + b"\n"


def _notification(method: str, **params: Any) -> JSONRPCNotification:
    return JSONRPCNotification(jsonrpc="2.0", method=method, params=params)
