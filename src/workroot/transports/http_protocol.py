"""One connection of the HTTP face: uvicorn's protocol, with an end to everything that it would wait for.

uvicorn bounds neither the head of a request nor the time it takes, starts every request that a client pipelines, takes
a trailer for a header, and waits for ever for a client that reads nothing. What is asked for decides nothing here:
that is `http_guard`'s.
"""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from workroot.transports.http_in_flight import HANG_UP_KEY
from workroot.transports.http_refusal import Refusal, RefusalLog
from workroot.transports.http_signs import PEER_PROCESS_KEY
from workroot.transports.joined_head import JoinedHead
from workroot.transports.peer_process import PeerProcesses, TcpEnds

if TYPE_CHECKING:
    from collections.abc import Callable

    import uvicorn
    from uvicorn.server import ServerState

    from workroot.core.sessions import Owner
    from workroot.counters import Counters
    from workroot.limits import Limits

__all__ = ["CONNECTION_KEY", "MAX_HEAD_BYTES", "HttpConnection"]

CONNECTION_KEY = "workroot.connection"
"""Where in the `state` of a request its `HttpConnection` is."""

MAX_HEAD_BYTES = 16 * 1024
"""Longest head of a request: its target and all header names and values, trailers included."""

_MOST_SURPLUS_BYTES = 64 * 1024
_MALFORMED = Refusal(status=400, message="this is not an HTTP/1.1 request that this server reads")
_HEAD_TOO_LARGE = Refusal(status=431, message=f"the head of a request may have at most {MAX_HEAD_BYTES} bytes")
_NOT_A_PATH = Refusal(status=400, message="the target of a request must be a path that begins with /")

_GAVE_WAY = Refusal(
    status=503, message="newer connections of this user needed the place of this one; send this again, at once"
)


