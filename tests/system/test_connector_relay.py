"""What passes through a connector, with a daemon that stays."""

from __future__ import annotations

import json
import os
import select
import signal
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import pytest
from connector_fakes import DEADLINE_SECONDS, Client, FakeDaemon, answer, call, line_of

from workroot import __version__
from workroot.rendezvous import MAX_LINE_BYTES, OLDEST_WIRE_VERSION, WIRE_VERSION, installation

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTALLED = (str(Path(sys.executable).with_name("workroot")), "connect")
MIB = 1 << 20


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    daemon = FakeDaemon(tmp_path / "state")
    yield daemon
    daemon.stop()


@contextmanager
def connected(daemon: FakeDaemon, *options: str) -> Iterator[Client]:
    with Client(daemon.state, *options) as client:
        yield client


def is_ready_within(descriptor: int, events: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, events)
    return bool(poll.poll(seconds * 1000))


def test_the_hello_tells_where_the_client_works_and_who_it_is(daemon: FakeDaemon, tmp_path: Path) -> None:
    environment = {"CLAUDE_PROJECT_DIR": "/p", "PWD": "/caf\u00e9", "SECRET": "s"}
    with Client(daemon.state, cwd=tmp_path, environment=environment) as client:
        hello = daemon.accept().hello
        client.close_input()
    alias = hello.pop("alias")
    assert hello.pop("version") == __version__
    assert hello == {
        "workroot": WIRE_VERSION,
        "oldest": OLDEST_WIRE_VERSION,
        "installation": installation(),
        "role": "mcp",
        "directory": str(tmp_path),
        "environment": {"CLAUDE_PROJECT_DIR": "/p", "PWD": "/caf\u00e9"},
        "default_session": True,
    }
    assert isinstance(alias, str)
    assert len(bytes.fromhex(alias)) == 16
    with connected(daemon) as client:
        assert daemon.accept().hello["alias"] != alias


@pytest.mark.parametrize("options", [("--directory", "/d"), ("--directory=/d",)])
def test_the_hello_tells_what_the_options_say(daemon: FakeDaemon, options: tuple[str, ...]) -> None:
    with connected(daemon, "--no-default-session", *options):
        hello = daemon.accept().hello
    assert (hello["option"], hello["default_session"]) == ("/d", False)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("app", "{own}/app"),
        ("../app", "{own}/../app"),
        ("/d", "/d"),
        ("${workspaceFolder}", "${workspaceFolder}"),
        ("sub/${name}", "sub/${name}"),
        ("$HOME", "$HOME"),
        ("~/app", "~/app"),
        ("", ""),
    ],
)
def test_a_relative_directory_is_told_as_seen_from_where_the_connector_works(
    daemon: FakeDaemon, tmp_path: Path, given: str, told: str
) -> None:
    with Client(daemon.state, f"--directory={given}", cwd=tmp_path):
        assert daemon.accept().hello["option"] == told.replace("{own}", str(tmp_path))


