"""Lines over a socket: what the other side said is never lost, whatever becomes of the connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import anyio
import pytest

from workroot.daemon_client.line_socket import LineSocket


@dataclass
class Side:
    """One side of a connection, and what happened there.

    Attributes:
        other: the other side.
    """

    mine: socket.socket
    other: socket.socket
    taken: list[bytes] = field(default_factory=list)
    lost: list[object] = field(default_factory=list)

    def open(self, longest: int = 1000) -> LineSocket:
        return LineSocket(self.mine, take=self.taken.append, lost=self.lost.append, longest=longest)


@pytest.fixture
def side() -> Iterator[Side]:
    mine, other = socket.socketpair()
    mine.setblocking(False)
    other.settimeout(5)
    with closing(mine), closing(other):
        yield Side(mine, other)


async def test_what_was_said_before_the_other_side_went_is_taken_though_nothing_can_be_sent_any_more(
    side: Side,
) -> None:
    lines = side.open()
    side.other.sendall(b"one\ntwo\n")
    side.other.close()

    assert not lines.send(b"too late\n")
    assert side.taken == [b"one", b"two"]
    assert len(side.lost) == 1
    assert not lines.is_open
    assert not lines.send(b"still too late\n")


async def test_lines_come_whole_however_they_are_cut(side: Side) -> None:
    lines = side.open()
    for piece in (b"on", b"e\n", b"\ntwo\nthr", b"ee\n"):
        side.other.sendall(piece)
        assert lines.receive()
    assert not lines.receive()

    assert side.taken == [b"one", b"", b"two", b"three"]
    lines.close()
    assert side.lost == []


async def test_a_line_without_an_end_is_an_end(side: Side) -> None:
    lines = side.open(longest=10)
    side.other.sendall(b"x" * 11)

    assert not lines.receive()
    assert isinstance(side.lost[0], ValueError)
    assert not lines.is_open


async def test_what_does_not_fit_is_sent_in_order_when_there_is_room(side: Side) -> None:
    lines = side.open()
    sent = [b"%d" % number * 50_000 + b"\n" for number in range(10)]
    for line in sent:
        assert lines.send(line)
    assert lines.unsent > 0

    whole = await anyio.to_thread.run_sync(lambda: _received(side.other, sum(map(len, sent))))
    assert whole == b"".join(sent)
    assert lines.unsent == 0
    lines.close()


async def test_nothing_is_taken_or_told_after_it_was_closed(side: Side) -> None:
    lines = side.open()
    side.other.sendall(b"one\n")
    lines.close()
    lines.close()
    await anyio.lowlevel.checkpoint()

    assert not lines.send(b"x\n")
    assert (side.taken, side.lost) == ([], [])


async def test_a_taker_may_close_between_two_lines(side: Side) -> None:
    def take(line: bytes) -> None:
        side.taken.append(line)
        lines.close()

    lines = LineSocket(side.mine, take=take, lost=side.lost.append, longest=1000)
    side.other.sendall(b"one\ntwo\n")
    lines.receive()

    assert (side.taken, side.lost) == ([b"one"], [])


def _received(connection: socket.socket, count: int) -> bytes:
    received = bytearray()
    while len(received) < count:
        received += connection.recv(65536)
    return bytes(received)
