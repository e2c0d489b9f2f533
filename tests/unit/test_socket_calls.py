"""Plain calls over the socket: which are answered beside the SDK, and what becomes of those that are taken back."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from mcp_types import JSONRPCNotification, JSONRPCRequest

from fakes import FakePlaces, ManualClock, place
from workroot.core.projects import Place
from workroot.core.sessions import Owner
from workroot.core.signs import Hint, Source
from workroot.decisions import DecisionLog
from workroot.mcp_face import McpFace
from workroot.peer import Peer
from workroot.session_context import SessionContextManager
from workroot.storage.memory import MemoryStore
from workroot.transports.message_writer import MessageWriter
from workroot.transports.socket_calls import SocketCalls
from workroot.trust import TrustStore

MODERN = "2026-07-28"


class Wire(anyio.abc.SocketStream):
    """Keeps what it is told; nobody reads it."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.is_gone = False
        self.heard = anyio.Event()

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if self.is_gone:
            raise anyio.BrokenResourceError
        self.told.append(json.loads(item))
        self.heard.set()

    async def receive(self, max_bytes: int = 65536) -> bytes:
        raise anyio.EndOfStream

    async def send_eof(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()

    @property
    def _raw_socket(self) -> None:  # type: ignore[override]  # there is none
        return None


class GatedPlaces(FakePlaces):
    """Finds nothing before its gate is open."""

    def __init__(self, places: dict[str, Place]) -> None:
        super().__init__(places)
        self.begun, self.gate = anyio.Event(), anyio.Event()

    async def find(self, directory: str) -> Place:
        self.begun.set()
        await self.gate.wait()
        return await super().find(directory)


class Connection:
    """One connection, and what its client was told."""

    def __init__(self, calls: SocketCalls, wire: Wire, writer: MessageWriter, places: GatedPlaces) -> None:
        self.calls, self.wire, self.writer, self.places = calls, wire, writer, places

    def say(self, message: JSONRPCRequest | JSONRPCNotification) -> bool:
        """Tell it a message; return whether the SDK need not see it."""
        self.writer.unanswered.note_incoming(message)
        return self.calls.take(message)

    def open(self) -> None:
        """Say what a client of the modern era says first."""
        assert not self.say(request(0, "server/discover", {}))
        self.writer.unanswered.note_answered(0)


@asynccontextmanager
async def connected(top: Path) -> AsyncIterator[Connection]:
    places, clock = GatedPlaces({"/a": place("/a", project="a")}), ManualClock()
    sessions = SessionContextManager(MemoryStore(), places, clock=clock)
    face = McpFace(sessions, DecisionLog(), TrustStore(top / "trust.json"), clock)
    peer = Peer(owner=Owner("uid:1"), hints=(Hint(Source.HEADER, "Workroot-Directory", "/a"),))
    wire = Wire()
    writer = MessageWriter(wire, peer, "now")
    with anyio.fail_after(5):
        async with sessions, anyio.create_task_group() as tasks:
            yield Connection(SocketCalls(face, writer, peer, tasks), wire, writer, places)
            tasks.cancel_scope.cancel()


def request(
    request_id: int | str, method: str = "tools/call", params: Any = None, *, version: object = MODERN
) -> JSONRPCRequest:
    given = {"name": "get_working_directory", "arguments": {}} if params is None else params
    envelope = {"protocolVersion": version, "clientCapabilities": {}, "clientInfo": {"name": "ada", "version": "1"}}
    meta = {f"io.modelcontextprotocol/{name}": value for name, value in envelope.items() if value is not None}
    return JSONRPCRequest(jsonrpc="2.0", id=request_id, method=method, params={**given, "_meta": meta})


def taken_back(request_id: int | str) -> JSONRPCNotification:
    return JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params={"requestId": request_id})


async def test_a_call_of_the_modern_era_is_answered_beside_the_sdk(tmp_path: Path) -> None:
    async with connected(tmp_path) as connection:
        connection.open()
        connection.places.gate.set()
        assert connection.say(request("seven"))
        await connection.writer.unanswered.wait_none()

    [answer] = connection.wire.told
    assert answer["id"] == "seven"
    assert answer["result"]["structuredContent"]["working_directory"] == "/a"


async def test_the_first_request_goes_to_the_sdk_which_goes_by_it(tmp_path: Path) -> None:
    async with connected(tmp_path) as connection:
        assert not connection.say(request(1))
        connection.places.gate.set()
        assert connection.say(request(2))


