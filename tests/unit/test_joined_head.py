from __future__ import annotations

import asyncio
from typing import cast

import anyio

from workroot.transports.joined_head import JoinedHead

HEAD, BODY = b"HTTP/1.1 200 OK\r\n\r\n", b"{}"


class Wire:
    """What of a transport is used, and what it was given."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_closed = False
        self.wrote = anyio.Event()

    def write(self, data: bytes) -> None:
        self.written.append(data)
        self.wrote.set()

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


def joined(wire: Wire) -> JoinedHead:
    return JoinedHead(cast("asyncio.Transport", wire), asyncio.get_running_loop())


async def test_a_head_leaves_with_the_body_that_follows_at_once() -> None:
    wire = Wire()
    response = joined(wire)
    response.write(HEAD)
    assert wire.written == []
    response.write(BODY)
    assert wire.written == [HEAD + BODY]
    response.write(BODY)
    assert wire.written == [HEAD + BODY, BODY]


async def test_a_head_that_nothing_follows_leaves_by_itself() -> None:
    wire = Wire()
    response = joined(wire)
    response.write(HEAD)
    with anyio.fail_after(5):
        await wire.wrote.wait()
    response.write(BODY)
    assert wire.written == [HEAD, BODY]


async def test_leave_to_send_the_body_is_not_held_back_nor_taken_for_a_head() -> None:
    wire = Wire()
    response, leave = joined(wire), b"HTTP/1.1 100 Continue\r\n\r\n"
    response.write(leave)
    assert wire.written == [leave]
    response.write(HEAD)
    response.write(BODY)
    assert wire.written == [leave, HEAD + BODY]


async def test_what_is_held_leaves_before_the_connection_ends() -> None:
    wire = Wire()
    response = joined(wire)
    response.write(HEAD)
    response.close()
    assert (wire.written, wire.is_closed, response.is_closing()) == ([HEAD], True, True)


async def test_nothing_is_written_to_a_connection_that_was_closed_meanwhile() -> None:
    wire = Wire()
    response = joined(wire)
    response.write(HEAD)
    wire.close()
    response.close()
    assert wire.written == []
