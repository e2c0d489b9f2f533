"""Control requests with ids: answered beside each other, ended one by one, and all together when the client leaves."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from types import SimpleNamespace
from typing import Any

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.server.lowlevel.server import Server

from fakes import FakePlaces, Gate, ManualClock
from workroot import rendezvous
from workroot.core.sessions import Owner
from workroot.errors import ExpiredSessionError
from workroot.limits import Limits
from workroot.logs.loop_errors import Seldom
from workroot.session_context import SessionContextManager
from workroot.storage.memory import MemoryStore
from workroot.transports.control_requests import ControlRequests
from workroot.transports.unix_socket import UnixSocketTransport

LIMITS = Limits(max_requests_in_flight=3, write_seconds=0.3)


class Commands:
    """Holds every command `hold` until the test lets it go, and notes which of them were given up."""

    def __init__(self) -> None:
        self.gates: dict[str, Gate] = {}
        self.given_up: list[str] = []
        self.ended = anyio.Event()

    def hold(self, name: str) -> Gate:
        self.gates[name] = gate = Gate()
        return gate

    async def __call__(self, command: str, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        if command == "expired":
            raise ExpiredSessionError("s", "/app")
        if (gate := self.gates.get(command)) is not None:
            try:
                await gate.pass_through()
            except anyio.get_cancelled_exc_class():
                self.given_up.append(command)
                self.ended.set()
                raise
        return {"done": command} if command != "long" else {"text": "x" * 4 * 1024 * 1024}


class Client:
    def __init__(self, stream: anyio.abc.SocketStream) -> None:
        self.stream, self._lines = stream, BufferedByteReceiveStream(stream)

    async def send(self, **fields: object) -> None:
        await self.stream.send(json.dumps(fields).encode() + b"\n")

    async def request(self, number: int | str, command: str) -> None:
        await self.send(id=number, command=command, arguments={})

    async def receive(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await self._lines.receive_until(b"\n", 65536))
        return answer


@asynccontextmanager
async def served(commands: Commands) -> AsyncIterator[tuple[UnixSocketTransport, str]]:
    sessions = SessionContextManager(MemoryStore(), FakePlaces({}), clock=ManualClock())
    transport = UnixSocketTransport(
        Server("test"),
        sessions,
        owner=Owner("uid:1"),
        boot="now",
        control=commands,
        needed=nullcontext,
        limits=LIMITS,
    )
    with anyio.fail_after(5), socket.socket(socket.AF_UNIX) as listening:
        listening.bind("")  # an abstract name that the system chooses
        listening.listen()
        name = "\0" + listening.getsockname()[1:].decode()
        listener = transport.listen_on(listening)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(transport.serve, listener, tasks)
            yield transport, name
            await listener.aclose()


@asynccontextmanager
async def connected(name: str, *, stays: bool = True) -> AsyncIterator[Client]:
    async with await anyio.connect_unix(name) as stream:
        client = Client(stream)
        await stream.send(rendezvous.hello_line(role="control", version="1", stays=stays))
        assert "boot" in await client.receive()
        yield client


async def test_an_answer_waits_for_no_other_and_carries_its_id() -> None:
    commands = Commands()
    gate = commands.hold("slow")
    async with served(commands) as (_, name), connected(name) as client:
        await client.request(1, "slow")
        await client.request("two", "quick")
        assert await client.receive() == {"id": "two", "result": {"done": "quick"}}
        gate.open()
        assert await client.receive() == {"id": 1, "result": {"done": "slow"}}


async def test_an_error_brings_what_it_says_beside_its_text() -> None:
    async with served(Commands()) as (_, name), connected(name) as client:
        await client.request(1, "expired")
        error = (await client.receive())["error"]

    assert (error["code"], error["message"]) == ("expired_session", str(ExpiredSessionError("s", "/app")))
    assert error["attributes"] == {"session_id": "s", "last_directory": "/app"}


async def test_one_is_ended_by_its_id_and_the_others_go_on() -> None:
    commands = Commands()
    first, second = commands.hold("first"), commands.hold("second")
    async with served(commands) as (_, name), connected(name) as client:
        await client.request(1, "first")
        await client.request(2, "second")
        await second.reached.wait()
        await client.send(cancel=1)
        await client.send(cancel=99)
        await commands.ended.wait()
        first.open()
        second.open()
        assert await client.receive() == {"id": 2, "result": {"done": "second"}}
        await client.request(1, "again")
        assert await client.receive() == {"id": 1, "result": {"done": "again"}}

    assert commands.given_up == ["first"]


async def test_one_that_is_ended_before_it_began_leaves_its_room_to_others() -> None:
    async with served(Commands()) as (_, name), connected(name) as client:
        for number in range(2 * LIMITS.max_requests_in_flight):
            request = json.dumps({"id": number, "command": "quick", "arguments": {}})
            await client.stream.send(f'{request}\n{{"cancel": {number}}}\n'.encode())  # both at once
        await client.request("last", "quick")
        while (answer := await client.receive())["id"] != "last":
            pass

    assert answer["result"] == {"done": "quick"}


async def test_who_does_not_read_its_answers_is_let_go() -> None:
    commands = Commands()
    async with served(commands) as (transport, name), connected(name) as client:
        await client.request(1, "long")
        while transport.connections:
            await anyio.lowlevel.checkpoint()

    assert commands.given_up == []


async def test_who_hangs_up_ends_its_own_and_nobody_else_s() -> None:
    commands = Commands()
    mine, other = commands.hold("mine"), commands.hold("other's")
    async with served(commands) as (_, name), connected(name) as stays:
        async with connected(name) as leaves:
            await leaves.request(1, "mine")
            await stays.request(1, "other's")
            await mine.reached.wait()
            await other.reached.wait()
        await commands.ended.wait()
        other.open()
        assert await stays.receive() == {"id": 1, "result": {"done": "other's"}}

    assert commands.given_up == ["mine"]


async def test_so_many_are_answered_at_once_and_the_next_waits() -> None:
    commands = Commands()
    gates = [commands.hold(f"held{number}") for number in range(4)]
    async with served(commands) as (_, name), connected(name) as client, connected(name) as other:
        for number in range(4):
            await client.request(number, f"held{number}")
        await gates[2].reached.wait()
        await other.request(1, "quick")
        assert (await other.receive())["result"] == {"done": "quick"}
        assert not gates[3].reached.is_set()
        gates[0].open()
        await gates[3].reached.wait()
        for gate in gates[1:]:
            gate.open()
        assert sorted([(await client.receive())["id"] for _ in range(4)]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("request_line", "problem"),
    [
        ({"id": "x" * 65, "command": "a", "arguments": {}}, "an id may have 64 characters at most"),
        ({"id": 1, "command": "a", "arguments": {"text": "x" * 600_000}}, "may have 524288 bytes at most"),
        ({"id": 7, "command": "a", "arguments": {}}, "a request of this id is under way"),
    ],
)
async def test_what_cannot_be_answered_beside_others_is_refused_under_its_id(
    request_line: dict[str, Any], problem: str
) -> None:
    commands = Commands()
    gate = commands.hold("held")
    async with served(commands) as (_, name), connected(name) as client:
        await client.request(7, "held")
        await gate.reached.wait()
        await client.send(**request_line)
        refused = await client.receive()
        gate.open()
        assert await client.receive() == {"id": 7, "result": {"done": "held"}}

    assert (refused["id"], refused["error"]["code"]) == (request_line["id"], "invalid_request")
    assert problem in refused["error"]["message"]


async def test_what_is_under_way_at_the_end_is_answered_and_then_the_connection_ends() -> None:
    commands = Commands()
    gate = commands.hold("slow")
    async with served(commands) as (transport, name), connected(name) as client:
        await client.request(1, "slow")
        await gate.reached.wait()
        is_idle = anyio.Event()

        async def wait_idle() -> None:
            await transport.wait_idle()
            is_idle.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_idle)
            await anyio.wait_all_tasks_blocked()
            assert not is_idle.is_set()
            gate.open()
        assert await client.receive() == {"id": 1, "result": {"done": "slow"}}
        assert await client.receive() == {"ending": True}, "what has no answer by now was not begun"
        with pytest.raises(anyio.IncompleteRead):
            await client.receive()

    assert commands.given_up == []


async def test_what_was_not_begun_at_the_end_is_not_answered_before_that_is_told() -> None:
    commands = Commands()
    gate = commands.hold("slow")
    async with served(commands) as (transport, name), connected(name) as client:
        for number in range(LIMITS.max_requests_in_flight + 1):
            await client.request(number, "slow")
        await gate.reached.wait()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(transport.wait_idle)
            await anyio.lowlevel.checkpoint()
            gate.open()
        told = [await client.receive() for _ in range(LIMITS.max_requests_in_flight + 1)]
        with pytest.raises(anyio.IncompleteRead):
            await client.receive()

    assert sorted(each["id"] for each in told[:-1]) == [*range(LIMITS.max_requests_in_flight)]
    assert told[-1] == {"ending": True}


async def test_who_got_half_an_answer_is_not_told_of_the_end_after_it() -> None:
    said: list[bytes] = []
    is_asked = anyio.Event()

    class Lines:
        on_line: object = None

        async def receive(self) -> bytes:
            if is_asked.is_set():
                await anyio.sleep_forever()
            is_asked.set()
            return b'{"id": 1, "command": "slow", "arguments": {}}'

        def done(self) -> None: ...

    async def say(line: bytes) -> None:
        said.append(line)
        raise anyio.BrokenResourceError

    commands = Commands()
    gate = commands.hold("slow")
    place: Any = SimpleNamespace(note_asked=None, is_busy=None, is_reserved=False)
    lines: Any = Lines()
    requests = ControlRequests(lines, say, commands, place=place, limits=LIMITS, seldom=Seldom())
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(requests.serve)
            await gate.reached.wait()
            tasks.start_soon(requests.finish)
            await anyio.wait_all_tasks_blocked()
            gate.open()

    assert len(said) == 1


async def test_requests_without_an_id_are_answered_in_their_order() -> None:
    commands = Commands()
    gate = commands.hold("slow")
    async with served(commands) as (_, name), connected(name) as client:
        await client.send(command="slow", arguments={})
        await client.send(command="quick", arguments={})
        await gate.reached.wait()
        gate.open()
        assert [(await client.receive())["result"]["done"] for _ in range(2)] == ["slow", "quick"]


async def test_a_program_that_stays_counts_as_connected_and_the_command_line_does_not() -> None:
    async with served(Commands()) as (transport, name):
        async with connected(name, stays=False), connected(name) as client:
            await client.request(1, "quick")
            await client.receive()
            assert transport.connections == 1
        while transport.connections:
            await anyio.lowlevel.checkpoint()
