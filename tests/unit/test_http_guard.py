from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import unquote

import anyio
import pytest
from starlette.types import Message, Receive, Scope, Send

from workroot.core.sessions import Owner
from workroot.counters import Counters
from workroot.errors import TokenError
from workroot.limits import DEFAULT_LIMITS, Limits
from workroot.logs.loop_errors import Seldom
from workroot.transports import http_bodies, message_room
from workroot.transports.http_guard import MAX_BODY_BYTES, OWNER_KEY, HttpGuard, Page
from workroot.transports.http_in_flight import HttpInFlight
from workroot.transports.http_refusal import Refusal, RefusalLog

ADA = Owner("user:ada")
GOOD = {
    "host": "127.0.0.1:7668",
    "authorization": "Bearer good",
    "content-type": "application/json",
}
Headers = list[tuple[bytes, bytes]]


@dataclass
class Application:
    """Takes what the guard lets through, and says so."""

    scope: Scope | None = None
    body: bytes = b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        self.scope, self.body = scope, message["body"]
        assert not message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"let in"})


@dataclass
class Outcome:
    app: Application
    sent: list[Message] = field(default_factory=list)
    received: int = 0
    counters: Counters = field(default_factory=Counters)

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def body(self) -> bytes:
        body: bytes = self.sent[1]["body"]
        return body

    @property
    def message(self) -> str:
        message: str = json.loads(self.body)["error"]["message"]
        return message


def owner_of(token: str) -> Owner | None:
    if token == "broken":
        raise TokenError("/home/ada/tokens.json cannot be understood")
    return ADA if token == "good" else None


def raw(headers: dict[str, str]) -> Headers:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


