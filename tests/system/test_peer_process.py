"""Which process is at the other end of a connection, and where it works: real processes, real sockets."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import pytest
from child_client import ChildClient, child_client

from workroot.core.signs import Hint, Source
from workroot.transports.peer_process import FoundProcess, PeerProcess, PeerProcesses, ProcessFinder, TcpEnds
from workroot.transports.peer_process_linux import LinuxProcesses
from workroot.transports.peer_process_psutil import PsutilProcesses
from workroot.transports.shared_processes import Program

NOBODY = 65534
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
root_only = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root can become another")


@pytest.fixture(params=[pytest.param("proc", marks=linux_only), "psutil"])
def finder(request: pytest.FixtureRequest) -> ProcessFinder:
    return LinuxProcesses() if request.param == "proc" else PsutilProcesses()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def peer_of(
    client: ChildClient, listener: socket.socket, finder: ProcessFinder, family: socket.AddressFamily = socket.AF_INET
) -> PeerProcess:
    """Connect *client*, and return what is asked about the connection; it waits to be accepted for the test's time."""
    ends = TcpEnds(client.connect(port_of(listener), family), ("127.0.0.1", port_of(listener)))
    return PeerProcesses(finder, search_seconds=5).at(ends)


async def hint_of(peer: PeerProcess) -> Hint | None:
    with anyio.fail_after(8):
        return await peer.hint()


@contextmanager
def working_in(directory: Path, *arguments: str, before: tuple[str, ...] = ()) -> Iterator[ChildClient]:
    directory.mkdir(exist_ok=True)
    with child_client(directory, *arguments, before=before) as client:
        yield client


async def test_a_process_suggests_the_directory_that_it_was_started_in(
    tmp_path: Path, listener: socket.socket, finder: ProcessFinder
) -> None:
    with working_in(tmp_path / "app") as client:
        hint = await hint_of(peer_of(client, listener, finder))

        assert hint == Hint(Source.PROCESS, f"process {client.pid} (child_client)", str(tmp_path / "app"))


async def test_a_process_that_went_elsewhere_suggests_where_it_is_now(
    tmp_path: Path, listener: socket.socket, finder: ProcessFinder
) -> None:
    (tmp_path / "later").mkdir()
    with working_in(tmp_path / "app") as client:
        peer = peer_of(client, listener, finder)
        first = await hint_of(peer)
        client.chdir(tmp_path / "later")
        second = await hint_of(peer)

    assert [hint.directory for hint in (first, second) if hint] == [str(tmp_path / "app"), str(tmp_path / "later")]


async def test_each_connection_has_its_own_process(
    tmp_path: Path, listener: socket.socket, finder: ProcessFinder
) -> None:
    with working_in(tmp_path / "one") as one, working_in(tmp_path / "other") as other:
        peers = [peer_of(client, listener, finder) for client in (one, other, one)]
        hints = [await hint_of(peer) for peer in peers]

    assert [Path(hint.directory).name for hint in hints if hint] == ["one", "other", "one"]


async def test_an_end_that_speaks_both_versions_of_ip_is_found_too(
    tmp_path: Path, listener: socket.socket, finder: ProcessFinder
) -> None:
    with working_in(tmp_path / "app") as client:
        hint = await hint_of(peer_of(client, listener, finder, socket.AF_INET6))

    assert hint is not None
    assert hint.directory == str(tmp_path / "app")


async def test_an_extension_host_gives_its_reason_instead_of_a_directory(
    tmp_path: Path, listener: socket.socket, finder: ProcessFinder
) -> None:
    with working_in(tmp_path / "app", "--type=extensionHost") as client:
        hint = await hint_of(peer_of(client, listener, finder))

    assert hint is not None
    assert (hint.directory, hint.problem) == ("", "is an application that may have several projects open")


async def test_a_process_that_has_ended_gives_no_sign(
    tmp_path: Path, listener: socket.socket, finder: ProcessFinder
) -> None:
    with working_in(tmp_path / "app") as client:
        asked, unasked = (peer_of(client, listener, finder) for _ in range(2))
        assert await hint_of(asked) is not None

    assert await hint_of(asked) is None
    assert await hint_of(unasked) is None


