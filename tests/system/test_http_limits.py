"""HTTP against those who do not keep to it: raw sockets and a real daemon, in both protocol eras."""

from __future__ import annotations

import http.client
import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from real_daemon import DEADLINE_SECONDS, ERAS, HANDSHAKE_VERSION, LEGACY, MODERN, MODERN_META, Home, open_home

from workroot.identity import TokenFile
from workroot.transports.http_guard import MAX_BODY_BYTES
from workroot.transports.http_protocol import MAX_HEAD_BYTES

MEBIBYTE = 1024 * 1024
CLIENT = {"name": "hand", "version": "1"}
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": HANDSHAKE_VERSION, "capabilities": {}, "clientInfo": CLIENT},
}
DISCOVER = {"jsonrpc": "2.0", "id": 1, "method": "server/discover", "params": {"_meta": MODERN_META}}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> dict[str, Any]:
        """The JSON-RPC error, after checking that it is one of nobody's request."""
        answer: dict[str, Any] = json.loads(self.body)
        assert answer["jsonrpc"] == "2.0"
        assert answer["id"] is None
        error: dict[str, Any] = answer["error"]
        return error


class Connection:
    """One TCP connection, spoken over by hand."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE_SECONDS)
        self.socket.connect(("127.0.0.1", port))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read(self, method: str = "POST") -> Answer:
        """Read one response."""
        response = http.client.HTTPResponse(self.socket, method=method)
        response.begin()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def read_head(self) -> bytes:
        """Read until a response's head is there."""
        head = b""
        while b"\r\n\r\n" not in head:
            part = self.socket.recv(65536)
            assert part, "the connection was closed"
            head += part
        return head

    def rest(self) -> bytes:
        """Return all that comes until the server has closed the connection."""
        received = b""
        with suppress(ConnectionResetError):
            while part := self.socket.recv(65536):
                received += part
        return received

    def close(self) -> None:
        self.socket.close()