async def ask(
    headers: Headers,
    *,
    method: str = "POST",
    path: bytes = b"/mcp",
    chunks: tuple[bytes, ...] = (b"{}",),
    hangs_up: bool = False,
    belongs_to: Callable[[Scope, Owner], bool] = lambda scope, owner: True,
    log: RefusalLog | None = None,
) -> Outcome:
    outcome = Outcome(Application())
    last = {"type": "http.disconnect"} if hangs_up else {"type": "http.request", "body": b"", "more_body": False}
    messages: list[Message] = [*({"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks), last]

    async def receive() -> Message:
        outcome.received += 1
        return messages.pop(0)

    async def send(message: Message) -> None:
        outcome.sent.append(message)

    scope = {"type": "http", "method": method, "path": unquote(path.decode()), "raw_path": path, "headers": headers}
    guard = HttpGuard(
        outcome.app,
        port=7668,
        owner_of=owner_of,
        belongs_to=belongs_to,
        pages=PAGES,
        counters=outcome.counters,
        log=log,
    )
    await guard(scope, receive, send)
    return outcome


async def healthy() -> tuple[int, str, bytes]:
    return 200, "text/plain", b"ok"


PAGES = {"/healthz": Page(answer=healthy, needs_token=False), "/metrics": Page(answer=healthy)}


@pytest.mark.parametrize("host", ["127.0.0.1:7668", "localhost:7668"])
@pytest.mark.parametrize(
    "more",
    [
        {},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin"},
        {"content-type": "Application/JSON; charset=utf-8"},
        {"authorization": "bearer  good "},
    ],
)
async def test_a_request_in_order_is_let_in_for_the_tokens_owner(host: str, more: dict[str, str]) -> None:
    outcome = await ask(raw(GOOD | {"host": host} | more), chunks=(b'{"a', b'":1}'))

    assert outcome.status == 200
    assert outcome.app.scope is not None
    assert outcome.app.scope[OWNER_KEY] == ADA
    assert outcome.app.body == b'{"a":1}'


async def test_our_own_origin_is_let_in() -> None:
    assert (await ask(raw(GOOD | {"origin": "http://127.0.0.1:7668"}))).status == 200


REFUSED: dict[str, tuple[int, Headers]] = {
    "no host": (421, raw({name: value for name, value in GOOD.items() if name != "host"})),
    "evil host": (421, raw(GOOD | {"host": "evil.example"})),
    "evil host with our port": (421, raw(GOOD | {"host": "evil.example:7668"})),
    "host without port": (421, raw(GOOD | {"host": "127.0.0.1"})),
    "host with another port": (421, raw(GOOD | {"host": "localhost:80"})),
    "host with a longer port": (421, raw(GOOD | {"host": "127.0.0.1:76680"})),
    "host that begins like ours": (421, raw(GOOD | {"host": "127.0.0.1:7668.evil.example"})),
    "host with userinfo": (421, raw(GOOD | {"host": "127.0.0.1:7668@evil.example"})),
    "host of all interfaces": (421, raw(GOOD | {"host": "0.0.0.0:7668"})),
    "host with a space": (421, raw(GOOD | {"host": "127.0.0.1:7668 "})),
    "host twice": (400, [*raw(GOOD), (b"host", b"127.0.0.1:7668")]),
    "evil origin": (403, raw(GOOD | {"origin": "http://evil.example"})),
    "null origin": (403, raw(GOOD | {"origin": "null"})),
    "empty origin": (403, raw(GOOD | {"origin": ""})),
    "origin of another local port": (403, raw(GOOD | {"origin": "http://127.0.0.1:3000"})),
    "origin of our other name": (403, raw(GOOD | {"origin": "http://localhost:7668"})),
    "origin over https": (403, raw(GOOD | {"origin": "https://127.0.0.1:7668"})),
    "origin that begins like ours": (403, raw(GOOD | {"origin": "http://127.0.0.1:7668.evil.example"})),
    "origin twice, good first": (
        400,
        [*raw(GOOD | {"origin": "http://127.0.0.1:7668"}), (b"origin", b"http://evil.example")],
    ),
    "cross-site": (403, raw(GOOD | {"sec-fetch-site": "cross-site"})),
    "same-site": (403, raw(GOOD | {"sec-fetch-site": "same-site"})),
    "no token": (401, raw({name: value for name, value in GOOD.items() if name != "authorization"})),
    "empty token": (401, raw(GOOD | {"authorization": "Bearer "})),
    "wrong token": (401, raw(GOOD | {"authorization": "Bearer bad"})),
    "token without scheme": (401, raw(GOOD | {"authorization": "good"})),
    "token as a password": (401, raw(GOOD | {"authorization": "Basic good"})),
    "token twice": (400, [*raw(GOOD), (b"authorization", b"Bearer good")]),
    "unusable token file": (503, raw(GOOD | {"authorization": "Bearer broken"})),
    "compressed": (415, raw(GOOD | {"content-encoding": "gzip"})),
    "compressed in transfer": (400, raw(GOOD | {"transfer-encoding": "gzip, chunked"})),
    "form": (415, raw(GOOD | {"content-type": "text/plain"})),
    "no content type": (415, raw({name: value for name, value in GOOD.items() if name != "content-type"})),
    "too long": (413, raw(GOOD | {"content-length": str(MAX_BODY_BYTES + 1)})),
    "length that is endless": (413, raw(GOOD | {"content-length": "9" * 5000})),
    "length that is no number": (413, raw(GOOD | {"content-length": "-1"})),
    "session twice": (400, [*raw(GOOD), (b"mcp-session-id", b"a"), (b"mcp-session-id", b"b")]),
    "version twice": (400, [*raw(GOOD), (b"mcp-protocol-version", b"a"), (b"mcp-protocol-version", b"b")]),
}


KINDS = {421: "http_origin", 403: "http_origin", 401: "http_token", 503: "http_token"}
"""What a refusal is counted as, if not as `http_head`."""


@pytest.mark.parametrize(("status", "headers"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.row("X4", "B21")
async def test_anything_else_is_refused_before_its_body_is_read(status: int, headers: Headers) -> None:
    outcome = await ask(headers)

    assert outcome.status == status
    assert outcome.received == 0
    assert outcome.app.scope is None
    assert outcome.headers[b"connection"] == b"close"
    assert outcome.message
    assert "evil" not in outcome.message
    assert outcome.counters.counts() == {KINDS.get(status, "http_head"): 1}
    assert "/home/ada" not in outcome.message
    assert not any(name.startswith(b"access-control-") for name in outcome.headers)


async def test_a_refusal_for_want_of_a_token_says_how_to_send_and_make_one() -> None:
    outcome = await ask(REFUSED["no token"][1])

    assert outcome.headers[b"www-authenticate"] == b"Bearer"
    assert "workroot token create" in outcome.message


@pytest.mark.parametrize(
    "path", [b"/", b"/mcp/", b"//mcp", b"/MCP", b"/%6dcp", b"/mcp/x", b"/sse", b"/.well-known/oauth-protected-resource"]
)
async def test_no_other_path_exists(path: bytes) -> None:
    outcome = await ask(raw(GOOD), path=path)

    assert outcome.status == 404
    assert b"location" not in outcome.headers
    assert outcome.app.scope is None


async def test_an_evil_host_learns_no_path() -> None:
    assert (await ask(raw(GOOD | {"host": "evil.example"}), path=b"/mcp/")).status == 421


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_the_methods_without_a_body_need_no_content_type(method: str) -> None:
    headers = raw({name: value for name, value in GOOD.items() if name != "content-type"})
    assert (await ask(headers, method=method, chunks=())).status == 200


@pytest.mark.parametrize("method", ["OPTIONS", "PUT", "PATCH", "HEAD", "CONNECT", "TRACE"])
async def test_other_methods_are_told_which_there_are(method: str) -> None:
    outcome = await ask(raw(GOOD), method=method)

    assert outcome.status == 405
    assert outcome.headers[b"allow"] == b"GET, POST, DELETE"


async def test_a_body_of_exactly_the_limit_is_let_in() -> None:
    body = json.dumps({"x": "x" * (MAX_BODY_BYTES - 9)}).encode()
    assert len(body) == MAX_BODY_BYTES
    middle = MAX_BODY_BYTES // 2
    assert (await ask(raw(GOOD), chunks=(body[:middle], body[middle:]))).app.body == body


async def test_a_body_that_grows_too_long_is_read_no_further() -> None:
    half = b"x" * (MAX_BODY_BYTES // 2)
    outcome = await ask(raw(GOOD), chunks=(half, half, b"x", half, half))

    assert outcome.status == 413
    assert outcome.headers[b"connection"] == b"close"
    assert outcome.received == 3
    assert outcome.app.scope is None


async def test_half_a_body_reaches_nobody() -> None:
    outcome = await ask(raw(GOOD), chunks=(b'{"half":',), hangs_up=True)

    assert outcome.sent == []
    assert outcome.app.scope is None


@pytest.mark.parametrize(
    "body", [b"", b"{", b'{"a": NaN}', b'{"a": 1, "a": 2}', b'"\\ud800"', b"\xff", b"[" * 65 + b"]" * 65]
)
async def test_a_body_that_is_not_strict_json_is_refused_and_the_connection_kept(body: bytes) -> None:
    outcome = await ask(raw(GOOD), chunks=(body,))

    assert outcome.status == 400
    error = json.loads(outcome.body)
    assert error == {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": outcome.message}}
    assert outcome.message.startswith("this is not strict JSON: ")
    assert b"connection" not in outcome.headers
    assert outcome.app.scope is None
    assert outcome.counters.counts() == {"invalid_json": 1}


@pytest.mark.parametrize("body", [b"[]", b"1", b"null", b'"x"', b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]'])
async def test_json_that_is_no_message_is_refused_and_the_connection_kept(body: bytes) -> None:
    outcome = await ask(raw(GOOD), chunks=(body,))

    assert outcome.status == 400
    assert json.loads(outcome.body)["error"]["code"] == -32600
    assert b"connection" not in outcome.headers
    assert outcome.app.scope is None


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    class Never:
        async def __call__(self) -> Message:
            await anyio.sleep_forever()
            raise AssertionError

    outcome = Outcome(Application())
    guard = HttpGuard(
        outcome.app, port=7668, owner_of=owner_of, counters=outcome.counters, limits=Limits(body_seconds=0.01)
    )

    async def send(message: Message) -> None:
        outcome.sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/mcp", "raw_path": b"/mcp", "headers": raw(GOOD)}
    with anyio.fail_after(5):
        await guard(scope, Never(), send)
    assert outcome.status == 408
    assert outcome.headers[b"connection"] == b"close"
    assert outcome.counters.counts() == {"http_slow": 1}


async def test_long_bodies_share_one_room_and_short_ones_always_find_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_room, "OWN_BYTES", 10)
    bodies = http_bodies.HttpBodies(DEFAULT_LIMITS, Counters(), arriving=message_room.MessageRoom(100))
    waiting, go_on = anyio.Event(), anyio.Event()

    def receiving(first: bytes, *, waits: bool) -> Receive:
        messages: list[Message] = [{"type": "http.request", "body": first, "more_body": True}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            if waits:
                waiting.set()
                await go_on.wait()
            return {"type": "http.request", "body": b"x", "more_body": False}

        return receive

    async def read(size: int, *, waits: bool = False) -> int | None:
        """Return the length of what was read, or None if it was refused."""
        async with bodies.read(receiving(b"x" * (size - 1), waits=waits), is_message=False) as found:
            return len(found) if isinstance(found, bytes) else None

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(read, 90, waits=True))
            await waiting.wait()
            assert await read(11) == 11
            assert await read(31) == 31
            assert await read(33) is None
            go_on.set()
        assert await read(100) == 100  # the room is given back


async def test_who_sends_too_many_requests_is_told_when_to_go_on() -> None:
    now, outcome = 0.0, Outcome(Application())
    guard = HttpGuard(
        outcome.app,
        port=7668,
        owner_of=owner_of,
        counters=outcome.counters,
        limits=Limits(requests_per_second=0.5, request_burst=2),
        clock=lambda: now,
    )

    async def status() -> int:
        async def receive() -> Message:
            return {"type": "http.request", "body": b"{}", "more_body": False}

        async def send(message: Message) -> None:
            outcome.sent.append(message)

        outcome.sent.clear()
        scope = {"type": "http", "method": "POST", "path": "/mcp", "raw_path": b"/mcp", "headers": raw(GOOD)}
        await guard(scope, receive, send)
        return outcome.status

    assert [await status() for _ in range(3)] == [200, 200, 429]
    assert outcome.headers[b"retry-after"] == b"2"
    assert "0.5 requests a second" in outcome.message
    assert outcome.counters.counts() == {"rate_limit": 1}
    now = 2
    assert [await status() for _ in range(2)] == [200, 429]


async def test_a_user_with_too_many_connections_is_told_so() -> None:
    asked: list[Owner] = []

    def belongs_to(_: Scope, owner: Owner) -> bool:
        asked.append(owner)
        return False

    outcome = await ask(raw(GOOD), belongs_to=belongs_to)
    assert asked == [ADA]
    assert outcome.status == 429
    assert outcome.received == 0
    assert "256 connections" in outcome.message


# What the log says


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]


async def test_each_reason_of_a_refusal_is_logged_at_once_and_then_every_ten_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    log = RefusalLog(Seldom(clock=lambda: now))
    wrong_token, wrong_host = REFUSED["wrong token"][1], REFUSED["evil host"][1]

    for headers in (wrong_token, wrong_token, wrong_host, wrong_token):
        await ask(headers, log=log)
    assert [line.partition(":")[0] for line in told(caplog)] == [
        "refused an HTTP request with 401",
        "refused an HTTP request with 421",
    ]
    now = 10.0
    await ask(wrong_token, log=log)
    assert "Authorization: Bearer TOKEN" in told(caplog)[-1]
    assert told(caplog)[-1].endswith("; 2 more since the last such line")


async def test_bodies_that_are_broken_in_many_ways_are_one_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    log = RefusalLog(Seldom(clock=lambda: 0.0))
    for body in (b"{", b'{"a": NaN}', b'{"a": 1, "a": 2}'):
        await ask(raw(GOOD), chunks=(body,), log=log)

    (line,) = told(caplog)
    assert line.startswith("refused an HTTP request with 400: this is not strict JSON: ")


@pytest.mark.parametrize("name", REFUSED)
async def test_nothing_that_was_sent_is_in_the_log(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    secret = "wrt_secret"
    headers = [(key, value.replace(b"bad", secret.encode())) for key, value in REFUSED[name][1]]
    await ask([*headers, (b"x-other", secret.encode())])

    assert any(line.startswith("refused an HTTP request with ") for line in told(caplog))
    assert not any(secret in line or "evil" in line for line in told(caplog))


# Streams


async def streamed(
    owner_of: Callable[[str], Owner | None], *, content_type: bytes = b"text/event-stream", ends: bool = False
) -> list[Message]:
    """Return what goes out of a response of three parts, the last of which *ends* it or is followed by silence."""
    sent: list[Message] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
        for part in (b"one", b"two", b"three"):
            await send({"type": "http.response.body", "body": part, "more_body": not (ends and part == b"three")})
        if not ends:
            assert await receive() == {"type": "http.disconnect"}

    async def receive() -> Message:
        if receive_once:
            return receive_once.pop()
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    receive_once: list[Message] = [{"type": "http.request", "body": b"{}", "more_body": False}]
    in_flight = HttpInFlight(HttpGuard(app, port=7668, owner_of=owner_of))
    scope = {"type": "http", "method": "POST", "path": "/mcp", "raw_path": b"/mcp", "headers": raw(GOOD)}
    with anyio.fail_after(5):
        await in_flight(scope, receive, send)
    return sent


def until_asked(times: int, answer: Owner | Exception | None) -> Callable[[str], Owner | None]:
    """Return an `owner_of` that answers as ever for so many times, and then gives *answer*."""
    asked = 0

    def changing(token: str) -> Owner | None:
        nonlocal asked
        asked += 1
        if asked <= times:
            return owner_of(token)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return changing


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("answer", [None, Owner("user:bob"), TokenError("the file is gone")])
async def test_a_stream_is_completed_in_place_of_its_next_event_once_its_token_is_not_its_owners(
    answer: Owner | Exception | None, ends: bool
) -> None:
    sent = await streamed(until_asked(2, answer), ends=ends)

    assert [message.get("body") for message in sent] == [None, b"one", b""]
    assert not sent[-1].get("more_body", False)


async def test_a_stream_that_ended_does_not_go_on_when_its_token_is_back() -> None:
    answers = [ADA, ADA, None]  # at the head, the first event and the second
    sent = await streamed(lambda _: answers.pop(0) if answers else ADA, ends=True)
    assert [message.get("body") for message in sent] == [None, b"one", b""]


async def test_a_stream_whose_token_stays_is_sent_whole() -> None:
    assert [message.get("body") for message in await streamed(owner_of, ends=True)] == [None, b"one", b"two", b"three"]


async def test_an_answer_that_is_no_stream_is_sent_whole_whatever_becomes_of_its_token() -> None:
    sent = await streamed(until_asked(1, None), content_type=b"application/json", ends=True)
    assert [message.get("body") for message in sent] == [None, b"one", b"two", b"three"]


# Pages


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_page_is_shown_to_everybody_on_this_machine_if_it_needs_no_token(method: str) -> None:
    outcome = await ask([(b"host", b"127.0.0.1:7668")], method=method, path=b"/healthz")

    assert (outcome.status, outcome.body) == (200, b"ok")
    assert outcome.headers[b"cache-control"] == b"no-store"
    assert outcome.headers[b"content-type"] == b"text/plain"
    assert outcome.received == 0
    assert outcome.app.scope is None


@pytest.mark.parametrize(
    ("status", "changed"),
    [
        (421, {"host": "evil.example"}),
        (403, {"origin": "http://evil.example"}),
        (403, {"sec-fetch-site": "cross-site"}),
        (400, {"content-length": "5"}),
        (400, {"transfer-encoding": "chunked"}),
    ],
)
@pytest.mark.parametrize("path", [b"/healthz", b"/metrics"])
async def test_a_page_is_no_way_around_the_other_checks(path: bytes, status: int, changed: dict[str, str]) -> None:
    outcome = await ask(raw(GOOD | changed), method="GET", path=path)
    assert outcome.status == status
    assert outcome.received == 0


async def test_a_page_that_needs_a_token_is_shown_for_one() -> None:
    assert (await ask([(b"host", b"127.0.0.1:7668")], method="GET", path=b"/metrics")).status == 401
    assert (await ask(raw(GOOD), method="GET", path=b"/metrics")).status == 200


@pytest.mark.parametrize("method", ["POST", "DELETE", "OPTIONS"])
async def test_a_page_is_only_looked_at(method: str) -> None:
    outcome = await ask(raw(GOOD), method=method, path=b"/healthz")
    assert outcome.status == 405
    assert outcome.headers[b"allow"] == b"GET, HEAD"


@pytest.mark.parametrize("path", [b"/healthz/", b"/%68ealthz", b"//healthz"])
async def test_a_page_has_one_spelling(path: bytes) -> None:
    assert (await ask(raw(GOOD), method="GET", path=path)).status == 404


async def test_a_heavy_message_waits_for_room_only_so_long() -> None:
    room, counters = message_room.MessageRoom(100, seconds=0.01), Counters()
    bodies = http_bodies.HttpBodies(DEFAULT_LIMITS, counters, arrived=room)
    heavy = b'{"a":[' + b"0," * 1000 + b"0]}"

    async def receive() -> Message:
        return {"type": "http.request", "body": heavy, "more_body": False}

    with room.share() as others, anyio.fail_after(5):
        others.hold(message_room.OWN_BYTES + 100)
        async with bodies.read(receive, is_message=True) as found:
            assert isinstance(found, Refusal)
            assert found.status == 503
        others.hold(0)
        async with bodies.read(receive, is_message=True) as found:
            assert found == heavy

    assert counters.counts() == {"http_slow": 1}