def test_a_client_whose_directory_is_gone_is_served_all_the_same(daemon: FakeDaemon, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    start = f"cd '{gone}' && rmdir '{gone}' && exec '{sys.executable}' -I -m workroot connect"
    with Client(daemon.state, command=("/bin/sh", "-c", start)):
        assert "directory" not in daemon.accept().hello


@pytest.mark.parametrize("option", ["--nonsense", "stray", "--directory"])
def test_an_option_that_does_not_exist_is_named(daemon: FakeDaemon, option: str) -> None:
    with connected(daemon, option) as client:
        assert client.wait() == 2
        message = client.read_errors()
    assert option in message
    assert "usage" in message


def test_bytes_pass_unchanged_in_both_directions_and_in_order(daemon: FakeDaemon) -> None:
    lines = [
        call(1, "no/such/method"),
        b'{ "id" :2 ,\t"method":"x" , "z":1.50e+0, "z":2}\n',
        '{"id":"\u00fc\U0001f600","method":"\\u00fc"}\n'.encode(),
        b'{"id":3,"method":"x"}\r\n',
        b"\n",
        b"not json \xff\xfe\x00\n",
        b'[{"id":4,"method":"x"}]\n',
        line_of(id="boot:1", result={"roots": []}),
    ]
    with connected(daemon) as client:
        client.send(*lines)
        connection = daemon.accept()
        assert [connection.read_line() for _ in lines] == lines
        for line in lines:
            connection.send(line)
            assert client.read_line() == line
        client.send(call(7))
        assert connection.read_line() == call(7)


def test_lines_of_both_sides_pass_while_the_other_side_is_silent(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        connection = daemon.accept()
        for number in range(50):
            connection.send(line_of(method="notifications/x", params={"n": number}))
            client.send(call(number))
        assert [connection.read_id() for _ in range(50)] == list(range(50))
        seen = [client.read_message() for _ in range(50)]
        assert [message["params"] for message in seen] == [{"n": number} for number in range(50)]


def test_a_line_in_pieces_is_one_line(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        connection = daemon.accept()
        for byte in call(1):
            client.send(bytes([byte]))
        assert connection.read_line() == call(1)
        for byte in answer(1):
            connection.send(bytes([byte]))
        assert client.read_line() == answer(1)


def test_lines_as_long_as_the_limit_pass(daemon: FakeDaemon) -> None:
    start = b'{"id":1,"method":"x","params":"'
    line = start + b"x" * (MAX_LINE_BYTES - len(start) - 2) + b'"}\n'
    assert len(line) == MAX_LINE_BYTES + 1
    with connected(daemon) as client:
        connection = daemon.accept()
        client.send(line)
        assert connection.read_line() == line
        connection.send(line)
        assert client.read_line() == line


def test_a_line_over_the_limit_is_answered_and_the_conversation_goes_on(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        connection = daemon.accept()
        client.send(call(5, text="x" * (2 * MIB)), call(6))
        assert connection.read_line() == call(6)
        error = client.read_message()
        assert error["id"] == 5
        assert isinstance(error["error"], dict)
        assert error["error"]["code"] == -32600
        assert str(MAX_LINE_BYTES) in error["error"]["message"]


def test_two_mebibytes_of_garbage_are_answered_without_an_id(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        connection = daemon.accept()
        client.send(b"\xff" * (2 * MIB) + b"\n", call(6))
        assert connection.read_line() == call(6)
        assert client.read_message()["id"] is None


def test_an_answer_over_the_limit_becomes_an_error_and_the_conversation_goes_on(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(call(5))
        connection = daemon.accept()
        connection.read_line()
        connection.send(answer(5, text="x" * (2 * MIB)), line_of(method="notifications/x"))
        error = client.read_message()
        assert error["id"] == 5
        assert "error" in error
        assert client.read_message()["method"] == "notifications/x"


def test_a_client_that_does_not_read_makes_the_daemon_wait_and_loses_nothing(daemon: FakeDaemon) -> None:
    line = line_of(method="notifications/x", params={"text": "x" * 60_000})
    total = len(line) * 300
    with connected(daemon) as client:
        connection = daemon.accept()
        data, sent = line * 300, 0
        while sent < total and is_ready_within(connection.fileno(), select.POLLOUT, 0.5):
            sent += connection.send_nowait(data[sent : sent + MIB])
        assert sent < 4 * MIB, "a connector that buffers without bound took everything"
        assert client.peak_memory_bytes() < 20 * MIB
        seen = 0
        while seen < total:
            while sent < total and is_ready_within(connection.fileno(), select.POLLOUT, 0):
                sent += connection.send_nowait(data[sent : sent + MIB])
            assert client.read_line() == line
            seen += len(line)


def test_a_daemon_that_does_not_read_makes_the_client_wait_and_loses_nothing(daemon: FakeDaemon) -> None:
    line = call(1, text="x" * 60_000)
    with connected(daemon) as client:
        connection = daemon.accept()
        descriptor = client.input_descriptor()
        os.set_blocking(descriptor, False)
        data, sent = line * 300, 0
        while sent < len(data) and is_ready_within(descriptor, select.POLLOUT, 0.5):
            sent += os.write(descriptor, data[sent : sent + MIB])
        assert sent < 4 * MIB, "a connector that buffers without bound took everything"
        assert client.peak_memory_bytes() < 20 * MIB
        for _ in range(300):
            while sent < len(data) and is_ready_within(descriptor, select.POLLOUT, 0):
                sent += os.write(descriptor, data[sent : sent + MIB])
            assert connection.read_line() == line


def test_answers_in_flight_arrive_after_the_client_s_last_word(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(call(1), b'{"id":2,"method":"unterminated"}')
        client.close_input()
        connection = daemon.accept()
        assert [connection.read_id(), connection.read_id()] == [1, 2]
        assert connection.read_line() == b"", "the end of the input is passed on"
        connection.send(answer(1), answer(2))
        connection.close()
        assert [client.read_line(), client.read_line()] == [answer(1), answer(2)]
        assert client.wait() == 0
        assert client.read_errors() == ""


def test_a_client_that_sends_nothing_and_leaves_ends_its_connector(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.close_input()
        connection = daemon.accept()
        assert connection.read_line() == b""
        connection.close()
        assert client.wait() == 0


@pytest.mark.parametrize("daemon_speaks", [True, False])
def test_a_client_that_is_gone_ends_its_connector_quietly(daemon: FakeDaemon, daemon_speaks: bool) -> None:
    with connected(daemon) as client:
        connection = daemon.accept()
        client.close_output()
        if daemon_speaks:
            with suppress(BrokenPipeError):  # it may have noticed, and left, already
                connection.send(line_of(method="notifications/x"))
        assert client.wait() == 0
        assert client.read_errors() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_a_traceback(daemon: FakeDaemon, number: signal.Signals) -> None:
    with connected(daemon) as client:
        connection = daemon.accept()
        client.send(call(1))
        connection.read_line()
        client.signal(number)
        assert client.wait() in (0, -number)
        assert client.read_errors() == ""
        assert connection.read_line() == b""


def test_a_daemon_that_refuses_is_quoted_and_the_client_gets_an_error(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        client.send(call(1))
        connection = daemon.accept(welcome=False)
        connection.send(b'{"workroot": 1, "error": "too many of you"}\n')
        error = client.read_message()
        assert error["id"] == 1
        assert "too many of you" in json.dumps(error)
        assert "was not carried out" in json.dumps(error)
        assert client.wait() == 5
        assert "too many of you" in client.read_errors()


@pytest.mark.parametrize("hello", [b'{"workroot": 2}\n', b"HTTP/1.1 400 Bad Request\n", b"x" * (2 * MIB) + b"\n"])
def test_a_daemon_of_another_kind_is_not_spoken_to(daemon: FakeDaemon, hello: bytes) -> None:
    with connected(daemon) as client:
        client.send(call(1))
        connection = daemon.accept(welcome=False)
        connection.send(hello)
        assert client.wait() == 5
        assert connection.read_line() == b"", "no line of the client was sent"
        assert "workroot" in client.read_errors()


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_stream_that_is_closed_from_the_start_is_no_accident(daemon: FakeDaemon, closed: str) -> None:
    start = f"exec '{sys.executable}' -I -m workroot connect {closed}"
    with Client(daemon.state, command=("/bin/sh", "-c", start)) as client:
        connection = daemon.accept()
        client.close_input()
        assert connection.read_line() == b""
        connection.close()
        assert client.wait() == 0


def test_the_installed_command_works_through_a_link_in_another_directory(daemon: FakeDaemon, tmp_path: Path) -> None:
    link = tmp_path / "bin" / "wr"
    link.parent.mkdir()
    link.symlink_to(INSTALLED[0])
    for command in (INSTALLED, (str(link), "connect")):
        with Client(daemon.state, command=command) as client:
            client.send(call(1))
            assert daemon.accept().read_line() == call(1)


def test_a_repository_cannot_run_code_in_a_connector(daemon: FakeDaemon, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "workroot").mkdir(parents=True)
    marker = tmp_path / "marker"
    planted = f"open({str(marker)!r}, 'a').write(__name__ + ' ')\n"
    for name in ("socket", "_socket", "json", "re", "select", "sitecustomize", "usercustomize", "workroot/__init__"):
        (repository / f"{name}.py").write_text(planted)
    for name in ("readlink", "python3"):
        (repository / name).write_text(f"#!/bin/sh\necho {name} >>'{marker}'\n")
        (repository / name).chmod(0o755)
    link = repository / "wr"
    link.symlink_to(INSTALLED[0])
    environment = {"PYTHONPATH": str(repository), "PATH": f"{repository}:/usr/bin:/bin", "PYTHONSTARTUP": "socket.py"}
    for command in (INSTALLED, (str(link), "connect"), (sys.executable, "-I", "-m", "workroot", "connect")):
        with Client(daemon.state, command=command, cwd=repository, environment=environment) as client:
            client.send(call(1))
            assert daemon.accept().read_line() == call(1)
    assert not marker.exists(), marker.read_text()


def test_a_connector_is_small(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        connection = daemon.accept()
        for number in range(200):
            client.send(call(number))
            connection.send(answer(connection.read_id()))  # type: ignore[arg-type]  # it is what was sent
            assert client.read_message()["id"] == number
        assert client.peak_memory_bytes() < 13 * MIB


def test_a_client_that_does_not_read_can_still_speak(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        connection = daemon.accept()
        connection.send(line_of(method="notifications/x", params={"text": "x" * 500_000}))
        assert is_ready_within(client.output_descriptor(), select.POLLIN, DEADLINE_SECONDS)
        client.send(call(1))
        assert connection.read_line() == call(1)


def test_a_connector_is_idle_after_the_end_of_the_input(daemon: FakeDaemon) -> None:
    with connected(daemon) as client:
        connection = daemon.accept()
        client.send(call(1))
        connection.read_line()
        client.close_input()
        assert connection.read_line() == b""
        assert busy_ticks(client, connection.fileno()) <= 5
        connection.send(answer(1))
        assert client.read_line() == answer(1)


def test_a_connector_is_idle_while_nobody_reads_what_a_dead_daemon_left(daemon: FakeDaemon) -> None:
    line = line_of(method="notifications/x", params={"text": "x" * 60_000})
    with connected(daemon, "--no-spawn") as client:
        connection = daemon.accept()
        data, sent = line * 300, 0
        while is_ready_within(connection.fileno(), select.POLLOUT, 0.5):
            sent += connection.send_nowait(data[sent : sent + MIB])
        assert sent < len(data)
        connection.close()
        assert busy_ticks(client, client.input_descriptor()) <= 5
        for _ in range(sent // len(line)):
            assert client.read_line() == line


def busy_ticks(client: Client, quiet: int) -> int:
    """Return how many hundredths of a second the connector computes in half a second without any event."""
    before = cpu_ticks(client.pid)
    deadline = monotonic() + 0.5
    while (left := deadline - monotonic()) > 0:
        is_ready_within(quiet, 0, left)
    return cpu_ticks(client.pid) - before


def cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])
