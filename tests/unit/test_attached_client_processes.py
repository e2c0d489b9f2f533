"""Which process is asked where the sender of a request works: one for each connection, never that of another one."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import Scope

from workroot.attached.client_processes import ClientProcesses
from workroot.transports.peer_process import FoundProcess, PeerProcesses, TcpEnds
from workroot.transports.shared_processes import Program

SERVER = ("127.0.0.1", 7800)


class Found:
    """A process whose directory tells how many were found before it."""

    def __init__(self, number: int) -> None:
        self.pid, self.program = 100 + number, Program(executable="/bin/editor", title="editor", arguments=())
        self.place: str | None = f"/found/{number}"

    def directory(self) -> str | None:
        return self.place


class Finder:
    def __init__(self) -> None:
        self.asked: list[TcpEnds] = []

    def find(self, ends: TcpEnds, likely: Iterable[int], deadline: float) -> FoundProcess | None:
        self.asked.append(ends)
        return Found(len(self.asked))


def request(client: tuple[str, int] | None, server: tuple[str, int] | None = SERVER) -> Scope:
    return {"type": "http", "method": "POST", "client": client, "server": server}


def connection(port: int = 5000) -> tuple[str, int]:
    """Return what an ASGI server names a new connection's client by: the same text, and another object each time."""
    return tuple(["127.0.0.1", port])  # type: ignore[return-value]  # noqa: C409 -- a literal would be one object


async def directory_of(processes: ClientProcesses, scope: Scope) -> str:
    process = processes.of(scope)
    assert process is not None
    hint = await process.hint()
    assert hint is not None
    return hint.directory


async def test_the_requests_of_a_connection_have_one_search() -> None:
    finder, ada, bob = Finder(), connection(5000), connection(5001)
    processes = ClientProcesses(PeerProcesses(finder))

    directories = [await directory_of(processes, request(each)) for each in (ada, bob, ada, bob)]

    assert directories == ["/found/1", "/found/2", "/found/1", "/found/2"]
    assert finder.asked == [TcpEnds(ada, SERVER), TcpEnds(bob, SERVER)]


async def test_a_later_connection_from_the_same_port_is_looked_for_anew() -> None:
    finder = Finder()
    processes = ClientProcesses(PeerProcesses(finder))

    assert await directory_of(processes, request(connection())) == "/found/1"
    assert await directory_of(processes, request(connection())) == "/found/2"


async def test_so_many_connections_are_remembered_and_those_in_use_for_longest() -> None:
    finder, first, second, third = Finder(), connection(1), connection(2), connection(3)
    processes = ClientProcesses(PeerProcesses(finder), most_connections=2)

    for each in (first, second, first, third, first, second):
        await directory_of(processes, request(each))

    assert [ends.client[1] for ends in finder.asked] == [1, 2, 3, 2]


def test_only_both_ends_on_loopback_have_a_process_here() -> None:
    processes = ClientProcesses(PeerProcesses(Finder()))

    assert processes.of(request(("192.0.2.1", 5000))) is None
    assert processes.of(request(connection(), ("192.0.2.1", 80))) is None
    assert processes.of(request(None)) is None
    assert processes.of(request(connection(), None)) is None
