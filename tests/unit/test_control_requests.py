"""Control requests of the Unix socket: what of them is the client's fault, and what is ours."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.server.lowlevel.server import Server

from fakes import FakePlaces, ManualClock
from workroot import rendezvous
from workroot.core.sessions import Owner
from workroot.session_context import SessionContextManager
from workroot.storage.memory import MemoryStore
from workroot.transports.unix_socket import UnixSocketTransport

FAULTS: dict[str, Exception] = {"key": KeyError("ours"), "type": TypeError("ours"), "value": ValueError("ours")}


async def fail(command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    if command in FAULTS:
        raise FAULTS[command]
    return {"done": object() if command == "unspeakable" else command, **arguments}


class Client:
    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self._stream, self._lines = stream, BufferedByteReceiveStream(stream)

    async def ask(self, line: bytes) -> dict[str, Any]:
        await self._stream.send(line + b"\n")
        answer: dict[str, Any] = json.loads(await self._lines.receive_until(b"\n", 65536))
        return answer


@asynccontextmanager
async def a_client() -> AsyncIterator[Client]:
    sessions = SessionContextManager(MemoryStore(), FakePlaces({}), clock=ManualClock())
    transport = UnixSocketTransport(Server("test"), sessions, owner=Owner("uid:1"), boot="now", control=fail)
    with anyio.fail_after(5), socket.socket(socket.AF_UNIX) as listening:
        listening.bind("")  # an abstract name that the system chooses
        listening.listen()
        name = "\0" + listening.getsockname()[1:].decode()
        listener = transport.listen_on(listening)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(transport.serve, listener, tasks)
            async with await anyio.connect_unix(name) as stream:
                client = Client(stream)
                assert "boot" in await client.ask(rendezvous.hello_line(role="control", version="1").strip())
                yield client
            await listener.aclose()


def request(command: str) -> bytes:
    return json.dumps({"command": command, "arguments": {}}).encode()


async def test_a_result_that_cannot_be_told_is_our_fault_and_the_connection_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with a_client() as client:
        answer = await client.ask(b'{"id": 7, "command": "unspeakable", "arguments": {}}')
        assert (await client.ask(request("next")))["result"] == {"done": "next"}

    assert (answer["id"], answer["error"]["code"]) == (7, "internal_error")
    assert "object is not JSON serializable" in caplog.text


@pytest.mark.parametrize(("command", "code"), [("key", "internal_error"), ("value", "internal_error")])
async def test_a_fault_of_a_command_is_told_as_ours_and_logged_and_the_connection_goes_on(
    command: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_client() as client:
        error = (await client.ask(request(command)))["error"]
        assert (await client.ask(request("next")))["result"] == {"done": "next"}

    assert error == {"code": code, "message": f"the command {command!r} failed; the daemon's log says why"}
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert record.exc_info is not None
    assert record.exc_info[1] is FAULTS[command]


async def test_arguments_that_a_command_does_not_take_are_the_client_s_fault_and_logged_in_case_they_are_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with a_client() as client:
        error = (await client.ask(request("type")))["error"]

    assert error["code"] == "invalid_request"
    assert error["message"] == "the arguments are not those of the command 'type'"
    assert "'type' failed" in caplog.text


@pytest.mark.parametrize("line", [b"no", b"[]", b'{"command": "a", "arguments": []}', b"[" * 60_000])
async def test_what_is_no_request_is_refused_and_not_logged(line: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async with a_client() as client:
        error = (await client.ask(line))["error"]

    assert error == {"code": "invalid_request", "message": "this is not a control request"}
    assert "failed" not in caplog.text