@pytest.mark.parametrize(
    "opening",
    [request(0, "initialize"), request(0, "ping", version=None), request(0, "ping", version="2025-11-25")],
    ids=["a handshake", "no version", "a version that is none of this era"],
)
async def test_on_a_connection_of_another_era_all_goes_to_the_sdk(opening: JSONRPCRequest, tmp_path: Path) -> None:
    async with connected(tmp_path) as connection:
        assert not connection.say(opening)
        assert not connection.say(request(1))


@pytest.mark.parametrize(
    "message",
    [request(1, "tools/list", {}), request(1, version="1999-01-01"), request(1, version=None), taken_back(1)],
    ids=["another method", "an unknown version", "no version", "a notification"],
)
async def test_what_is_no_plain_call_goes_to_the_sdk(
    message: JSONRPCRequest | JSONRPCNotification, tmp_path: Path
) -> None:
    async with connected(tmp_path) as connection:
        connection.open()
        assert not connection.say(message)


async def test_a_call_that_is_taken_back_is_not_answered_and_the_sdk_hears_of_it(tmp_path: Path) -> None:
    async with connected(tmp_path) as connection:
        connection.open()
        assert connection.say(request(1))
        assert connection.say(request(2))
        await connection.places.begun.wait()
        assert not connection.say(taken_back("1"))  # 1 and "1" are one to the SDK
        connection.places.gate.set()
        await connection.writer.unanswered.wait_none()
        await anyio.wait_all_tasks_blocked()

    assert [answer["id"] for answer in connection.wire.told] == [2]


async def test_a_call_that_is_taken_back_before_it_began_is_not_answered(tmp_path: Path) -> None:
    async with connected(tmp_path) as connection:
        connection.open()
        assert connection.say(request(1))
        connection.say(taken_back(1))
        connection.places.gate.set()
        await anyio.wait_all_tasks_blocked()

    assert connection.wire.told == []


async def test_of_two_calls_with_one_id_both_are_answered(tmp_path: Path) -> None:
    async with connected(tmp_path) as connection:
        connection.open()
        assert connection.say(request(1))
        assert connection.say(request(1))
        connection.places.gate.set()
        await connection.writer.unanswered.wait_none()

    assert [answer["id"] for answer in connection.wire.told] == [1, 1]


async def test_an_error_is_an_answer(tmp_path: Path) -> None:
    async with connected(tmp_path) as connection:
        connection.open()
        assert connection.say(request(1, params={"name": "no_such_tool"}))
        await connection.wire.heard.wait()

    [answer] = connection.wire.told
    assert answer["id"] == 1
    assert "no_such_tool" in answer["error"]["message"]


async def test_a_client_that_leaves_before_its_answer_is_nobody_s_fault(tmp_path: Path) -> None:
    async with connected(tmp_path) as connection:
        connection.open()
        assert connection.say(request(1))
        await connection.places.begun.wait()
        connection.wire.is_gone = True
        connection.places.gate.set()
        await anyio.wait_all_tasks_blocked()

    assert connection.wire.told == []


async def test_what_a_client_says_of_itself_counts_for_the_call_that_says_it(tmp_path: Path) -> None:
    async with connected(tmp_path) as connection:
        connection.open()
        connection.places.gate.set()
        assert connection.say(request(1))
        await connection.writer.unanswered.wait_none()
        other = request(2)
        assert other.params is not None
        other.params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = {"roots": {}}
        assert connection.say(other)
        await connection.writer.unanswered.wait_none()

    assert [answer["result"]["resultType"] for answer in connection.wire.told] == ["complete", "input_required"]


async def test_a_client_that_says_very_much_of_itself_has_none_of_it_kept(tmp_path: Path) -> None:
    name = "x" * 100_000
    before = sys.getrefcount(name)
    async with connected(tmp_path) as connection:
        connection.open()
        connection.places.gate.set()
        for number in (1, 2):
            message = request(number)
            assert message.params is not None
            message.params["_meta"]["io.modelcontextprotocol/clientInfo"]["name"] = name
            assert connection.say(message)
            del message
            await connection.writer.unanswered.wait_none()
        await anyio.wait_all_tasks_blocked()
        gc.collect()

        assert sys.getrefcount(name) == before
    assert [answer["id"] for answer in connection.wire.told] == [1, 2]
