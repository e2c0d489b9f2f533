"""Lines of a socket as the SDK's messages."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import SocketStream, UNIXSocketStream
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from workroot.core.sessions import Owner
from workroot.peer import Peer
from workroot.transports.lines import LineReader
from workroot.transports.message_reader import MessageReader
from workroot.transports.message_writer import MessageWriter


class Wire(SocketStream):
    """What the other side says is given; what it is told is kept."""

    def __init__(self, *said: bytes) -> None:
        self.said = list(said)
        self.told = b""
        self.is_stuck = self.is_closed = False

    async def receive(self, max_bytes: int = 65536) -> bytes:
        await anyio.lowlevel.checkpoint()
        if not self.said:
            raise anyio.EndOfStream
        return self.said.pop(0)

    async def send(self, item: bytes) -> None:
        await anyio.lowlevel.checkpoint()
        if self.is_stuck:
            self.told += item[: len(item) // 2]
            await anyio.sleep_forever()
        self.told += item

    async def send_eof(self) -> None:
        await anyio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.is_closed = True

    @property
    def _raw_socket(self) -> None:  # type: ignore[override]  # there is none
        return None


def connect(wire: Wire, boot: str = "now") -> tuple[MessageReader, MessageWriter]:
    peer = Peer(owner=Owner("uid:1"))
    writer = MessageWriter(wire, peer, boot)
    return MessageReader(LineReader(wire), writer, peer, boot), writer


@asynccontextmanager
async def reading(reader: MessageReader) -> AsyncIterator[MessageReader]:
    """Have the lines read for as long as this is entered."""
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.read_lines)
            yield reader
            tasks.cancel_scope.cancel()


def answer(request_id: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": request_id, "result": {}}).encode() + b"\n"


async def test_an_answer_to_this_daemon_arrives_and_one_to_an_earlier_daemon_does_not() -> None:
    reader, _ = connect(Wire(answer("before:0"), answer("0"), answer("nowhere:0"), answer("now:0")))

    async with reading(reader):
        arrived = [item.message async for item in reader]

    assert arrived == [JSONRPCResponse(jsonrpc="2.0", id=0, result={})]


async def test_a_request_to_the_client_carries_the_id_of_this_boot() -> None:
    wire = Wire()
    _, writer = connect(wire)

    await writer.send(SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=7, method="roots/list")))

    assert json.loads(wire.told) == {"jsonrpc": "2.0", "id": "now:7", "method": "roots/list"}


@pytest.mark.row("B30")
async def test_a_request_to_the_client_is_taken_back_under_the_id_that_it_was_sent_with() -> None:
    wire = Wire()
    _, writer = connect(wire)
    params = {"requestId": 7, "reason": "nobody waits"}

    await writer.send(
        SessionMessage(JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=params))
    )

    assert json.loads(wire.told)["params"] == {"requestId": "now:7", "reason": "nobody waits"}


@pytest.mark.parametrize("cut", [1, 7, 64])
async def test_messages_arrive_however_they_were_cut_and_blank_lines_say_nothing(cut: int) -> None:
    said = b'\n{"jsonrpc":"2.0","id":1,"method":"ping"}\r\n \n{"jsonrpc":"2.0","id":"two","method":"ping"}\n{"half'
    reader, writer = connect(Wire(*(said[start : start + cut] for start in range(0, len(said), cut))))
    ids = []

    async with reading(reader):
        async for item in reader:
            assert isinstance(item.message, JSONRPCRequest)
            ids.append(item.message.id)
            await writer.send(SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=item.message.id, result={})))

    assert ids == [1, "two"]


@pytest.mark.parametrize("size", [10, 3_000_000], ids=["at once", "more than the socket takes at once"])
async def test_lines_to_a_real_socket_arrive_whole_and_one_after_the_other(size: int) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with anyio.fail_after(10):
        async with (
            await UNIXSocketStream.from_socket(ours) as stream,
            await UNIXSocketStream.from_socket(theirs) as client,
        ):
            writer = MessageWriter(stream, Peer(owner=Owner("uid:1")), "now", raw=ours)
            async with anyio.create_task_group() as tasks:
                for number in range(5):
                    line = json.dumps({"id": number, "result": "x" * size}).encode() + b"\n"
                    tasks.start_soon(writer.answer, number, line)
                lines = LineReader(client)
                told = [json.loads(await lines.receive(most_bytes=2 * size + 100)) for _ in range(5)]

    assert sorted(answer["id"] for answer in told) == list(range(5))
    assert {len(answer["result"]) for answer in told} == {size}


async def test_who_is_gone_is_noticed_by_an_answer_and_nothing_of_its_is_waited_for() -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with anyio.fail_after(5):
        async with await UNIXSocketStream.from_socket(ours) as stream:
            writer = MessageWriter(stream, Peer(owner=Owner("uid:1")), "now", raw=ours)
            writer.unanswered.note_incoming(JSONRPCRequest(jsonrpc="2.0", id=1, method="ping"))
            writer.unanswered.note_incoming(JSONRPCRequest(jsonrpc="2.0", id=2, method="ping"))
            theirs.close()
            with pytest.raises(anyio.BrokenResourceError):
                await writer.answer(1, b"{}\n")
            await writer.unanswered.wait_none()


async def test_after_a_part_of_a_line_nothing_more_is_written_and_the_connection_ends() -> None:
    wire = Wire()
    _, writer = connect(wire)
    wire.is_stuck = True
    message = SessionMessage(JSONRPCResponse(jsonrpc="2.0", id=1, result={}))
    failed = []

    async def send() -> None:
        try:
            await writer.send(message)
        except anyio.BrokenResourceError:
            failed.append(True)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            tasks.start_soon(send)
            await anyio.wait_all_tasks_blocked()
            writer.give_up()

    assert failed == [True, True]
    assert wire.is_closed
    assert wire.told.count(b"jsonrpc") == 1


@pytest.mark.parametrize("bad", [b"1.5", b"null", b"true"])
async def test_a_request_with_an_id_that_is_none_is_refused_and_not_taken_for_a_notification(bad: bytes) -> None:
    wire = Wire(b'{"jsonrpc":"2.0","id":%s,"method":"ping"}\n' % bad)
    reader, _ = connect(wire)

    async with reading(reader):
        assert [item async for item in reader] == []
    assert json.loads(wire.told)["error"]["code"] == -32600


async def test_what_the_sdk_keeps_of_a_connection_is_short_and_later_messages_may_be_long() -> None:
    long = b'{"jsonrpc":"2.0","id":%d,"method":"ping","params":{"x":"' + b"x" * 70_000 + b'"}}\n'
    wire = Wire(long % 1, b'{"jsonrpc":"2.0","id":2,"method":"ping"}\n', long % 3)
    reader, _ = connect(wire)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(reader.read_lines)
            taken = [(await reader.receive()).message for _ in range(2)]
            tasks.cancel_scope.cancel()

    assert [getattr(message, "id", None) for message in taken] == [2, 3]
    assert b"must begin with a short message" in wire.told
    assert b'"id":1' in wire.told
