from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from starlette.types import Message, Receive, Scope, Send

from workroot.core.sessions import Owner
from workroot.errors import TokenError
from workroot.transports.http_guard import MAX_BODY_BYTES, OWNER_KEY, HttpGuard

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

    @property
    def status(self) -> int:
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    @property
    def message(self) -> str:
        message: str = json.loads(self.sent[1]["body"])["error"]["message"]
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
) -> Outcome:
    outcome = Outcome(Application())
    last = {"type": "http.disconnect"} if hangs_up else {"type": "http.request", "body": b"", "more_body": False}
    messages: list[Message] = [*({"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks), last]

    async def receive() -> Message:
        outcome.received += 1
        return messages.pop(0)

    async def send(message: Message) -> None:
        outcome.sent.append(message)

    scope = {"type": "http", "method": method, "path": path.decode(), "raw_path": path, "headers": headers}
    await HttpGuard(outcome.app, port=7668, owner_of=owner_of)(scope, receive, send)
    return outcome


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
    "form": (415, raw(GOOD | {"content-type": "text/plain"})),
    "no content type": (415, raw({name: value for name, value in GOOD.items() if name != "content-type"})),
    "too long": (413, raw(GOOD | {"content-length": str(MAX_BODY_BYTES + 1)})),
    "length that is endless": (413, raw(GOOD | {"content-length": "9" * 5000})),
    "length that is no number": (413, raw(GOOD | {"content-length": "-1"})),
    "session twice": (400, [*raw(GOOD), (b"mcp-session-id", b"a"), (b"mcp-session-id", b"b")]),
    "version twice": (400, [*raw(GOOD), (b"mcp-protocol-version", b"a"), (b"mcp-protocol-version", b"b")]),
}


@pytest.mark.parametrize(("status", "headers"), REFUSED.values(), ids=REFUSED.keys())
async def test_anything_else_is_refused_before_its_body_is_read(status: int, headers: Headers) -> None:
    outcome = await ask(headers)

    assert outcome.status == status
    assert outcome.received == 0
    assert outcome.app.scope is None
    assert outcome.headers[b"connection"] == b"close"
    assert outcome.message
    assert "evil" not in outcome.message
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
    half = b"x" * (MAX_BODY_BYTES // 2)
    assert (await ask(raw(GOOD), chunks=(half, half))).app.body == half + half


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
