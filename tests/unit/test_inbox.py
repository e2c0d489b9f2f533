"""What a client has said and nobody has taken: its order, and what overtakes what."""

from __future__ import annotations

import pytest
from mcp_types import JSONRPCMessage, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from workroot.transports.inbox import Inbox
from workroot.transports.unanswered import UnansweredRequests

MEBIBYTE = 1024 * 1024


def request(request_id: int | str, method: str = "ping") -> JSONRPCRequest:
    return JSONRPCRequest(jsonrpc="2.0", id=request_id, method=method)


def answer(request_id: int | str) -> JSONRPCResponse:
    return JSONRPCResponse(jsonrpc="2.0", id=request_id, result={})


def cancellation(request_id: int | str) -> JSONRPCNotification:
    return JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params={"requestId": request_id})


def acknowledgement(listen_id: int | str) -> JSONRPCNotification:
    meta = {"io.modelcontextprotocol/subscriptionId": listen_id}
    return JSONRPCNotification(
        jsonrpc="2.0", method="notifications/subscriptions/acknowledged", params={"_meta": meta, "notifications": {}}
    )


INITIALIZED = JSONRPCNotification(jsonrpc="2.0", method="notifications/initialized")


@pytest.fixture
def unanswered() -> UnansweredRequests:
    return UnansweredRequests()


@pytest.fixture
def inbox(unanswered: UnansweredRequests) -> Inbox:
    return Inbox(unanswered, most_in_flight=2)


def add(inbox: Inbox, *messages: JSONRPCMessage, size: int = 10) -> None:
    for message in messages:
        inbox.add(message, size)


def all_of(inbox: Inbox) -> list[JSONRPCMessage]:
    taken = []
    while (message := inbox.take()) is not None:
        taken.append(message)
    return taken


def test_messages_are_taken_in_the_order_they_came_while_there_is_room(inbox: Inbox) -> None:
    said: list[JSONRPCMessage] = [request(1, "initialize"), INITIALIZED, request(2), answer(0)]
    add(inbox, *said)

    assert all_of(inbox) == said


def test_requests_beyond_those_in_flight_wait_and_answers_overtake_them(inbox: Inbox) -> None:
    add(inbox, *(request(number) for number in range(4)), answer(7))

    assert all_of(inbox) == [request(0), request(1), answer(7)]
    assert inbox.has_requests


def test_an_answered_request_makes_room_for_one(inbox: Inbox, unanswered: UnansweredRequests) -> None:
    add(inbox, *(request(number) for number in range(4)))
    all_of(inbox)

    unanswered.note_outgoing(answer(1))

    assert all_of(inbox) == [request(2)]


def test_requests_of_one_id_count_each(inbox: Inbox, unanswered: UnansweredRequests) -> None:
    add(inbox, request("one"), request("one"), request("one"))

    assert len(all_of(inbox)) == 2
    unanswered.note_outgoing(answer("one"))
    assert len(all_of(inbox)) == 1
    assert unanswered.count == 2


def test_a_waiting_request_that_is_cancelled_is_gone_with_its_cancellation(
    inbox: Inbox, unanswered: UnansweredRequests
) -> None:
    add(inbox, *(request(number) for number in range(4)))
    all_of(inbox)
    add(inbox, cancellation(2), cancellation("7"))
    unanswered.note_outgoing(answer(0))

    assert all_of(inbox) == [request(3), cancellation("7")]
    assert unanswered.count == 2


def test_a_cancellation_may_write_a_number_as_text(inbox: Inbox, unanswered: UnansweredRequests) -> None:
    add(inbox, *(request(number) for number in range(4)))
    all_of(inbox)
    add(inbox, cancellation("3"), cancellation("0"))

    assert all_of(inbox) == [cancellation("0"), request(2)]
    assert unanswered.count == 2


def test_a_cancellation_of_a_request_that_is_worked_on_passes_and_makes_room(inbox: Inbox) -> None:
    add(inbox, request(1), request(2), request(3))
    all_of(inbox)
    add(inbox, cancellation(1))

    assert all_of(inbox) == [cancellation(1), request(3)]


def test_a_listen_stream_counts_until_it_is_acknowledged(inbox: Inbox, unanswered: UnansweredRequests) -> None:
    add(inbox, *(request(number, "subscriptions/listen") for number in range(3)))

    assert all_of(inbox) == [request(0, "subscriptions/listen"), request(1, "subscriptions/listen")]
    unanswered.note_outgoing(acknowledgement(0))
    assert all_of(inbox) == [request(2, "subscriptions/listen")]
    assert unanswered.count == 2


def test_long_requests_are_worked_on_one_at_a_time_however_few_they_are(unanswered: UnansweredRequests) -> None:
    inbox = Inbox(unanswered, most_in_flight=64)
    add(inbox, request(1), request(2), size=MEBIBYTE)

    assert all_of(inbox) == [request(1)]
    unanswered.note_outgoing(answer(1))
    assert all_of(inbox) == [request(2)]


def test_it_is_full_of_many_messages_of_either_kind_or_of_long_ones(unanswered: UnansweredRequests) -> None:
    requests, others, long = (Inbox(unanswered) for _ in range(3))
    add(requests, *(request(number) for number in range(63)))
    add(others, *[INITIALIZED] * 63)
    add(long, request(1), size=MEBIBYTE - 1)
    assert not any(each.is_full for each in (requests, others, long))

    add(requests, request(63))
    add(others, INITIALIZED)
    add(long, request(2), size=1)
    assert requests.is_full
    assert others.is_full
    assert long.is_full


def test_nothing_is_begun_for_a_client_that_is_gone(inbox: Inbox, unanswered: UnansweredRequests) -> None:
    add(inbox, *(request(number) for number in range(4)))
    all_of(inbox)
    unanswered.forget()

    assert all_of(inbox) == []
    assert not inbox.has_requests
