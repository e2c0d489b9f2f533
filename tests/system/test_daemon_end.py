"""A daemon that is told to stop does so in order and in time, whatever its clients and its disks do."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import httpx2
import pytest
from fuse_mounts import mounted
from patched_daemon import start_patched
from real_daemon import DEADLINE_SECONDS, HANDSHAKE_VERSION, MODERN_META, WORKROOT, Home, Process, RawClient, open_home
from service_manager import Activator

from workroot import __version__, rendezvous
from workroot.identity import TokenFile

END_SECONDS = 5.0
LISTEN = {"notifications": {"toolsListChanged": True}, "_meta": MODERN_META}


@pytest.fixture
def http_home() -> Iterator[Home]:
    with open_home(WORKROOT_HTTP="1") as made:
        yield made


@contextmanager
def watched(pid: int) -> Iterator[Process]:
    process = Process(pid)
    try:
        yield process
    finally:
        process.close()


@asynccontextmanager
async def open_http(home: Home) -> AsyncIterator[tuple[httpx2.AsyncClient, str]]:
    token = TokenFile(home.state / "tokens.json").create("end", None)
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json, text/event-stream"}
    url = home.ask("status")["http"]["url"]
    async with httpx2.AsyncClient(headers=headers, timeout=DEADLINE_SECONDS) as client:
        yield client, url


async def open_get_stream(http: httpx2.AsyncClient, url: str, stack: AsyncExitStack) -> httpx2.Response:
    """Open the standing stream of a client of the handshake era."""
    parameters = {
        "protocolVersion": HANDSHAKE_VERSION,
        "capabilities": {},
        "clientInfo": {"name": "ada", "version": "1"},
    }
    begun = await http.post(url, json={"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": parameters})
    headers = {"Mcp-Session-Id": begun.headers["mcp-session-id"], "Mcp-Protocol-Version": HANDSHAKE_VERSION}
    await http.post(url, json={"jsonrpc": "2.0", "method": "notifications/initialized"}, headers=headers)
    await http.post(
        url,
        json={"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "list_projects", "arguments": {}}},
        headers=headers,
    )
    response = await stack.enter_async_context(http.stream("GET", url, headers=headers))
    assert response.status_code == 200
    return response


async def open_listen_stream(http: httpx2.AsyncClient, url: str, stack: AsyncExitStack) -> httpx2.Response:
    """Open the listen stream of a client of 2026-07-28."""
    message = {"jsonrpc": "2.0", "id": "ear", "method": "subscriptions/listen", "params": LISTEN}
    headers = {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}
    response = await stack.enter_async_context(http.stream("POST", url, json=message, headers=headers))
    assert response.status_code == 200
    return response


def begin_slow_body(home: Home, http: httpx2.AsyncClient, stack: AsyncExitStack) -> None:
    """Send the head of a request, and a part of its body."""
    host, port = "127.0.0.1", httpx2.URL(home.ask("status")["http"]["url"]).port
    assert port is not None
    slow = stack.enter_context(socket.create_connection((host, port)))
    slow.sendall(
        f"POST /mcp HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {http.headers['authorization']}\r\n"
        f"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        f"Content-Length: 1000\r\n\r\n{{".encode()
    )


def begin_never_reading(home: Home, stack: AsyncExitStack) -> None:
    """Ask and ask, and read no answer, until the daemon takes no more."""
    silent = stack.enter_context(socket.socket(socket.AF_UNIX))
    silent.settimeout(0.5)
    silent.connect(home.socket_path)
    silent.sendall(rendezvous.hello_line(role="mcp", version="1"))
    question = {"jsonrpc": "2.0", "method": "tools/list", "params": {"_meta": MODERN_META}}
    try:
        for number in range(20_000):
            silent.sendall(json.dumps({**question, "id": number}).encode() + b"\n")
    except TimeoutError:
        return
    raise AssertionError("the daemon read everything")


async def open_ear(client: RawClient) -> None:
    await client.send(id="ear", method="subscriptions/listen", params=LISTEN)
    assert (await client.receive())["method"] == "notifications/subscriptions/acknowledged"


async def tell_to_stop(home: Home, process: Process, way: str) -> None:
    if way == "stop":
        assert (await anyio.to_thread.run_sync(home.run, "stop")).returncode == 0
    else:
        process.signal(signal.Signals[way])


@pytest.mark.parametrize("way", ["SIGTERM", "SIGINT", "stop"])
async def test_open_streams_slow_bodies_and_clients_that_do_not_read_do_not_hold_it_up(
    http_home: Home, way: str
) -> None:
    home = http_home
    daemon = home.start()
    with watched(daemon.pid) as process:
        async with AsyncExitStack() as stack:
            # Not through a connector: that keeps from its client that one daemon has ended and another goes on.
            ear = await stack.enter_async_context(home.open_raw_socket(environment={}))
            await open_ear(ear)
            http, url = await stack.enter_async_context(open_http(home))
            standing = await open_get_stream(http, url, stack)
            listening = await open_listen_stream(http, url, stack)
            begin_slow_body(home, http, stack)
            await anyio.to_thread.run_sync(begin_never_reading, home, stack)

            await tell_to_stop(home, process, way)

            assert await anyio.to_thread.run_sync(process.wait_end, END_SECONDS), home.log
            assert daemon.wait(5) == 0
            assert (await ear.receive())["id"] == "ear", "the stream over the socket ended with its result"
            said = "".join([text async for text in listening.aiter_text()])
            assert '"id":"ear"' in said.replace(" ", ""), "the stream over HTTP ended with its result"
            async for _ in standing.aiter_text():
                pass  # it raises unless the stream ended cleanly
    assert "Traceback" not in home.log
    assert not Path(home.socket_path).exists()


def messages(home: Home) -> list[str]:
    return [json.loads(line)["message"] for line in home.log.splitlines()]


@pytest.mark.parametrize(("way", "why"), [("SIGTERM", "received SIGTERM"), ("stop", "asked by `workroot stop`")])
async def test_the_log_says_what_served_and_why_it_ended(home: Home, way: str, why: str) -> None:
    daemon = home.start()
    with watched(daemon.pid) as process:
        await tell_to_stop(home, process, way)
        assert process.wait_end(END_SECONDS)
    assert daemon.wait(5) == 0

    said = messages(home)
    (served,) = [each for each in said if each.startswith(f"serving, pid {daemon.pid}")]
    assert f"workroot {__version__}" in served
    (asked,) = [each for each in said if each.startswith("going to stop: ")]
    assert asked.startswith(f"going to stop: {why}")
    assert said.index(asked) < said.index("stopping")


def test_what_was_only_counted_is_said_before_the_last_word(home: Home) -> None:
    daemon = start_patched(
        home,
        "import logging, workroot.daemon\n"
        "async def repeat(*_):\n"
        "    for number in range(100):\n"
        "        logging.getLogger('workroot.x').info('number %d', number)\n"
        "workroot.daemon._leave_when_idle = repeat",
    )
    home.wait_until(lambda: "number 19" in home.log, what="all are said")
    assert home.run("stop").returncode == 0
    assert daemon.wait(5) == 0

    assert messages(home)[-2:] == ["and 80 more like it within 10 s: number 0", "stopped"]


def test_the_next_daemon_says_that_the_one_before_did_not_end_in_order(home: Home) -> None:
    home.start()
    killed = home.kill_daemon()
    for _ in range(2):
        home.start()
        assert home.run("stop").returncode == 0

    assert [each for each in messages(home) if "did not end in order" in each] == [
        f"the daemon before this one (pid {killed}) did not end in order"
    ]


async def test_no_client_is_let_in_once_the_end_has_begun() -> None:
    """A service manager's socket goes on to listen: whoever comes now is for the next daemon."""
    with open_home(WORKROOT_DRAIN_SECONDS="60") as home, Activator.at(home) as activator:
        daemon = activator.start()
        with watched(daemon.pid) as process, socket.socket(socket.AF_UNIX) as late:
            async with home.open_raw_connector(home.repository("app"), "--no-spawn") as client:
                await client.initialize(roots=True)
                await client.send_call(1, "get_working_directory")
                await client.receive()  # the question for our roots: the call is under way, and the daemon waits for it
                process.signal(signal.SIGTERM)
                await home.wait_until_async(lambda: '"stopping"' in home.log, what="it drains")

                late.connect(home.socket_path)
                late.sendall(rendezvous.hello_line(role="mcp", version="late"))

                assert not process.wait_end(0.3), "the call may finish"
                process.signal(signal.SIGTERM)
                assert await anyio.to_thread.run_sync(process.wait_end, 2.0), home.log
            activator.listening.settimeout(0.0)
            waiting, _ = activator.listening.accept()
            with waiting:
                # The connector waits too by now, behind the one who came before the end was over.
                assert json.loads(waiting.recv(4096))["version"] == "late"
        assert daemon.wait(5) == 0


