from __future__ import annotations

import json

import pytest

from workroot.connector.conversation import MAX_WAITING_BYTES, MAX_WAITING_LINES, Conversation, ReplayRefusedError
from workroot.connector.lines import LongLine


def line_of(**fields: object) -> bytes:
    return json.dumps({"jsonrpc": "2.0", **fields}).encode() + b"\n"


def call(request_id: int | str, method: str = "tools/call") -> bytes:
    return line_of(id=request_id, method=method)


def answer(request_id: int | str) -> bytes:
    return line_of(id=request_id, result={})


INITIALIZE = call(0, "initialize")
INITIALIZED = line_of(method="notifications/initialized")
LISTEN = call("listen", "subscriptions/listen")
ACKNOWLEDGED = line_of(
    method="notifications/subscriptions/acknowledged",
    params={"_meta": {"io.modelcontextprotocol/subscriptionId": "listen"}, "notifications": {}},
)


def cancel(request_id: int | str) -> bytes:
    return line_of(method="notifications/cancelled", params={"requestId": request_id})


def send_all(conversation: Conversation) -> list[bytes]:
    sent = []
    while line := conversation.next_line():
        conversation.begin_next()
        sent.append(line)
    return sent


def send(conversation: Conversation, *lines: bytes) -> None:
    for line in lines:
        conversation.add_client_line(line)
    assert send_all(conversation) == list(lines)


def ids_of(lines: list[bytes]) -> list[object]:
    return [json.loads(line)["id"] for line in lines]


@pytest.fixture
def conversation() -> Conversation:
    return Conversation()


@pytest.fixture
def opened(conversation: Conversation) -> Conversation:
    send(conversation, INITIALIZE)
    assert conversation.add_daemon_line(answer(0))
    send(conversation, INITIALIZED)
    return conversation


def test_what_was_under_way_is_answered_with_an_error_that_says_retry(conversation: Conversation) -> None:
    send(conversation, call(1), call("1"), call(2))
    conversation.add_daemon_line(answer(2))

    errors = [json.loads(line) for line in conversation.lose_daemon()]

    assert [error["id"] for error in errors] == [1, "1"]
    for error in errors:
        assert error["error"]["code"] == -32603
        assert error["error"]["data"] == {"retry": True}
        assert "may or may not have been carried out" in error["error"]["message"]
    assert send_all(conversation) == []
    assert conversation.lose_daemon() == []


def test_what_was_not_sent_yet_waits_for_the_next_daemon(conversation: Conversation) -> None:
    send(conversation, call(1))
    conversation.add_client_line(call(2))
    assert ids_of(conversation.lose_daemon()) == [1]
    assert send_all(conversation) == [call(2)]


def test_the_opening_exchange_is_repeated_and_its_second_answer_swallowed(opened: Conversation) -> None:
    opened.add_client_line(call(5))
    opened.lose_daemon()

    assert send_all(opened) == [INITIALIZE], "nothing may overtake the answer to initialize"
    assert not opened.add_daemon_line(answer(0))
    assert send_all(opened) == [INITIALIZED, call(5)]
    assert opened.add_daemon_line(answer(5))


def test_the_opening_exchange_is_repeated_again_if_the_next_daemon_dies_within_it(opened: Conversation) -> None:
    opened.lose_daemon()
    send_all(opened)
    assert opened.lose_daemon() == []
    assert send_all(opened) == [INITIALIZE]
    assert not opened.add_daemon_line(answer(0))
    assert send_all(opened) == [INITIALIZED]
    assert opened.lose_daemon() == []
    assert send_all(opened) == [INITIALIZE]


def test_a_client_that_had_not_confirmed_is_not_confirmed_for(conversation: Conversation) -> None:
    send(conversation, INITIALIZE)
    conversation.add_daemon_line(answer(0))
    conversation.add_client_line(call(1, "ping"))
    conversation.lose_daemon()
    assert send_all(conversation) == [INITIALIZE]
    assert not conversation.add_daemon_line(answer(0))
    assert send_all(conversation) == [call(1, "ping")]


def test_an_initialize_without_answer_is_sent_again_and_its_answer_passed_on(conversation: Conversation) -> None:
    send(conversation, INITIALIZE)
    assert conversation.lose_daemon() == []
    assert conversation.lose_daemon() == []
    assert send_all(conversation) == [INITIALIZE]
    assert conversation.add_daemon_line(answer(0))


def test_an_initialize_that_was_refused_is_not_repeated(conversation: Conversation) -> None:
    send(conversation, INITIALIZE)
    assert conversation.add_daemon_line(line_of(id=0, error={"code": -32602, "message": "no"}))
    conversation.lose_daemon()
    assert send_all(conversation) == []


def test_a_new_daemon_that_refuses_the_opening_ends_the_conversation(opened: Conversation) -> None:
    opened.lose_daemon()
    send_all(opened)
    with pytest.raises(ReplayRefusedError, match="restart this server"):
        opened.add_daemon_line(line_of(id=0, error={"code": -32602, "message": "no"}))


def test_a_request_with_the_id_of_the_opening_gets_its_own_answer(opened: Conversation) -> None:
    opened.lose_daemon()
    send_all(opened)
    assert not opened.add_daemon_line(answer(0))
    send_all(opened)
    send(opened, call(0))
    assert opened.add_daemon_line(answer(0))


