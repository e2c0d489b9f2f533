from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workroot.connector.lines import LongLine
from workroot.connector.messages import error_line, read_long_line, read_message


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"garbage\n",
        b"{\n",
        b"[]\n",
        b"7\n",
        b"\xff\xfe\n",
        b'[{"id": 1, "method": "a"}]\n',
        b"[" * 100_000 + b"\n",
        b'{"id": ' + b"9" * 5000 + b', "method": "a"}\n',
    ],
    ids=lambda line: line[:12],
)
def test_what_cannot_be_read_has_neither_method_nor_id(line: bytes) -> None:
    message = read_message(line)
    assert (message.line, message.method, message.key, message.is_response) == (line, None, None, False)


@given(st.binary())
def test_any_bytes_can_be_read(line: bytes) -> None:
    assert read_message(line).line == line


def test_the_number_1_and_the_string_1_are_different_ids() -> None:
    assert read_message(b'{"id": 1}').key != read_message(b'{"id": "1"}').key


@pytest.mark.parametrize("request_id", ["true", "null", "[]", "{}", "1.5"])
def test_what_the_protocol_does_not_allow_as_an_id_is_none(request_id: str) -> None:
    assert read_message(f'{{"method": "a", "id": {request_id}}}'.encode()).key is None


def test_a_response_is_told_from_a_request() -> None:
    assert read_message(b'{"id": 1, "result": {}}').succeeded
    assert read_message(b'{"id": 1, "error": {}}').is_response
    assert not read_message(b'{"id": 1, "error": {}}').succeeded
    assert not read_message(b'{"id": 1, "method": "result"}').is_response


def test_a_cancellation_names_what_it_cancels() -> None:
    line = b'{"method": "notifications/cancelled", "params": {"requestId": 7}}'
    assert read_message(line).cancels == read_message(b'{"id": 7}').key
    assert read_message(b'{"method": "notifications/other", "params": {"requestId": 7}}').cancels is None
    assert read_message(b'{"method": "notifications/cancelled", "params": [7]}').cancels is None


@pytest.mark.parametrize("request_id", [7, "seven", -1, 'quo"te\\', "\u00e9"])
def test_the_id_of_a_long_request_is_found_wherever_a_client_puts_it(request_id: int | str) -> None:
    params = {"id": "not this one", "text": "x" * 5000 + ',"id":3}', "list": [{"id": 4}]}
    for fields in (
        {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params},
        {"method": "tools/call", "params": params, "jsonrpc": "2.0", "id": request_id},
    ):
        for separators in ((",", ":"), (", ", ": "), (" ,\t", " : ")):
            line = json.dumps(fields, separators=separators).encode()
            assert read_long_line(LongLine(line[:4096], line[-512:], len(line))).request_id == request_id


def test_an_id_inside_the_parameters_is_not_taken_for_the_request_s() -> None:
    line = json.dumps({"method": "tools/call", "params": {"text": "x" * 5000, "id": 3}}).encode()
    assert read_long_line(LongLine(line[:4096], line[-512:], len(line))).request_id is None
    line = json.dumps({"method": "tools/call", "params": {"id": 3, "text": "x" * 5000}, "id": [1]}).encode()
    assert read_long_line(LongLine(line[:4096], line[-512:], len(line))).key is None


def test_a_number_that_is_cut_off_is_not_taken_for_an_id() -> None:
    line = b'{"jsonrpc": "2.0", "id": 1234567}'
    cut = line.index(b"567")
    assert read_long_line(LongLine(line[:cut], b"no end", len(line))).request_id is None


def test_a_long_response_is_recognised_though_its_result_is_cut_off() -> None:
    line = json.dumps({"result": {"text": "x" * 5000}, "jsonrpc": "2.0", "id": 3}).encode()
    message = read_long_line(LongLine(line[:4096], line[-512:], len(line)))
    assert message.is_response
    assert message.request_id == 3


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_ends_of_a_long_line_can_be_read(head: bytes, tail: bytes) -> None:
    read_long_line(LongLine(b"{" + head, tail + b"}", 1 << 21))


def test_an_error_is_one_line_that_tells_whether_to_retry() -> None:
    line = error_line("a\nb\udcff", -32603, "what\nhappened", retry=True)
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "jsonrpc": "2.0",
        "id": "a\nb\udcff",
        "error": {"code": -32603, "message": "what\nhappened", "data": {"retry": True}},
    }
    assert "data" not in json.loads(error_line(1, -32600, "no"))["error"]


def test_an_error_for_no_usable_id_has_the_id_null() -> None:
    assert json.loads(error_line([1], -32600, "no"))["id"] is None