@pytest.mark.parametrize("way", ["SIGTERM", "stop"])
async def test_a_hung_file_probe_does_not_hold_it_up(home: Home, way: str) -> None:
    with mounted(home.top / "hung", "fuse.hung"):
        daemon = home.start()
        with watched(daemon.pid) as process:
            async with home.open_raw_connector(home.repository("app"), "--no-spawn") as client:
                await client.send_call(
                    1, "get_working_directory", meta=MODERN_META, directory=str(home.top / "hung" / "repo")
                )
                await client.call(2, "list_projects", meta=MODERN_META)  # so the probe is under way

                await tell_to_stop(home, process, way)

                assert await anyio.to_thread.run_sync(process.wait_end, END_SECONDS), home.log
    assert daemon.wait(5) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_second_signal_cuts_the_drain_short(number: signal.Signals) -> None:
    with open_home(WORKROOT_DRAIN_SECONDS="60") as home:
        daemon = home.start()
        with watched(daemon.pid) as process:
            async with home.open_raw_connector(home.repository("app"), "--no-spawn") as client:
                await client.initialize(roots=True)
                await client.send_call(1, "get_working_directory")
                await client.receive()  # the question for our roots: the call is under way

                process.signal(number)
                await home.wait_until_async(lambda: '"stopping"' in home.log, what="it drains")
                assert not process.wait_end(0.3), "the call may finish"
                process.signal(number)

                assert await anyio.to_thread.run_sync(process.wait_end, 2.0), home.log
        assert daemon.wait(5) == 0
        assert "what is under way is cut off" in home.log


