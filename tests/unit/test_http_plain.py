from __future__ import annotations

from typing import Any

import pytest

from workroot.transports.http_bodies import MESSAGE_KEY
from workroot.transports.http_plain import plain_call_of
from workroot.transports.plain_call import compact

CALL: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "t"}}
ACCEPT = (b"accept", b"application/json, text/event-stream")


async def receive() -> dict[str, Any]:
    raise AssertionError("a plain call's body is not read again")


def is_plain(message: dict[str, Any], *headers: tuple[bytes, bytes], method: str = "POST") -> bool:
    scope: dict[str, Any] = {"type": "http", "method": method, "headers": list(headers), MESSAGE_KEY: message}
    return plain_call_of(scope, receive) is not None


def test_a_tool_call_that_accepts_both_kinds_of_answers_is_plain() -> None:
    assert is_plain(CALL, ACCEPT, (b"mcp-method", b"tools/call"), (b"mcp-name", b"t"))
    assert is_plain({**CALL, "id": "one"}, (b"accept", b"*/*"))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "tools/list"},
        {"method": "subscriptions/listen"},
        {"jsonrpc": "1.0"},
        {"id": None},
        {"id": True},
        {"id": 1.5},
        {"params": None},
        {"params": []},
        {"result": {}},
    ],
)
def test_what_the_sdk_might_refuse_or_answer_otherwise_is_left_to_it(change: dict[str, Any]) -> None:
    assert not is_plain({**CALL, **change}, ACCEPT)


@pytest.mark.parametrize("accept", [b"application/json", b"text/event-stream", b"application/*;q=0.5, text/*", b""])
def test_what_a_client_accepts_is_read_by_the_sdk_unless_it_is_what_clients_send(accept: bytes) -> None:
    assert not is_plain(CALL, (b"accept", accept))


def test_headers_that_would_have_to_be_compared_are_left_to_the_sdk() -> None:
    assert not is_plain(CALL, ACCEPT, (b"mcp-param-directory", b"/elsewhere"))
    assert not is_plain(CALL, ACCEPT, (b"mcp-name", b"t"), (b"mcp-name", b"u"))


def test_a_notification_and_another_method_of_http_are_no_calls() -> None:
    assert not is_plain({key: value for key, value in CALL.items() if key != "id"}, ACCEPT)
    assert not is_plain(CALL, ACCEPT, method="GET")


def test_text_is_written_as_it_is_and_half_a_surrogate_pair_escaped() -> None:
    assert compact({"a": "ü"}) == '{"a":"ü"}'.encode()
    assert compact({"a": "\udcff"}) == b'{"a":"\\udcff"}'