@dataclass
class Daemon:
    """A daemon with HTTP on."""

    home: Home
    pid: int
    port: int
    token: str

    def head(self, *more: str, method: str = "POST", target: str = "/mcp", without: str = "") -> bytes:
        """Return a request's head, with *more* header lines; without those whose name is *without*."""
        lines = [
            f"Host: 127.0.0.1:{self.port}",
            f"Authorization: Bearer {self.token}",
            "Content-Type: application/json",
            "Accept: application/json, text/event-stream",
        ]
        kept = [line for line in lines if not without or not line.lower().startswith(without.lower() + ":")]
        return "\r\n".join([f"{method} {target} HTTP/1.1", *kept, *more, "", ""]).encode("latin-1")

    def request(self, era: str, *more: str, body: bytes | None = None, **changed: str) -> bytes:
        """Return a whole request that opens an era: `initialize` or `server/discover`, or with another body."""
        if era == MODERN:
            more = (f"MCP-Protocol-Version: {MODERN}", "Mcp-Method: server/discover", *more)
        sent = body if body is not None else json.dumps(DISCOVER if era == MODERN else INITIALIZE).encode()
        return self.head(*more, f"Content-Length: {len(sent)}", **changed) + sent

    @contextmanager
    def connected(self, **options: int) -> Iterator[Connection]:
        with closing(Connection(self.port, **options)) as connection:
            yield connection

    def say(self, data: bytes) -> Answer:
        """Send bytes on a connection of their own; return the answer, after which the connection has to be closed."""
        with self.connected() as connection:
            connection.send(data)
            answer = connection.read()
            assert connection.rest() == b""
            return answer

    def is_well(self, era: str) -> bool:
        """Whether somebody else is answered as always."""
        return self.say(self.request(era, "Connection: close")).status == 200

    def new_token(self, name: str, **options: str) -> str:
        return TokenFile(self.home.state / "tokens.json").create(name, **options)

    def memory(self) -> int:
        """Return the bytes that the daemon has in memory."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def running(**settings: object) -> Iterator[Daemon]:
    variables = {f"WORKROOT_{name.upper()}": str(value) for name, value in settings.items()}
    port = free_port()
    with open_home(WORKROOT_HTTP="true", WORKROOT_HTTP_PORT=str(port), **variables) as home:
        home.start()
        status = home.ask("status")
        token = TokenFile(home.state / "tokens.json").create("test")
        yield Daemon(home, status["pid"], port, token)


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    """With the usual limits, but for the rate: the tests together are one user."""
    with running(requests_per_second=10_000, request_burst=10_000) as daemon:
        yield daemon


@pytest.fixture(scope="module")
def hasty() -> Iterator[Daemon]:
    """It waits for nobody."""
    with running(header_seconds=0.3, body_seconds=0.3, write_seconds=0.3) as daemon:
        yield daemon


# What is no request


def refused(daemon: Daemon, data: bytes, status: int) -> None:
    answer = daemon.say(data)
    assert answer.status == status
    assert answer.error["code"] == -32600
    assert answer.headers["connection"] == "close"
    assert not any(name.startswith("access-control") for name in answer.headers)
    assert "location" not in answer.headers
    assert b"evil" not in answer.body


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize(
    ("status", "more"),
    [
        (400, "Host: evil.example"),
        (403, "Origin: http://evil.example"),
        (403, "Origin: null"),
        (403, "Sec-Fetch-Site: cross-site"),
        (400, "Origin: http://evil.example\r\nOrigin: http://evil.example"),
        (400, "Authorization: Bearer evil"),
        (413, "Content-Length: 1048577"),
        (415, "Content-Encoding: gzip\r\nContent-Length: 100"),
        (400, "Content-Length: 100\r\nTransfer-Encoding: chunked"),
        (400, "Transfer-Encoding: chunked\r\nContent-Length: 100"),
        (400, "Content-Length: 100\r\nContent-Length: 101"),
        (400, "Content-Length: 100\r\nContent-Length: 100"),
        (400, "Content-Length: 100, 100"),
        (400, "Content-Length: +100"),
        (400, "Content-Length: -1"),
        (400, "Content-Length: 99999999999999999999999999"),
        (400, "Transfer-Encoding: gzip, chunked"),
        (400, "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        (400, "Transfer-Encoding : chunked"),
        (400, "X-Folded: one\r\n evil"),
        (400, "X-Zero: evil\0"),
        (400, "X-Bare: one\rHost: evil.example"),
        (400, "X-Line: one\nHost: evil.example"),
        (400, ": evil"),
        (431, "X-Long: " + "x" * MAX_HEAD_BYTES),
        (431, "\r\n".join("X: x" for _ in range(MAX_HEAD_BYTES // 2))),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_head_that_can_be_read_in_two_ways_is_not_read_at_all(
    daemon: Daemon, era: str, status: int, more: str
) -> None:
    refused(daemon, daemon.head(f"MCP-Protocol-Version: {era}", more), status)
    assert daemon.is_well(era)


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (400, "POST http://evil.example/mcp HTTP/1.1"),
        (400, "POST http://127.0.0.1/mcp HTTP/1.1"),
        (400, "POST mcp HTTP/1.1"),
        (400, "OPTIONS * HTTP/1.1"),
        (400, "CONNECT evil.example:443 HTTP/1.1"),
        (404, "POST //evil.example/mcp HTTP/1.1"),
        (404, "POST /mcp/ HTTP/1.1"),
        (404, "POST /mcp/../mcp HTTP/1.1"),
        (404, "POST /%6dcp HTTP/1.1"),
        (400, "POST /m\tcp HTTP/1.1"),
        (400, "POST /mcp HTTP/3.0"),
        (400, "PRI * HTTP/2.0"),
        (400, "BREW /mcp HTTP/1.1"),
        (405, "TRACE /mcp HTTP/1.1"),
        (405, "OPTIONS /mcp HTTP/1.1"),
        (431, f"POST /mcp?{'x' * MAX_HEAD_BYTES} HTTP/1.1"),
    ],
)
def test_a_first_line_that_is_not_ours_is_refused(daemon: Daemon, status: int, line: str) -> None:
    refused(daemon, line.encode() + daemon.head("Content-Length: 100").partition(b" HTTP/1.1")[2], status)


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 100, b"evil\r\n\r\n"])
def test_what_is_not_http_is_told_so_and_is_not_logged(daemon: Daemon, garbage: bytes) -> None:
    before = len(daemon.home.log)
    refused(daemon, garbage, 400)
    assert len(daemon.home.log) == before


def test_a_host_that_is_absent_or_old_fashioned_is_refused(daemon: Daemon) -> None:
    refused(daemon, daemon.head("Content-Length: 100", without="Host"), 421)
    refused(daemon, daemon.head(f"Host: 127.0.0.1:{daemon.port}:80", without="Host"), 421)
    refused(daemon, b"GET /mcp HTTP/1.0\r\n\r\n", 421)


def test_no_body_is_asked_for_from_those_who_may_not_send_one(daemon: Daemon) -> None:
    expecting = ("Content-Length: 100", "Expect: 100-continue")
    refused(daemon, daemon.head(*expecting, without="Authorization"), 401)
    refused(daemon, daemon.head(*expecting, "Origin: http://evil.example"), 403)

    body = json.dumps(INITIALIZE).encode()
    with daemon.connected() as connection:
        connection.send(daemon.head(f"Content-Length: {len(body)}", "Expect: 100-continue"))
        assert connection.read_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.send(body)
        assert connection.read().status == 200


@pytest.mark.parametrize("era", ERAS)
def test_headers_of_proxies_are_nobodys_word(daemon: Daemon, era: str) -> None:
    forwarded = ("X-Forwarded-For: 203.0.113.1", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https")
    assert daemon.say(daemon.request(era, *forwarded, "Connection: close")).status == 200
    refused(daemon, daemon.request(era, f"X-Forwarded-Host: 127.0.0.1:{daemon.port}", without="Host"), 421)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("trailer", ["Mcp-Session-Id: evil", "Workroot-Session: evil", "Authorization: Bearer evil"])
def test_a_trailer_is_not_a_header(daemon: Daemon, era: str, trailer: str) -> None:
    body = json.dumps(DISCOVER if era == MODERN else INITIALIZE).encode()
    chunks = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n" + trailer.encode() + b"\r\n\r\n"
    head = daemon.request(era, "Transfer-Encoding: chunked", body=b"").replace(b"Content-Length: 0\r\n", b"")
    with daemon.connected() as connection:
        connection.send(head + chunks)
        assert connection.read().status == 200


@pytest.mark.parametrize("part", [b"x" * 8192, b"X-More: " + b"x" * 1000 + b"\r\n"])
def test_endless_trailers_are_cut_off(daemon: Daemon, part: bytes) -> None:
    with daemon.connected() as connection:
        connection.send(daemon.head("Transfer-Encoding: chunked") + b"2\r\n{}\r\n0\r\nX-More: ")
        taken = 0
        with suppress(BrokenPipeError, ConnectionResetError):
            while taken < 64 * MEBIBYTE:
                connection.send(part)
                taken += len(part)
    assert taken < 32 * MEBIBYTE


def test_a_body_in_broken_chunks_is_refused_and_harms_nobody(daemon: Daemon) -> None:
    refused(daemon, daemon.head("Transfer-Encoding: chunked") + b"2\r\n{}\r\n-1\r\n", 400)


def test_an_endless_body_in_chunks_is_cut_off_and_not_drained(daemon: Daemon) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    taken = 0
    with daemon.connected() as connection:
        connection.send(daemon.head("Transfer-Encoding: chunked"))
        with suppress(BrokenPipeError, ConnectionResetError):
            while taken < 256 * MEBIBYTE:
                connection.send(chunk)
                taken += len(chunk)
    assert taken < 32 * MEBIBYTE  # what was under way, in buffers


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("in_parts", [False, True])
def test_a_client_that_offers_another_protocol_is_answered_in_this_one(
    daemon: Daemon, era: str, in_parts: bool
) -> None:
    upgrade = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
    request = daemon.request(era, *upgrade)
    with daemon.connected() as connection:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for part in (request[:-9], request[-9:]) if in_parts else (request,):
            connection.send(part)
        answer = connection.read()
        assert answer.status == 200
        assert answer.headers["connection"] == "close"  # the parser reads nothing after it
        assert connection.rest() == b""


# One after the other


@pytest.mark.parametrize("era", ERAS)
def test_requests_one_after_the_other_share_a_connection(daemon: Daemon, era: str) -> None:
    with daemon.connected() as connection:
        for _ in range(3):
            connection.send(daemon.request(era))
            assert connection.read().status == 200


@pytest.mark.parametrize("era", ERAS)
def test_a_request_that_does_not_wait_for_the_answer_before_it_is_not_read(daemon: Daemon, era: str) -> None:
    with daemon.connected() as connection:
        connection.send(daemon.request(era) * 2)
        answer = connection.read()
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert connection.rest() == b""


def test_thousands_of_requests_in_one_packet_are_one(daemon: Daemon) -> None:
    before = daemon.memory()
    with ExitStack() as stack:
        connections = [stack.enter_context(daemon.connected()) for _ in range(50)]
        for connection in connections:
            with suppress(ConnectionResetError, BrokenPipeError):
                connection.send(b"GET / HTTP/1.1\r\n\r\n" * 14_000)
        for connection in connections:
            assert connection.rest().count(b"HTTP/1.1 ") <= 1
        assert daemon.memory() - before < 16 * MEBIBYTE


def test_the_smuggled_request_behind_a_refused_one_is_not_read(daemon: Daemon) -> None:
    smuggled = daemon.request(LEGACY)
    length = len(smuggled)
    for head in (
        daemon.head(f"Content-Length: {length}", "Transfer-Encoding: chunked"),
        daemon.head(f"Content-Length: {length}", without="Authorization"),
        daemon.head("Content-Length: 0", "Origin: http://evil.example"),
    ):
        with daemon.connected() as connection:
            connection.send(head + smuggled)
            assert connection.rest().count(b"\r\n\r\n") == 1


# One decoder


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": NaN}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": Infinity}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": 1e400}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": "\\ud800"}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "x", "id": 2}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": "\xff"}}',
        b'{"jsonrpc": "2.0", "id": 1, "method": "x", "params": {"a": ' + b"[" * 100 + b"]" * 100 + b"}}",
        b'{"a": 1} {"b": 2}',
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda body: repr(body)[:60],
)
def test_what_is_not_strict_json_has_one_answer_in_both_eras(daemon: Daemon, body: bytes) -> None:
    answers = []
    for era in ERAS:
        with daemon.connected() as connection:
            connection.send(daemon.request(era, body=body))
            answers.append(connection.read())
            connection.send(daemon.request(era))  # the connection is as good as before
            assert connection.read().status == 200
    first, second = answers
    assert first.status == second.status == 400
    assert first.error["code"] == -32700
    assert first.body == second.body


@pytest.mark.parametrize("body", [b"[]", b"17", b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]'])
def test_what_is_no_message_has_one_answer_in_both_eras(daemon: Daemon, body: bytes) -> None:
    first, second = (daemon.say(daemon.request(era, "Connection: close", body=body)) for era in ERAS)
    assert first.status == second.status == 400
    assert first.error["code"] == -32600
    assert first.body == second.body


# The slow


def test_a_head_that_does_not_end_is_not_waited_for(hasty: Daemon) -> None:
    with hasty.connected() as connection:
        connection.send(b"POST /mcp HTTP/1.1\r\nHost: ")
        assert connection.read().status == 408
        assert connection.rest() == b""
    assert hasty.is_well(LEGACY)


def test_a_client_that_says_nothing_is_cut_off_without_a_word(hasty: Daemon) -> None:
    with hasty.connected() as connection:
        assert connection.rest() == b""


def test_a_head_that_comes_byte_by_byte_takes_no_longer_than_any_other(hasty: Daemon) -> None:
    with hasty.connected() as connection:
        connection.socket.settimeout(0.05)
        head, started = iter(hasty.head()), time.monotonic()
        while time.monotonic() - started < DEADLINE_SECONDS:
            with suppress(TimeoutError, BrokenPipeError):
                connection.send(bytes([next(head)]))
                assert connection.socket.recv(100).startswith(b"HTTP/1.1 408 ")
                break
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("length", ["Content-Length: 100", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_come_is_not_waited_for(hasty: Daemon, era: str, length: str) -> None:
    with hasty.connected() as connection:
        connection.send(hasty.head(f"MCP-Protocol-Version: {era}", length))
        answer = connection.read()
        assert answer.status == 408
        assert "0.3 s" in answer.error["message"]
        assert connection.rest() == b""


def test_the_head_of_a_later_request_has_the_same_time(hasty: Daemon) -> None:
    for later in (b"POST /mcp HTTP/1.1\r\nHost:", b"\r\n"):
        with hasty.connected() as connection:
            connection.send(hasty.request(MODERN))
            assert connection.read().status == 200
            connection.send(later)
            assert connection.rest().startswith(b"HTTP/1.1 408 ")


def test_a_connection_between_two_requests_is_kept_for_longer_than_a_head_may_take(hasty: Daemon) -> None:
    with hasty.connected() as connection, hasty.connected() as mute:
        connection.send(hasty.request(MODERN))
        assert connection.read().status == 200
        assert mute.rest() == b""  # the time for a head is over
        connection.send(hasty.request(MODERN))
        assert connection.read().status == 200


# The many


def test_a_new_client_takes_the_place_of_the_oldest_that_said_nothing() -> None:
    with running(max_connections=8) as daemon, ExitStack() as stack:
        mute = [stack.enter_context(daemon.connected()) for _ in range(8)]
        assert daemon.is_well(LEGACY)
        mute[0].socket.settimeout(DEADLINE_SECONDS)
        assert mute[0].rest() == b""
        mute[7].send(daemon.request(MODERN))
        assert mute[7].read().status == 200


def open_stream(daemon: Daemon, stack: ExitStack, token: str | None = None) -> Connection:
    """Return a connection on which a stream stands."""
    shown = f"Authorization: Bearer {token or daemon.token}"
    with daemon.connected() as connection:
        connection.send(daemon.request(LEGACY, shown, without="Authorization"))
        session = connection.read().headers["mcp-session-id"]
    stream = stack.enter_context(daemon.connected())
    stream.send(daemon.head(f"Mcp-Session-Id: {session}", shown, method="GET", without="Authorization"))
    assert b"text/event-stream" in stream.read_head()
    return stream


def test_when_all_connections_are_in_use_a_new_one_is_closed_at_once() -> None:
    with running(max_connections=4) as daemon, ExitStack() as stack:
        for _ in range(3):
            open_stream(daemon, stack)
        last = stack.enter_context(daemon.connected())
        last.send(daemon.request(MODERN))
        assert last.read().status == 200
        with daemon.connected() as refused:
            assert refused.rest() == b""
        last.close()
        daemon.home.wait_until(lambda: _gets_in(daemon), what="a place that was given back")


def _gets_in(daemon: Daemon) -> bool:
    with daemon.connected() as connection, suppress(OSError, http.client.HTTPException):
        connection.send(daemon.request(MODERN))
        return connection.read().status == 200
    return False


def test_one_user_cannot_take_all_connections() -> None:
    with running(max_connections_per_user=3) as daemon, ExitStack() as stack:
        other = daemon.new_token("other", user="ada")
        idle = stack.enter_context(daemon.connected())
        idle.send(daemon.request(MODERN))
        assert idle.read().status == 200
        for _ in range(3):
            open_stream(daemon, stack)
        assert idle.rest() == b""  # it gave way

        answer = daemon.say(daemon.head("Mcp-Session-Id: any", method="GET"))
        assert answer.status == 429
        assert "3 connections" in answer.error["message"]
        assert (
            daemon.say(
                daemon.request(MODERN, f"Authorization: Bearer {other}", "Connection: close", without="Authorization")
            ).status
            == 200
        )


def test_streams_that_stand_keep_no_call_of_the_same_user_out() -> None:
    with running(max_connections_per_user=3) as daemon, ExitStack() as stack:
        first, *others = [open_stream(daemon, stack) for _ in range(3)]
        assert daemon.is_well(MODERN)
        first.rest()  # it has ended: the client opens it again
        for stream in others:
            stream.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                stream.socket.recv(1)


def test_a_body_that_does_not_come_keeps_no_client_of_the_same_user_out() -> None:
    with running(max_connections_per_user=3) as daemon, ExitStack() as stack:
        slow = [stack.enter_context(daemon.connected()) for _ in range(3)]
        for connection in slow:
            connection.send(daemon.head("Content-Length: 100", "Expect: 100-continue") + b"{")
            assert connection.read_head().startswith(b"HTTP/1.1 100 ")
        assert daemon.is_well(MODERN)
        answer = slow[0].read()
        assert answer.status == 503
        assert "send this again" in answer.error["message"]
        assert slow[0].rest() == b""
        assert slow[1].socket.send(b"}") == 1


@pytest.mark.parametrize("era", ERAS)
def test_one_user_cannot_send_too_many_requests(era: str) -> None:
    with running(requests_per_second=0.1, request_burst=3) as daemon:
        other = daemon.new_token("other", user="ada")
        with daemon.connected() as connection:
            for _ in range(3):
                connection.send(daemon.request(era))
                assert connection.read().status == 200
            connection.send(daemon.request(era))
            answer = connection.read()
            assert answer.status == 429
            assert 1 <= int(answer.headers["retry-after"]) <= 10
            assert "requests a second" in answer.error["message"]
            assert connection.rest() == b""
        assert (
            daemon.say(
                daemon.request(era, f"Authorization: Bearer {other}", "Connection: close", without="Authorization")
            ).status
            == 200
        )


@pytest.mark.parametrize("is_known", [True, False])
def test_slow_clients_with_nearly_whole_bodies_take_little_memory(is_known: bool) -> None:
    with running(body_seconds=5) as daemon, ExitStack() as stack:
        for era in ERAS:
            assert daemon.is_well(era)
        before = daemon.memory()
        part = b" " * (MAX_BODY_BYTES - 1)
        head = daemon.head(f"Content-Length: {MAX_BODY_BYTES}", without="" if is_known else "Authorization")
        slow = [stack.enter_context(daemon.connected()) for _ in range(150)]
        for connection in slow:
            connection.socket.settimeout(0.05)
            with suppress(TimeoutError, ConnectionResetError, BrokenPipeError):
                connection.send(head + part)
        assert daemon.is_well(MODERN)
        during = daemon.memory()
        for connection in slow:
            connection.socket.settimeout(DEADLINE_SECONDS)
            connection.rest()
        assert during - before < 64 * MEBIBYTE
        assert daemon.memory() - before < 32 * MEBIBYTE


def test_a_full_descriptor_table_is_survived_and_hardly_logged() -> None:
    with running() as daemon:
        used = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        log = len(daemon.home.log)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (used + 2, 4096))
        with ExitStack() as stack:
            waiting = [stack.enter_context(daemon.connected()) for _ in range(50)]
            waiting[0].send(daemon.request(MODERN))
            waiting[0].socket.settimeout(2)
            with suppress(TimeoutError):
                waiting[0].read()
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (4096, 4096))
        daemon.home.wait_until(lambda: _gets_in(daemon), what="a daemon that serves again")
        assert len(daemon.home.log) - log < 4096


# Sandboxes


@pytest.mark.parametrize("era", ERAS)
def test_sessions_of_two_sandboxes_never_meet(daemon: Daemon, era: str) -> None:
    here = daemon.new_token(f"here-{era}", sandbox=f"one-{era}")
    there = daemon.new_token(f"there-{era}", sandbox=f"two-{era}")
    place = daemon.home.directory(f"place-{era}")

    opened = call(daemon, era, here, "set_working_directory", directory=str(place))
    session = opened["session_id"]
    assert opened["working_directory"] == str(place)
    assert call(daemon, era, here, "get_working_directory", session_id=session)["working_directory"] == str(place)
    for stranger in (there, daemon.token):
        said = call(daemon, era, stranger, "get_working_directory", session_id=session)
        assert said["code"] == "unknown_session"
        assert str(place) not in json.dumps(said)


def call(daemon: Daemon, era: str, token: str, tool: str, **arguments: str) -> dict[str, Any]:
    """Call a tool over HTTP and return its structured content, or an error's code and text."""
    shown = f"Authorization: Bearer {token}"
    params: dict[str, Any] = {"name": tool, "arguments": arguments}
    more = [shown]
    if era == MODERN:
        params["_meta"] = MODERN_META
        more += ["Mcp-Method: tools/call", f"Mcp-Name: {tool}"]
    with daemon.connected() as connection:
        if era == LEGACY:
            connection.send(daemon.request(LEGACY, shown, without="Authorization"))
            more += [f"Mcp-Session-Id: {connection.read().headers['mcp-session-id']}"]
        message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params}
        body = json.dumps(message).encode()
        if era == MODERN:
            more += [f"MCP-Protocol-Version: {MODERN}"]
        connection.send(daemon.head(*more, f"Content-Length: {len(body)}", without="Authorization") + body)
        answer = connection.read()
    assert answer.status == 200
    text = answer.body.decode()
    data = next((line[6:] for line in text.splitlines() if line.startswith("data: {")), text)
    result: dict[str, Any] = json.loads(data)["result"]
    if result.get("isError"):
        error: dict[str, Any] = result["_meta"]["workroot/error"]
        return error
    content: dict[str, Any] = result["structuredContent"]
    return content


