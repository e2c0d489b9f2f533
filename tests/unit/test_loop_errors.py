"""Errors of the event loop in the log: each kind once, then seldom."""

from __future__ import annotations

import asyncio
import errno
import logging

import pytest

from workroot.logs.loop_errors import QuietLoopErrors, Seldom


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_kind_is_due_at_once_and_then_after_ten_seconds_with_the_number_of_those_untold(clock: Clock) -> None:
    seldom = Seldom(clock=clock)

    assert [seldom.is_due("a") for _ in range(3)] == [0, None, None]
    assert seldom.is_due("b") == 0
    clock.now += 10
    assert [seldom.is_due("a"), seldom.is_due("a")] == [2, None]


def test_kinds_without_end_take_no_memory_without_end(clock: Clock) -> None:
    seldom = Seldom(clock=clock)
    for number in range(1000):
        seldom.is_due(number)

    assert seldom.is_due(999) is None
    assert seldom.is_due(0) == 0  # forgotten, and told again


async def test_a_thousand_refused_accepts_are_one_line(caplog: pytest.LogCaptureFixture, clock: Clock) -> None:
    loop, handler = asyncio.get_running_loop(), QuietLoopErrors(seldom=Seldom(clock=clock))
    for _ in range(1000):
        handler(loop, {"message": "socket.accept() out of system resource", "exception": OSError(errno.EMFILE, "full")})
    handler(loop, {"message": "socket.accept() out of system resource", "exception": OSError(errno.ENFILE, "full")})
    clock.now += 10
    handler(loop, {"message": "socket.accept() out of system resource", "exception": OSError(errno.EMFILE, "full")})

    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
    assert "999 more like it" in caplog.messages[-1]


async def test_the_loop_calls_it_for_a_task_that_nobody_awaits(caplog: pytest.LogCaptureFixture) -> None:
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(QuietLoopErrors())
    try:
        loop.call_exception_handler({"message": "lost", "exception": ValueError("why")})
        loop.call_exception_handler({})
    finally:
        loop.set_exception_handler(before)

    assert caplog.messages == ["lost", "an error in the event loop"]
    assert caplog.records[0].exc_info is not None
