"""Connections of the HTTP face with an application of the tests' own behind them, on both event loops."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

import anyio
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from workroot.counters import Counters, Refusal
from workroot.limits import DEFAULT_LIMITS, Limits
from workroot.transports import http_connections
from workroot.transports.http_connections import HttpConnections
from workroot.transports.http_protocol import HttpConnection
from workroot.transports.peer_process import PeerProcesses

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
EVERY_LOOP = pytest.mark.parametrize("uvloop", [False, True])


@dataclass
class Application:
    """Answers with *size* bytes, to `/wait` only when it may."""

    size: int = 0
    may_answer: anyio.Event = field(default_factory=anyio.Event)
    entered: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.entered.set()
        if scope["path"] == "/wait":
            await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(self.size // 65536):
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        self.ended.set()


@dataclass
class Face:
    app: Application
    connections: HttpConnections
    counters: Counters
    port: int
    stop_accepting: Callable[[], None]

    def connect(self, path: str, *, receive_buffer: int | None = None) -> socket.socket:
        """Return a connection over which a request was sent."""
        made = socket.socket()
        if receive_buffer is not None:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        made.settimeout(5)
        made.connect(("127.0.0.1", self.port))
        made.sendall(REQUEST.replace(b"/ ", path.encode() + b" ", 1))
        return made


@asynccontextmanager
async def serving(
    app: Application, limits: Limits = DEFAULT_LIMITS, *, counters: Counters | None = None
) -> AsyncIterator[Face]:
    counters, listener = counters or Counters(), socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    connections = HttpConnections(limits, counters, PeerProcesses())
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            accepting = anyio.CancelScope()

            async def accept() -> None:
                with accepting:
                    await connections.serve(app, listener)

            tasks.start_soon(accept)
            yield Face(app, connections, counters, listener.getsockname()[1], accepting.cancel)
            accepting.cancel()
        await connections.end(0)


def run(test: Callable[[], Awaitable[None]], *, uvloop: bool) -> None:
    anyio.run(test, backend_options={"use_uvloop": uvloop})


async def rest(connection: socket.socket) -> bytes:
    """Return all that comes until the connection is closed."""

    def read() -> bytes:
        received = b""
        with connection:
            while part := connection.recv(65536):
                received += part
        return received

    return await anyio.to_thread.run_sync(read)


@EVERY_LOOP
def test_a_client_that_takes_nothing_of_its_answer_is_cut_off(uvloop: bool) -> None:
    async def test() -> None:
        app = Application(size=64 * 1024 * 1024)
        async with serving(app, Limits(write_seconds=0.2)) as face:
            with face.connect("/", receive_buffer=4096):
                await app.ended.wait()
            assert face.counters.counts() == {"slow_reader": 1}

    run(test, uvloop=uvloop)


@EVERY_LOOP
def test_an_end_is_not_held_up_by_a_client_that_takes_nothing(uvloop: bool) -> None:
    async def test() -> None:
        app = Application(size=64 * 1024 * 1024)
        async with serving(app, Limits(write_seconds=3600)) as face:
            with face.connect("/", receive_buffer=4096):
                await app.entered.wait()
                face.stop_accepting()
                with anyio.fail_after(2):
                    await face.connections.end(0.1)
                    await app.ended.wait()

    run(test, uvloop=uvloop)


@EVERY_LOOP
def test_an_end_closes_what_is_idle_and_waits_for_what_is_not(uvloop: bool) -> None:
    async def test() -> None:
        app = Application()
        async with serving(app) as face, anyio.create_task_group() as tasks:
            idle = face.connect("/")
            await app.ended.wait()
            busy = face.connect("/wait")
            app.entered = anyio.Event()
            await app.entered.wait()
            face.stop_accepting()
            tasks.start_soon(face.connections.end, 10)
            assert (await rest(idle)).endswith(b"0\r\n\r\n")
            app.may_answer.set()
            answer = await rest(busy)
            assert b"connection: close" in answer
            assert answer.endswith(b"0\r\n\r\n")

    run(test, uvloop=uvloop)


class NotedCounters(Counters):
    """Says when something was counted."""

    def __init__(self) -> None:
        super().__init__()
        self.counted = anyio.Event()

    def add(self, kind: Refusal, amount: int = 1) -> None:
        super().add(kind, amount)
        self.counted.set()


@EVERY_LOOP
def test_no_descriptor_left_is_told_once_and_waited_out(
    uvloop: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_connections, "_PAUSE_SECONDS", 0.01)

    async def test() -> None:
        app, counters = Application(), NotedCounters()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        async with serving(app, counters=counters) as face:
            with socket.socket() as client:
                open_already = max(map(int, os.listdir("/proc/self/fd")))
                taken = [os.dup(0)]
                while taken[-1] < open_already:
                    taken.append(os.dup(0))
                resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1, hard))
                try:
                    client.connect(("127.0.0.1", face.port))
                    for _ in range(3):
                        counters.counted = anyio.Event()
                        await counters.counted.wait()
                finally:
                    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                    for descriptor in taken:
                        os.close(descriptor)
                client.sendall(REQUEST)
                await app.ended.wait()

    run(test, uvloop=uvloop)
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert told == "no connection over HTTP can be accepted (Too many open files); those that come wait"


class Transport:
    """A connection whose client takes some of what it is sent, and then nothing more."""

    def __init__(self) -> None:
        self.unsent = [500, 300, 299, 299]
        self.aborted = anyio.Event()

    def get_write_buffer_size(self) -> int:
        return self.unsent.pop(0)

    def set_write_buffer_limits(self, high: int) -> None:
        assert high == 0

    def get_extra_info(self, _: str) -> None:
        return None

    def abort(self) -> None:
        self.aborted.set()


async def test_of_a_clients_slowness_only_standing_still_counts() -> None:
    transport, counters = Transport(), Counters()
    connection = HttpConnection(
        uvicorn.Config(Application(), ws="none", log_config=None),
        ServerState(),
        limits=Limits(write_seconds=0.01),
        counters=counters,
        processes=PeerProcesses(),
        on_made=lambda _: None,
        on_lost=lambda _: None,
    )
    connection.connection_made(cast("asyncio.Transport", transport))
    connection.pause_writing()
    with anyio.fail_after(5):
        await transport.aborted.wait()
    assert transport.unsent == []
    assert counters.counts() == {"slow_reader": 1}
    connection.connection_lost(OSError())