async def test_this_very_process_gives_no_sign(listener: socket.socket, finder: ProcessFinder) -> None:
    with socket.create_connection(listener.getsockname()) as ours:
        ends = TcpEnds(ours.getsockname(), listener.getsockname())

        assert await hint_of(PeerProcesses(finder, search_seconds=5).at(ends)) is None


@root_only
async def test_another_users_process_gives_no_sign(
    tmp_path: Path, listener: socket.socket, finder: ProcessFinder
) -> None:
    with working_in(tmp_path / "app") as client:
        client.become(NOBODY)

        assert await hint_of(peer_of(client, listener, finder)) is None


@root_only
async def test_a_process_that_became_another_users_gives_no_sign(
    tmp_path: Path, listener: socket.socket, finder: ProcessFinder
) -> None:
    with working_in(tmp_path / "app") as client:
        peer = peer_of(client, listener, finder)
        client.become(NOBODY)

        assert await hint_of(peer) is None


@linux_only
async def test_a_connection_that_was_handed_on_belongs_to_whoever_holds_it(
    tmp_path: Path, listener: socket.socket
) -> None:
    (tmp_path / "later").mkdir()
    with working_in(tmp_path / "app") as client:
        peer, first = peer_of(client, listener, LinuxProcesses()), client.pid
        before = await hint_of(peer)
        client.hand_on()
        client.chdir(tmp_path / "later")
        after = await hint_of(peer)

        assert client.pid != first
        assert before == Hint(Source.PROCESS, f"process {first} (child_client)", str(tmp_path / "app"))
        assert after == Hint(Source.PROCESS, f"process {client.pid} (child_client)", str(tmp_path / "later"))


@linux_only
async def test_a_process_that_has_let_go_of_the_connection_gives_no_sign(
    tmp_path: Path, listener: socket.socket
) -> None:
    with working_in(tmp_path / "app") as client:
        peer = peer_of(client, listener, LinuxProcesses())
        assert await hint_of(peer) is not None
        client.hang_up()

        assert await hint_of(peer) is None


@linux_only
async def test_a_directory_that_was_removed_gives_no_sign(tmp_path: Path, listener: socket.socket) -> None:
    with working_in(tmp_path / "app") as client:
        peer = peer_of(client, listener, LinuxProcesses())
        assert await hint_of(peer) is not None
        (tmp_path / "app").rmdir()

        assert await hint_of(peer) is None


@root_only
async def test_a_process_that_sees_other_files_gives_no_sign(tmp_path: Path, listener: socket.socket) -> None:
    with working_in(tmp_path / "app", before=("unshare", "--mount")) as client:
        assert await hint_of(peer_of(client, listener, LinuxProcesses())) is None
    with working_in(tmp_path / "app") as client:
        client.chroot(tmp_path)
        assert await hint_of(peer_of(client, listener, LinuxProcesses())) is None


@linux_only
async def test_a_proc_that_cannot_be_read_gives_no_sign(tmp_path: Path, listener: socket.socket) -> None:
    with working_in(tmp_path / "app") as client:
        assert await hint_of(peer_of(client, listener, LinuxProcesses(str(tmp_path / "proc")))) is None

        (tmp_path / "proc/net").mkdir(parents=True)
        peer = peer_of(client, listener, LinuxProcesses(str(tmp_path / "proc")))
        (tmp_path / "proc/net/tcp").write_bytes(Path("/proc/net/tcp").read_bytes())
        (tmp_path / f"proc/{client.pid}").mkdir()  # and nothing that may be read in it
        assert await hint_of(peer) is None


@linux_only
async def test_a_socket_that_another_user_made_gives_no_sign(tmp_path: Path, listener: socket.socket) -> None:
    proc = tmp_path / "proc"
    (proc / "net").mkdir(parents=True)
    with working_in(tmp_path / "app") as client:
        for name in ("self", str(client.pid)):
            (proc / name).symlink_to(f"/proc/{client.pid}")
        hints = []
        for user in (os.geteuid(), NOBODY):
            peer = peer_of(client, listener, LinuxProcesses(str(proc)))
            rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
            (proc / "net/tcp").write_text("".join(" ".join([*row[:7], str(user), *row[8:]]) + "\n" for row in rows))
            hints.append(await hint_of(peer))

    assert hints[0] is not None
    assert hints[1] is None