def test_listens_are_sent_again_under_their_ids_until_they_end(opened: Conversation) -> None:
    send(opened, LISTEN, call(3))
    assert opened.add_daemon_line(ACKNOWLEDGED)
    for _ in range(2):
        assert ids_of(opened.lose_daemon()) in ([3], [])
        assert opened.listens == ["listen"]
    send_all(opened)
    opened.add_daemon_line(answer(0))
    assert send_all(opened) == [INITIALIZED, LISTEN]
    assert opened.listens == []
    opened.lose_daemon()
    assert opened.listens == ["listen"]
    send_all(opened)
    opened.add_daemon_line(answer(0))
    send_all(opened)
    assert not opened.add_daemon_line(answer("listen")), "the daemon leaves in order; the next goes on"
    opened.lose_daemon()
    assert opened.listens == ["listen"]
    send_all(opened)
    opened.add_daemon_line(answer(0))
    send_all(opened)
    assert opened.add_daemon_line(line_of(id="listen", error={"code": -32602, "message": "too many"}))
    opened.lose_daemon()
    assert opened.listens == []


def test_a_listen_ends_with_its_result_when_the_user_stopped_the_daemon() -> None:
    conversation = Conversation(is_stopped=lambda: True)
    send(conversation, LISTEN)
    assert conversation.add_daemon_line(ACKNOWLEDGED)

    assert conversation.add_daemon_line(answer("listen"))
    conversation.lose_daemon()
    assert conversation.listens == []


def test_a_listen_that_was_never_acknowledged_is_not_announced(opened: Conversation) -> None:
    send(opened, LISTEN)
    opened.lose_daemon()
    assert opened.listens == []  # else the daemon would swallow what the client still waits for
    send_all(opened)
    opened.add_daemon_line(answer(0))
    assert send_all(opened) == [INITIALIZED, LISTEN]
    assert opened.add_daemon_line(ACKNOWLEDGED)
    opened.lose_daemon()
    assert opened.listens == ["listen"]


def test_a_cancelled_listen_is_not_sent_again(conversation: Conversation) -> None:
    send(conversation, LISTEN, cancel("listen"))
    assert conversation.lose_daemon() == []
    assert conversation.listens == []
    assert send_all(conversation) == []


def test_a_cancelled_request_gets_no_error(conversation: Conversation) -> None:
    send(conversation, call(1), cancel(1))
    assert conversation.lose_daemon() == []


def test_the_cancellation_of_what_we_answered_is_dropped(conversation: Conversation) -> None:
    send(conversation, call(1))
    conversation.add_client_line(cancel(1))
    conversation.lose_daemon()
    conversation.add_client_line(cancel(1))
    conversation.add_client_line(cancel(2))
    assert send_all(conversation) == [cancel(2)]


def test_an_id_that_is_used_again_can_be_cancelled_again(conversation: Conversation) -> None:
    send(conversation, call(1))
    conversation.lose_daemon()
    send(conversation, call(1), cancel(1))


def test_answers_to_the_daemon_and_unreadable_lines_pass(conversation: Conversation) -> None:
    send(conversation, line_of(id="boot:7", result={}), b"garbage\n", b"[]\n", b"\n")
    assert conversation.lose_daemon() == []
    for line in (line_of(id=1, method="roots/list"), line_of(method="notifications/x"), b"garbage\n", answer(9)):
        assert conversation.add_daemon_line(line)


def test_a_question_of_the_daemon_does_not_answer_a_request_of_the_same_id(conversation: Conversation) -> None:
    send(conversation, call(1))
    conversation.add_daemon_line(line_of(id=1, method="roots/list"))
    assert ids_of(conversation.lose_daemon()) == [1]


def test_waiting_is_bounded_by_lines_and_by_bytes(conversation: Conversation) -> None:
    for number in range(MAX_WAITING_LINES):
        assert not conversation.is_full
        conversation.add_client_line(call(number))
    assert conversation.is_full
    send_all(conversation)
    assert not conversation.is_full
    conversation.add_client_line(b"x" * MAX_WAITING_BYTES)
    assert conversation.is_full


def test_giving_up_answers_everything_once(opened: Conversation) -> None:
    send(opened, LISTEN, call(1))
    opened.lose_daemon()
    opened.add_client_line(call(2))
    opened.add_client_line(line_of(method="notifications/x"))
    opened.add_client_line(line_of(id="boot:7", result={}))

    errors = opened.give_up("no daemon")

    assert ids_of(errors) == ["listen", 2]
    assert all(b"no daemon" in error for error in errors)
    assert opened.give_up("no daemon") == []
    assert not opened.has_waiting


def test_giving_up_answers_what_is_under_way(conversation: Conversation) -> None:
    send(conversation, call(1))
    [error] = conversation.give_up("no daemon")
    assert b"may or may not have been carried out" in error


def test_a_long_line_of_the_client_is_refused_with_the_limit(conversation: Conversation) -> None:
    refusal = conversation.refuse_client_line(LongLine(b'{"id": 4, "method": "a", "params": {"t": "x', b"", 2_000_000))
    assert refusal is not None
    error = json.loads(refusal)
    assert (error["id"], error["error"]["code"]) == (4, -32600)
    assert "2000000" in error["error"]["message"]
    assert "1048576" in error["error"]["message"]


def test_a_long_answer_of_the_client_is_not_answered(conversation: Conversation) -> None:
    assert conversation.refuse_client_line(LongLine(b'{"id": "boot:4", "result": {"t": "x', b"", 2_000_000)) is None


def test_instead_of_a_long_answer_of_the_daemon_the_client_gets_an_error(conversation: Conversation) -> None:
    send(conversation, call(1))
    long = LongLine(b'{"jsonrpc": "2.0", "id": 1, "result": {"t": "x', b"", 2_000_000)
    error = conversation.refuse_daemon_line(long)
    assert error is not None
    assert json.loads(error)["id"] == 1
    assert conversation.lose_daemon() == []
    assert conversation.refuse_daemon_line(long) is None
