"""What a client sees when its daemon goes away and comes back: nothing, except for the calls that were under way."""

from __future__ import annotations

import json
import select
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from connector_fakes import DEADLINE_SECONDS, Client, FakeDaemon, answer, call, connect_with, line_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

INITIALIZE = call(0, "initialize", protocolVersion="2025-11-25")
INITIALIZED = line_of(method="notifications/initialized")
LISTEN = call("listen-1", "subscriptions/listen")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    daemon = FakeDaemon(tmp_path / "state")
    yield daemon
    daemon.stop()


def is_readable(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], DEADLINE_SECONDS)[0])


@contextmanager
def connected(daemon: FakeDaemon, patience: float = 20.0) -> Iterator[Client]:
    # Without --no-spawn a connector may find nobody between stop and start, and start the real daemon.
    with Client(daemon.state, "--no-spawn", command=connect_with((), patience)) as client:
        yield client


def test_a_call_under_way_fails_at_once_and_the_next_one_works(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(call(1), call("two"))
        first = daemon.accept()
        assert [first.read_id(), first.read_id()] == [1, "two"]
        daemon.stop()

        errors = [client.read_message(), client.read_message()]  # although no daemon runs yet
        assert [error["id"] for error in errors] == [1, "two"]
        for error in errors:
            assert isinstance(error["error"], dict)
            assert error["error"]["code"] == -32603
            assert error["error"]["data"] == {"retry": True}

        client.send(call(3))
        daemon.start()
        second = daemon.accept()
        assert second.hello["reconnected"] is True
        assert second.hello["alias"] == first.hello["alias"]
        assert "listens" not in second.hello
        assert second.read_line() == call(3)
        second.send(answer(3))
        assert client.read_line() == answer(3)


def test_what_was_answered_before_the_end_reaches_the_client(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(call(1), call(2))
        connection = daemon.accept()
        assert [connection.read_id(), connection.read_id()] == [1, 2]
        connection.send(answer(1), b'{"jsonrpc":"2.0","id":2,"resu')
        daemon.restart()
        assert client.read_line() == answer(1)
        assert "error" in client.read_message()
        connection = daemon.accept()
        connection.send(answer(3))
        assert client.read_line() == answer(3), "nothing is left of the line that was cut off"


def test_answers_survive_although_the_daemon_left_requests_unread(daemon: FakeDaemon) -> None:
    """The socket then reports a reset, after what was received before has been read."""
    with connected(daemon) as client:
        connection = daemon.accept()
        client.send(call(1))
        assert connection.read_line() == call(1)
        client.send(call(2))
        assert is_readable(connection.fileno())
        client.pause()
        connection.send(answer(1))
        daemon.stop()
        client.go_on()
        assert client.read_line() == answer(1)
        assert "error" in client.read_message()


def test_a_line_is_not_sent_to_a_daemon_that_is_known_to_be_gone(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        daemon.accept()
        client.pause()
        client.send(call(1))
        daemon.restart()
        client.go_on()
        assert daemon.accept().read_line() == call(1)


def test_a_request_that_was_partly_sent_is_not_sent_again(daemon: FakeDaemon) -> None:
    long = call(1, text="x" * 1_000_000)  # more than the socket takes
    with connected(daemon) as client:
        connection = daemon.accept()
        client.send(long, call(2))
        assert long.startswith(connection.read_some())
        daemon.restart()
        error = client.read_message()
        assert (error["id"], "error" in error) == (1, True)
        assert daemon.accept().read_line() == call(2)


def test_the_opening_exchange_is_repeated_and_the_client_does_not_notice(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(INITIALIZE)
        connection = daemon.accept()
        assert connection.read_line() == INITIALIZE
        connection.send(answer(0))
        assert client.read_line() == answer(0)
        client.send(INITIALIZED)
        assert connection.read_line() == INITIALIZED

        for number in (1, 2):
            daemon.restart()
            connection = daemon.accept()
            client.send(call(number))
            assert connection.read_line() == INITIALIZE
            connection.send(answer(0, again=True))
            assert connection.read_line() == INITIALIZED
            assert connection.read_line() == call(number)
            connection.send(answer(number))
            assert client.read_line() == answer(number), "the second answer to initialize was swallowed"


def test_an_initialize_under_way_is_sent_again_and_answered(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(INITIALIZE)
        assert daemon.accept().read_line() == INITIALIZE
        daemon.restart()
        connection = daemon.accept()
        assert connection.read_line() == INITIALIZE
        connection.send(answer(0))
        assert client.read_line() == answer(0)


def test_a_daemon_that_does_not_take_the_conversation_up_ends_it(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(INITIALIZE)
        connection = daemon.accept()
        connection.read_line()
        connection.send(answer(0))
        client.read_line()
        daemon.restart()
        connection = daemon.accept()
        client.send(call(1))
        assert connection.read_line() == INITIALIZE
        connection.send(line_of(id=0, error={"code": -32602, "message": "unsupported"}))
        assert client.wait() == 5
        assert "restart this server" in client.read_errors()


def test_listens_are_sent_again_and_announced(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(LISTEN, call(1))
        connection = daemon.accept()
        assert connection.read_line() == LISTEN
        assert connection.read_id() == 1
        acknowledged = {"_meta": {"io.modelcontextprotocol/subscriptionId": "listen-1"}, "notifications": {}}
        connection.send(line_of(method="notifications/subscriptions/acknowledged", params=acknowledged))
        assert client.read_message()["params"] == acknowledged
        daemon.restart()
        assert client.read_message()["id"] == 1
        connection = daemon.accept()
        assert connection.hello["listens"] == ["listen-1"]
        assert connection.read_line() == LISTEN
        connection.send(answer("listen-1"))  # as a daemon does that ends in order
        daemon.restart()
        connection = daemon.accept()
        assert connection.hello["listens"] == ["listen-1"], "the client has heard of no end"
        refused = line_of(id="listen-1", error={"code": -32602, "message": "no"})
        assert connection.read_line() == LISTEN
        connection.send(refused)
        assert client.read_line() == refused
        daemon.restart()
        assert "listens" not in daemon.accept().hello


def test_the_cancellation_of_a_call_that_failed_is_not_passed_on(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(call(1))
        daemon.accept().read_line()
        daemon.restart()
        client.read_message()
        client.send(line_of(method="notifications/cancelled", params={"requestId": 1}), call(2))
        assert daemon.accept().read_line() == call(2)


def test_calls_wait_for_a_daemon_up_to_a_bound_and_none_is_lost(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        daemon.accept()
        daemon.stop()
        calls = [call(number, text="x" * 300) for number in range(150)]
        client.send(*calls)  # fits into the pipe, if the connector stops to read
        daemon.start()
        connection = daemon.accept()
        assert [connection.read_line() for _ in calls] == calls


def test_a_client_that_left_meanwhile_is_still_heard(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        daemon.accept()
        daemon.stop()
        client.send(call(1))
        client.close_input()
        daemon.start()
        connection = daemon.accept()
        assert connection.read_line() == call(1)
        assert connection.read_line() == b""
        connection.send(answer(1))
        connection.close()
        assert client.read_line() == answer(1)
        assert client.wait() == 0


def test_a_client_that_left_with_calls_under_way_gets_their_errors(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(call(1))
        client.close_input()
        connection = daemon.accept()
        assert connection.read_id() == 1
        daemon.stop()
        assert "error" in client.read_message()
        assert client.wait() == 0
        assert client.read_errors() == ""


def test_when_no_daemon_comes_back_everything_is_answered_and_the_connector_ends(daemon: FakeDaemon) -> None:
    with connected(daemon, patience=0.2) as client:
        client.send(LISTEN, call(1))
        connection = daemon.accept()
        connection.read_line()
        connection.read_line()
        daemon.stop()
        assert client.read_message()["id"] == 1
        client.send(call(2))
        answers = [client.read_message(), client.read_message()]
        assert [message["id"] for message in answers] == ["listen-1", 2]
        assert all("no daemon answers" in json.dumps(message) for message in answers)
        assert client.wait() == 5
        assert "no daemon answers" in client.read_errors()


def test_a_daemon_that_dies_at_every_hello_is_given_up(daemon: FakeDaemon) -> None:
    with connected(daemon, patience=0.3) as client:
        deadline = monotonic() + DEADLINE_SECONDS
        while not client.has_ended() and monotonic() < deadline:
            if daemon.has_caller(0.1):
                daemon.hang_up()
        assert client.wait() == 5
        assert "kept the connection" in client.read_errors()


def test_a_restart_is_survived_fifty_times(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(LISTEN)
        for number in range(50):
            connection = daemon.accept()
            assert connection.read_line() == LISTEN
            client.send(call(number))
            assert connection.read_id() == number
            connection.send(answer(number))
            assert client.read_line() == answer(number)
            daemon.restart()
        assert client.open_descriptors() <= 5