class _Deadline:
    """Calls somebody *seconds* after the last `start`, unless it was stopped."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, late: Callable[[], None]) -> None:
        self.seconds = seconds
        self._loop = loop
        self._late = late
        self._handle: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        return self._handle is not None

    def start(self) -> None:
        self.stop()
        self._handle = self._loop.call_later(self.seconds, self._pass)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _pass(self) -> None:
        self._handle = None
        self._late()


class _HeadError(Exception):
    """Stops the parser; `HttpConnection` knows why."""


class HttpConnection(HttpToolsProtocol):
    """A connection, from accept to close.

    A second request that comes before the first is answered is not read: the connection ends with that answer.

    Attributes:
        owner: on whose behalf its latest request came that showed a token; None before there was one.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        state: ServerState,
        *,
        limits: Limits,
        counters: Counters,
        processes: PeerProcesses,
        log: RefusalLog | None = None,
        on_made: Callable[[HttpConnection], None],
        on_lost: Callable[[HttpConnection], None],
    ) -> None:
        super().__init__(config, state, {})
        self.owner: Owner | None = None
        self._counters = counters
        self._log = log if log is not None else RefusalLog()
        self._processes = processes
        self._on_made, self._on_lost = on_made, on_lost
        self._head = _Deadline(self.loop, limits.header_seconds, self._head_is_late)
        self._reading = _Deadline(self.loop, limits.write_seconds, self._reading_is_late)
        self._unsent = 0
        self._quiet_bytes = 0  # read since there was something of a body, or nothing under way
        self._is_quiet = True
        self._head_bytes = 0  # of what the parser has made out of it
        self._head_complete = False
        self._unparsed_bytes = 0  # of a body that the parser leaves to us
        self._refusal: Refusal | None = None
        self._reads_no_more = False
        self._surplus_bytes = 0

    @property
    def is_idle(self) -> bool:
        """Whether no request of it is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def may_give_way(self) -> bool:
        """Whether nothing is being done for it: no request, or one that has not arrived."""
        return self.is_idle or (self.cycle.more_body and not self.cycle.response_started)

    @property
    def is_standing(self) -> bool:
        """Whether it carries a stream that stands, on which the server speaks when there is something to say."""
        return not self.is_idle and self.scope["method"] == "GET"

    def give_way(self) -> None:
        """End this connection; only if it may, or carries a stream that stands."""
        if self.is_idle:
            self.shutdown()
        elif self.is_standing and not self.may_give_way:
            self._end_stream()
        else:
            self._answer_and_close(_GAVE_WAY)

    def _end_stream(self) -> None:
        self._read_no_more()
        self.cycle.disconnected = True
        self.cycle.message_event.set()
        self.transport.close()

    # What the event loop says

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first head."""
        connected = cast("asyncio.Transport", transport)
        super().connection_made(connected)
        connected.set_write_buffer_limits(high=0)  # so that whatever is not taken at once is noticed
        client, server = self.client, self.server
        self.app_state = {CONNECTION_KEY: self}  # copied into each request's `state`
        if client is not None and server is not None and server[1] is not None:
            self.app_state[PEER_PROCESS_KEY] = self._processes.at(TcpEnds(client, (server[0], server[1])))
        self._expect_head()
        self._on_made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        super().connection_lost(exc)
        if not self.is_idle:
            hang_up: Callable[[], None] | None = self.scope.get(HANG_UP_KEY)  # type: ignore[assignment] # our own key
            if hang_up is not None:
                hang_up()
        self._unset_keepalive_if_required()
        self._head.stop()
        self._reading.stop()
        self._on_lost(self)

    def data_received(self, data: bytes) -> None:
        """Read on, unless this connection is to end with the answer that is under way."""
        if self._reads_no_more:
            self._surplus_bytes += len(data)
            if self._surplus_bytes > _MOST_SURPLUS_BYTES:
                self.transport.abort()
            return
        if self._unparsed_bytes:
            self._take_unparsed(data)
            return
        self._unset_keepalive_if_required()
        if not self._head.is_running and self.is_idle:
            self._expect_head()
        self._is_quiet = True
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            self._decline_upgrade(data[stopped.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._refusal or _MALFORMED)
        else:
            self._quiet_bytes = self._quiet_bytes + len(data) if self._is_quiet else 0
            if self._quiet_bytes > MAX_HEAD_BYTES:  # a header without an end, of a head or of a trailer
                self._refuse(_HEAD_TOO_LARGE)

    def pause_writing(self) -> None:
        """Begin to wait until the client takes what it was sent."""
        super().pause_writing()
        if not self._reading.is_running:
            self._expect_reading()

    def resume_writing(self) -> None:
        """Go on: the client took all of it."""
        super().resume_writing()
        self._reading.stop()

    # What the parser says

    def on_message_begin(self) -> None:
        """Begin a request, if it may begin."""
        if not self.is_idle:
            raise _HeadError
        self._head_bytes = 0
        self._head_complete = False
        self.server_state.default_headers = _dated(int(time.time()))
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; none after the body, since who comes in was decided by then."""
        self._count(len(name) + len(value))
        if not self._head_complete:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer."""
        if not self.url.startswith(b"/"):  # a proxy's or another server's: its authority would outrank Host
            self._refusal = _NOT_A_PATH
            raise _HeadError
        super().on_headers_complete()
        self.cycle.transport = cast("asyncio.Transport", JoinedHead(self.transport, self.loop))  # as far as it uses one
        self._head_complete = True
        self._head.stop()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._is_quiet = False
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take the body for complete; with an offer of another protocol the parser says so before it begins."""
        self._is_quiet = False
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def _decline_upgrade(self, rest: bytes) -> None:
        """Stay with HTTP/1.1, as a server may: some clients offer HTTP/2 with their first POST, and send its body."""
        headers = dict(self.headers)
        if b"transfer-encoding" in headers:
            self._refuse(_MALFORMED)
            return
        self.cycle.keep_alive = False  # the parser goes no further
        self._unparsed_bytes = int(headers.get(b"content-length", b"0"))
        self._take_unparsed(rest)

    def _take_unparsed(self, data: bytes) -> None:
        part = data[: self._unparsed_bytes]
        self._unparsed_bytes -= len(part)
        super().on_body(part)
        if not self._unparsed_bytes:
            super().on_message_complete()
            self._read_no_more()

    def _count(self, more: int) -> None:
        self._head_bytes += more
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refusal = _HEAD_TOO_LARGE
            raise _HeadError

    # Ends

    def _refuse(self, refusal: Refusal) -> None:
        """End the connection with a refusal; behind a request that is being answered, with that answer instead."""
        self._log.note(refusal)
        self._counters.add("http_head")
        if not self.is_idle and (self.cycle.response_started or not self.cycle.more_body):
            self._read_no_more()
            return
        self._answer_and_close(refusal)

    def _answer_and_close(self, refusal: Refusal) -> None:
        if not self.is_idle:  # its body is broken: whoever waits for the rest is told that nobody is there any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._reads_no_more = True
        self._head.stop()
        self.transport.write(refusal.as_bytes())
        self.transport.close()

    def _read_no_more(self) -> None:
        self._reads_no_more = True
        self._head.stop()
        if self.is_idle:
            self.transport.close()
        else:
            self.cycle.keep_alive = False

    def _expect_head(self) -> None:
        self._quiet_bytes = 0
        self._head.start()

    def _head_is_late(self) -> None:
        self._counters.add("http_slow")
        if self._quiet_bytes:
            message = f"the head of a request took longer than {self._head.seconds:g} s"
            self._log.note(refusal := Refusal(status=408, message=message))
            self._answer_and_close(refusal)
        else:
            self.transport.close()

    def _expect_reading(self) -> None:
        self._unsent = self.transport.get_write_buffer_size()
        self._reading.start()

    def _reading_is_late(self) -> None:
        if self.transport.get_write_buffer_size() < self._unsent:
            self._expect_reading()
            return
        self._counters.add("slow_reader")
        self.transport.abort()


@lru_cache(maxsize=1)
def _dated(now: int) -> list[tuple[bytes, bytes]]:
    """Return the headers of every response; uvicorn has a timer for it, which would run day and night."""
    return [(b"date", formatdate(now, usegmt=True).encode())]
