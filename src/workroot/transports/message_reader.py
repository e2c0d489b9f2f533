"""A client's lines as JSON-RPC messages, in the shape of the stream that the SDK reads.

The SDK's own stdio loop repairs broken UTF-8 in silence, and works on whatever comes at once. Here a line is
strict JSON (`workroot.transports.strict_json`); one that is not is answered with an error, and the conversation goes
on. Requests beyond those that may be worked on wait, then the client is not read, so that it has to wait too.
"""

from __future__ import annotations

import asyncio
import json
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import anyio
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

from workroot.counters import Counters
from workroot.limits import DEFAULT_LIMITS
from workroot.transports.inbox import Inbox
from workroot.transports.lines import LineTooLongError
from workroot.transports.message_room import OWN_BYTES, Share, weight_of
from workroot.transports.pacing import Paces
from workroot.transports.strict_json import StrictJsonError, decode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from workroot.limits import Limits
    from workroot.peer import Peer
    from workroot.transports.lines import LineReader
    from workroot.transports.message_writer import MessageWriter

__all__ = ["MessageReader"]

logger = logging.getLogger(__name__)

_LONG_OPENING = "a conversation must begin with a short message: send a request without long arguments first"
_LAST_ANSWERS_SECONDS = 5.0  # how long a client that has nothing more to say may wait for what it asked


class MessageReader:
    """The SDK's read stream: one line, one message, the peer attached to each.

    `read_lines` reads them, beside, for as long as the connection lasts: what takes back a request or answers one of
    ours must not wait behind requests that wait.

    Attributes:
        take: told each message first, and returns whether the SDK need not see it; None: it sees all.
    """

    def __init__(
        self,
        lines: LineReader,
        writer: MessageWriter,
        peer: Peer,
        boot: str,
        *,
        paces: Paces | None = None,
        limits: Limits = DEFAULT_LIMITS,
        counters: Counters | None = None,
    ) -> None:
        self._lines, self._writer = lines, writer
        self._paces = paces if paces is not None else Paces()
        self._share = Share(lines.long_lines.room)
        self._counters = counters if counters is not None else Counters()
        self._inbox = Inbox(writer.unanswered, most_in_flight=limits.max_requests_in_flight)
        self._metadata = ServerMessageMetadata(request_context=peer)
        self._own_prefix = f"{boot}:"
        self.take: Callable[[JSONRPCMessage], bool] | None = None
        self._changed = asyncio.Event()  # anyio's would have to be made anew for each line, twice
        self._has_ended = False
        self._end_at: float | None = None
        self._opening_weight: int | None = 0  # of what came up to the first request; None: all later messages
        writer.unanswered.call_when_fewer(self._note_fewer)

    async def read_lines(self) -> None:
        """Read the client's lines until they end; not read are those of a client with too many requests waiting."""
        try:
            while True:
                while self._inbox.is_full:
                    await self._wait_change()
                await self._share.wait_free()
                await self._read_line(await self._lines.receive())
        except LineTooLongError as error:
            self._counters.add("line_too_long")
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                await self._writer.refuse(INVALID_REQUEST, str(error))
        except anyio.EndOfStream:
            pass
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self._writer.unanswered.forget()
        finally:
            self._lines.done()
            self._has_ended = True
            self._tell()

    async def receive(self) -> SessionMessage:
        """Return the next message.

        Raises:
            anyio.EndOfStream: the client ended its side, and has its answers. The SDK cancels what is under
                way at the end of the stream, so the end has to wait.
        """
        while True:
            if (message := self._inbox.take(may_begin=not self._writer.is_behind)) is not None:
                self._tell()
                if isinstance(message, JSONRPCRequest):
                    await self._paces.beginning.turn()
                if self.take is not None and self.take(message):
                    continue
                return SessionMessage(message, self._metadata)
            if not self._has_ended:
                await self._wait_change()
            elif self._inbox.has_requests:
                await self._wait_last(self._wait_change)
            else:
                await self._wait_last(self._writer.unanswered.wait_none)
                raise anyio.EndOfStream

    async def _wait_last(self, wait: Callable[[], Awaitable[None]]) -> None:
        """Wait after the client's end, but not for ever.

        Raises:
            anyio.EndOfStream: its time is over.
        """
        if self._end_at is None:
            self._end_at = anyio.current_time() + _LAST_ANSWERS_SECONDS
        with anyio.CancelScope(deadline=self._end_at):
            await wait()
            return
        raise anyio.EndOfStream

    async def _wait_change(self) -> None:
        self._changed.clear()  # whoever was told before goes on all the same
        await self._changed.wait()

    def _note_held(self) -> None:
        self._share.hold(self._writer.unanswered.size)

    def _note_fewer(self) -> None:
        self._note_held()
        self._tell()

    def _tell(self) -> None:
        self._changed.set()

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

    async def _read_line(self, line: bytes) -> None:
        weight = weight_of(line)
        await self._paces.reading.turn()
        if weight <= OWN_BYTES:
            await self._take_line(line, weight)
        else:
            async with self._lines.long_lines.room.turn(weight):
                await self._take_line(line, weight)
        self._lines.done()

    async def _take_line(self, line: bytes, weight: int) -> None:
        content, problem = _content_of(line)
        if problem is None and not self._may_open(weight):
            await self._writer.refuse(INVALID_REQUEST, _LONG_OPENING, request_id=_request_id_of(content))
        elif (message := await self._message_in(content, problem)) is not None:
            if isinstance(message, JSONRPCRequest):
                self._opening_weight = None
            self._inbox.add(message, weight)
            self._note_held()
            self._tell()

    def _may_open(self, weight: int) -> bool:
        """Tell whether a message may be part of the opening: the SDK keeps that for as long as the connection lasts."""
        if self._opening_weight is None:
            return True
        if self._opening_weight + weight > OWN_BYTES:
            return False
        self._opening_weight += weight
        return True

    async def _message_in(self, content: object, problem: str | None) -> JSONRPCMessage | None:
        """Return the message of a line; None if there is none for us, and then its sender was told."""
        if problem is not None:
            self._counters.add("invalid_json")
            await self._writer.refuse(PARSE_ERROR, problem, request_id=_request_id_of(content))
            return self._failed_answer(content, problem)
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

    def _failed_answer(self, meant: object, problem: str) -> JSONRPCMessage | None:
        """Return what was meant as an answer as one that failed: whoever asked must not wait for another."""
        if not isinstance(meant, dict) or "method" in meant or not isinstance(request_id := meant.get("id"), str):
            return None
        return self._answer(
            JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=PARSE_ERROR, message=problem))
        )

    def _answer(self, message: JSONRPCResponse | JSONRPCError) -> JSONRPCMessage | None:
        """Return an answer under the id that the SDK asked with; one to an earlier daemon is dropped."""
        answered = str(message.id)
        if not answered.startswith(self._own_prefix):
            logger.debug("dropped an answer to a request that this daemon did not make")
            return None
        own = answered.removeprefix(self._own_prefix)
        return message.model_copy(update={"id": int(own) if own.isdecimal() else own})


def _content_of(line: bytes) -> tuple[object, str | None]:
    """Return what a line holds, and what is wrong with it; then the first is what it was meant to hold."""
    try:
        return decode(line), None
    except StrictJsonError as error:
        return _read_leniently(line), f"this is not strict JSON: {error}"


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