def test_a_disk_that_does_not_let_the_store_be_closed_does_not_hold_it_up(home: Home) -> None:
    daemon = start_patched(
        home,
        "import threading; from workroot.storage.database import Database\n"
        "Database.close = lambda self: threading.Event().wait()",
    )
    with watched(daemon.pid) as process:
        process.signal(signal.SIGTERM)

        assert process.wait_end(END_SECONDS), home.log
    assert daemon.wait(5) == 1
    assert "it waits for: " in home.log
    assert "thread " in home.log


@pytest.mark.parametrize("hang", ["threading.Event().wait()", "os.read(os.pipe()[0], 1)", "exec('while True: pass')"])
def test_an_event_loop_that_hangs_does_not_hold_it_up(home: Home, hang: str) -> None:
    daemon = start_patched(
        home,
        "import os, threading, workroot.daemon\n"
        "async def hang(*_):\n"
        f"    {hang}\n"
        "workroot.daemon._leave_when_idle = hang",
    )
    with watched(daemon.pid) as process:
        process.signal(signal.SIGTERM)

        assert process.wait_end(END_SECONDS + 0.5), home.log
    assert daemon.wait(5) == 1
    assert "still there" in home.log


def test_a_daemon_that_fails_is_gone_in_time_too(home: Home) -> None:
    daemon = start_patched(
        home,
        "import threading, workroot.daemon; from workroot.storage.database import Database\n"
        "Database.close = lambda self: threading.Event().wait()\n"
        "async def fail(*_):\n"
        "    raise ZeroDivisionError('by us')\n"
        "workroot.daemon.switch_automatically = fail",
    )
    with watched(daemon.pid) as process:
        assert process.wait_end(END_SECONDS + 0.5), home.log
    assert daemon.wait(5) == 1
    assert "it waits for: " in home.log


def test_a_disk_that_does_not_let_the_store_be_opened_does_not_hold_it_up(home: Home) -> None:
    daemon = start_patched(
        home,
        "import os, sys, threading; from workroot.storage.database import Database\n"
        "def hang(self):\n"
        "    os.write(int(sys.argv[-1]), b'ready\\n')\n"
        "    threading.Event().wait()\n"
        "Database.open = hang",
    )

    with watched(daemon.pid) as process:
        process.signal(signal.SIGTERM)

        assert process.wait_end(END_SECONDS), home.log


def test_when_the_terminal_is_closed_in_which_it_was_started_it_ends(home: Home) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(WORKROOT, [WORKROOT, "serve"], home.environment)
    with watched(pid) as process:
        home.wait_until(home.is_running, what="it serves")
        os.kill(pid, signal.SIGHUP)
        home.wait_until(lambda: "settings read again" in home.log, what="a signal from elsewhere is a wish to reload")

        os.close(terminal)

        assert process.wait_end(END_SECONDS)
    assert os.waitpid(pid, 0)[1] == 0
    assert "its terminal was closed" in home.log