# Pages


@pytest.mark.parametrize("page", ["/healthz", "/readyz"])
def test_whether_it_is_well_can_be_asked_without_a_token(daemon: Daemon, page: str) -> None:
    with daemon.connected() as connection:
        for method in ("HEAD", "GET"):
            connection.send(daemon.head(method=method, target=page, without="Authorization"))
            answer = connection.read(method)
            assert answer.status == 200
            assert answer.headers["cache-control"] == "no-store"
            assert bool(answer.body) == (method == "GET")
    refused(daemon, daemon.head("Origin: http://evil.example", method="GET", target=page, without="Authorization"), 403)
    refused(daemon, daemon.head("Content-Length: 5", method="GET", target=page), 400)
    refused(daemon, daemon.head(method="GET", target="/metrics", without="Authorization"), 401)


# The end


def test_an_end_completes_streams_and_waits_for_no_slow_body() -> None:
    with running() as daemon, ExitStack() as stack:
        standing = open_stream(daemon, stack)
        params = {"notifications": {"toolsListChanged": True}, "_meta": MODERN_META}
        body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "subscriptions/listen", "params": params}).encode()
        more = (f"MCP-Protocol-Version: {MODERN}", "Mcp-Method: subscriptions/listen", f"Content-Length: {len(body)}")
        listening = stack.enter_context(daemon.connected())
        listening.send(daemon.head(*more) + body)
        assert b"text/event-stream" in listening.read_head()
        slow = stack.enter_context(daemon.connected())
        slow.send(daemon.head("Content-Length: 100", "Expect: 100-continue") + b"{")
        assert slow.read_head().startswith(b"HTTP/1.1 100 ")

        started = time.monotonic()
        daemon.home.ask("stop")
        assert slow.read().status == 503
        assert standing.rest().endswith(b"0\r\n\r\n")  # a whole response, not a broken connection
        said = listening.rest()
        assert said.endswith(b"0\r\n\r\n")
        results = [
            json.loads(line[6:]) for line in said.split(b"\r\n") if line.startswith(b'data: {"') and b"result" in line
        ]
        assert [result["id"] for result in results if "result" in result] == [7]
        daemon.home.started[0].wait(5)
        assert time.monotonic() - started < 3  # nothing was in flight, so nothing is drained