# What is remembered, and how long anybody waits


@dataclass
class FakeProcess:
    """Works in its first directory, then in the next; where there is none, it is gone."""

    pid: int
    directories: list[str | None]
    program: Program = field(default_factory=lambda: Program(title="gemini"))

    def directory(self) -> str | None:
        if not self.directories:
            raise ProcessLookupError
        return self.directories.pop(0)


@dataclass
class FakeFinder:
    """Finds one process after the other, and keeps what it was asked."""

    found: list[FoundProcess | None]
    asked: list[tuple[int, ...]] = field(default_factory=list)
    fails: bool = False
    gate: threading.Event | None = None

    def find(self, ends: TcpEnds, likely: Iterable[int], deadline: float) -> FoundProcess | None:
        self.asked.append(tuple(likely))
        if self.gate is not None:
            assert self.gate.wait(10)
        if self.fails:
            raise RuntimeError("broken")
        return self.found.pop(0)


ENDS = TcpEnds(("127.0.0.1", 40000), ("127.0.0.1", 7668))


async def test_a_process_is_looked_for_once_per_connection() -> None:
    finder = FakeFinder([FakeProcess(7, ["/a", None, "/b"])])
    peer = PeerProcesses(finder).at(ENDS)

    assert [hint and hint.directory for hint in [await hint_of(peer) for _ in range(3)]] == ["/a", None, "/b"]
    assert len(finder.asked) == 1


async def test_what_was_not_found_is_not_looked_for_again() -> None:
    finder = FakeFinder([None])
    peer = PeerProcesses(finder).at(ENDS)

    assert [await hint_of(peer) for _ in range(3)] == [None, None, None]
    assert len(finder.asked) == 1


async def test_a_process_that_is_gone_is_looked_for_once_more() -> None:
    finder = FakeFinder([FakeProcess(7, ["/a"]), FakeProcess(8, ["/b"])])
    peer = PeerProcesses(finder).at(ENDS)

    details = [hint and hint.detail for hint in [await hint_of(peer) for _ in range(2)]]
    assert details == ["process 7 (gemini)", "process 8 (gemini)"]


async def test_the_processes_found_last_are_looked_at_first() -> None:
    finder = FakeFinder([FakeProcess(pid, ["/a"]) for pid in (7, 8, 7, 9)])
    processes = PeerProcesses(finder)
    for _ in range(4):
        await hint_of(processes.at(ENDS))

    assert finder.asked == [(), (7,), (8, 7), (7, 8)]


async def test_a_name_that_would_break_out_of_its_line_is_escaped_and_cut() -> None:
    program = Program(title="evil\x1b[2J\n" + "x" * 500)
    hint = await hint_of(PeerProcesses(FakeFinder([FakeProcess(7, ["/a"], program)])).at(ENDS))

    assert hint is not None
    assert hint.detail.isprintable()
    assert hint.detail.startswith("process 7 (evil\\x1b[2J\\nxxx")
    assert len(hint.detail) < 80


async def test_a_search_that_fails_gives_no_sign_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert await hint_of(PeerProcesses(FakeFinder([], fails=True)).at(ENDS)) is None
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_a_system_that_does_not_answer_costs_a_bounded_time_and_few_threads() -> None:
    finder = FakeFinder([None] * 4 + [FakeProcess(7, ["/a"]) for _ in range(8)], gate=threading.Event())
    processes = PeerProcesses(finder, search_seconds=0.05)
    assert finder.gate is not None
    try:
        with anyio.fail_after(5):
            for _ in range(8):
                assert await processes.at(ENDS).hint() is None
        assert len(finder.asked) == 4  # each from a thread of its own
    finally:
        finder.gate.set()
    with anyio.fail_after(5):
        while await processes.at(ENDS).hint() is None:  # those threads end, and make room
            await anyio.lowlevel.checkpoint()
