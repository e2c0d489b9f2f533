"""JSON-RPC messages as lines of a socket, in the shape of the streams that the SDK reads and writes.

The SDK's own stdio loop repairs broken UTF-8 in silence. Here a line is strict UTF-8 and strict JSON; one
that is not is answered with an error, and the conversation goes on.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Self

import anyio
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.shared.message import ServerMessageMetadata, SessionMessage
from mcp_types import (
    INVALID_REQUEST,
    PARSE_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, from_json

from workroot.rendezvous import MAX_LINE_BYTES
from workroot.transports.lines import LineTooLongError
from workroot.transports.unanswered import UnansweredRequests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from anyio.abc import SocketStream

    from workroot.peer import Peer
    from workroot.transports.lines import LineReader

__all__ = ["MessageReader", "MessageWriter"]

logger = logging.getLogger(__name__)

_WRITE_SECONDS = 15.0  # a client that takes nothing for so long is gone
_LAST_ANSWERS_SECONDS = 5.0  # how long a client that has nothing more to say may wait for what it asked


class MessageWriter:
    """The SDK's write stream: one message, one line.

    Ids of our own requests carry the daemon's boot id, so that a client's late answer to an earlier
    daemon cannot be taken for an answer to this one: both count from 0.
    """

    def __init__(self, stream: SocketStream, peer: Peer, boot: str) -> None:
        self._stream, self._peer, self._boot = stream, peer, boot
        self._turn = anyio.Lock(fast_acquire=True)
        self._is_broken = False
        self._writing: anyio.CancelScope | None = None
        self.unanswered = UnansweredRequests()

    async def send(self, item: SessionMessage) -> None:
        """Write one message.

        Raises:
            anyio.BrokenResourceError: the client is gone, or took nothing for 15 s.
        """
        try:
            for message in self._outgoing(item.message):
                await self._write(_line_of(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.unanswered.forget()  # nobody is left to wait for the rest
            raise
        self.unanswered.note_outgoing(item.message)

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
        if self._writing is not None:
            self._writing.cancel()

    async def _write(self, line: bytes) -> None:
        async with self._turn:
            if self._is_broken:
                raise anyio.BrokenResourceError
            self._is_broken = True  # until the line is out whole: a part of it would spoil the next one
            deadline = anyio.current_time() + _WRITE_SECONDS
            with anyio.CancelScope(shield=True, deadline=deadline) as self._writing:
                await self._stream.send(line)
                self._is_broken = False
            if self._is_broken:
                logger.warning("a client took nothing for too long; its connection ends")
                with anyio.CancelScope(shield=True):
                    await self._stream.aclose()
                raise anyio.BrokenResourceError

    def _outgoing(self, message: JSONRPCMessage) -> Iterator[JSONRPCMessage]:
        match message:
            case JSONRPCRequest():
                yield message.model_copy(update={"id": f"{self._boot}:{message.id}"})
            case JSONRPCNotification(method="notifications/subscriptions/acknowledged"):
                yield from self._acknowledgement(message)
            case _:
                yield message

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


class MessageReader:
    """The SDK's read stream: one line, one message, the peer attached to each."""

    def __init__(self, lines: LineReader, writer: MessageWriter, peer: Peer, boot: str) -> None:
        self._lines, self._writer = lines, writer
        self._metadata = ServerMessageMetadata(request_context=peer)
        self._own_prefix = f"{boot}:"

    async def receive(self) -> SessionMessage:
        """Return the next message.

        Raises:
            anyio.EndOfStream: the client ended its side, and has its answers. The SDK cancels what is under
                way at the end of the stream, so the end has to wait.
        """
        while True:
            try:
                line = await self._lines.receive()
            except anyio.EndOfStream:
                with anyio.move_on_after(_LAST_ANSWERS_SECONDS):
                    await self._writer.unanswered.wait_none()
                raise
            except LineTooLongError:
                await self._writer.refuse(INVALID_REQUEST, f"a message may have {MAX_LINE_BYTES} bytes at most")
                raise anyio.EndOfStream from None
            except anyio.BrokenResourceError:
                raise anyio.EndOfStream from None
            message = await self._parsed(line)
            if message is not None:
                self._writer.unanswered.note_incoming(message)
                return SessionMessage(message, self._metadata)

    async def aclose(self) -> None:
        """Leave the socket to the connection's task, which closes it."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _parsed(self, line: bytes) -> JSONRPCMessage | None:
        """Return the message of a line; None if there is none for us, and then its sender was told."""
        try:
            content = _content_of(line)
        except ValueError:
            request_id = _request_id_of(_read_leniently(line))
            await self._writer.refuse(PARSE_ERROR, "this line is not JSON in UTF-8", request_id=request_id)
            return None
        try:
            message = jsonrpc_message_adapter.validate_python(content, by_name=False)
        except ValidationError:
            request_id = _request_id_of(content)
            await self._writer.refuse(INVALID_REQUEST, "this line is not a JSON-RPC 2.0 message", request_id=request_id)
            return None
        if isinstance(message, JSONRPCNotification) and isinstance(content, dict) and "id" in content:
            await self._writer.refuse(INVALID_REQUEST, "a request's id must be a string or a whole number")
            return None
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            return self._answer(message)
        return message

    def _answer(self, message: JSONRPCResponse | JSONRPCError) -> JSONRPCMessage | None:
        """Return an answer under the id that the SDK asked with; one to an earlier daemon is dropped."""
        answered = str(message.id)
        if not answered.startswith(self._own_prefix):
            logger.debug("dropped an answer to a request that this daemon did not make")
            return None
        own = answered.removeprefix(self._own_prefix)
        return message.model_copy(update={"id": int(own) if own.isdecimal() else own})


def _line_of(message: JSONRPCMessage) -> bytes:
    """Return a message as a line; half of a surrogate pair that a client sent goes back to it as it came."""
    try:
        return message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n"
    except PydanticSerializationError:
        return json.dumps(message.model_dump(by_alias=True, exclude_unset=True)).encode() + b"\n"


def _content_of(line: bytes) -> object:
    """Return what a line of strict JSON holds.

    Half of a surrogate pair is JSON, and a path may hold one; the fast parser refuses it.

    Raises:
        ValueError: it is not strict JSON in UTF-8.
    """
    try:
        content: object = from_json(line, allow_inf_nan=False)
    except ValueError:
        if rb"\u" not in line:
            raise
        try:
            content = json.loads(line.decode(), parse_constant=_refuse_constant)
        except RecursionError:
            raise ValueError("nested too deeply") from None
    return content


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _read_leniently(line: bytes) -> object:
    """Return what a line that is not strict JSON was meant to hold, or None: enough to find its id."""
    try:
        content: object = json.loads(line.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    return content


def _request_id_of(content: object) -> str | int | None:
    """Return the id of what was meant as a request, or None."""
    if not isinstance(content, dict) or "method" not in content:
        return None
    request_id = content.get("id")
    if isinstance(request_id, str) and request_id.isprintable():  # half of a surrogate pair could not be written
        return request_id
    return request_id if isinstance(request_id, int) and not isinstance(request_id, bool) else None


def _notification(method: str, **params: Any) -> JSONRPCNotification:
    return JSONRPCNotification(jsonrpc="2.0", method=method, params=params)
