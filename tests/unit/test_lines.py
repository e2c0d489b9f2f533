"""Lines of a socket: how long each may be, and how many long ones are held at a time."""

from __future__ import annotations

import anyio
import pytest
from test_messages import Wire

from workroot.transports.lines import LineReader, LineTooLongError, LongLines


class StuckWire(Wire):
    """A side that says what it says, and then nothing without an end."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        try:
            return await super().receive(max_bytes)
        except anyio.EndOfStream:
            await anyio.sleep_forever()
            raise


@pytest.mark.parametrize("size", [0, 1, 99, 100])
async def test_a_line_may_be_as_long_as_is_allowed(size: int) -> None:
    assert await LineReader(Wire(b"\n\nx" + b"y" * size + b"\nrest")).receive(most_bytes=101) == b"x" + b"y" * size


@pytest.mark.parametrize("end", [b"\n", b""])
async def test_a_longer_one_is_refused_whether_it_has_ended_or_not(end: bytes) -> None:
    with pytest.raises(LineTooLongError, match="100 bytes at most"):
        await LineReader(Wire(b"x" * 101 + end)).receive(most_bytes=100)


async def test_of_lines_that_are_long_as_many_are_held_as_there_are_turns() -> None:
    long_lines = LongLines(most=1)
    piece = b"x" * 70_000
    first, second = (StuckWire(piece, piece, b"\n") for _ in range(2))
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            reader = LineReader(first, long_lines)
            await reader.receive()
            tasks.start_soon(LineReader(second, long_lines).receive)
            await anyio.wait_all_tasks_blocked()
            held = len(second.said)
            reader.done()

    assert held == 2  # one piece was read before it was known to be long
    assert second.said == []


async def test_a_long_line_that_does_not_end_is_given_up_and_its_turn_is_free_again() -> None:
    long_lines = LongLines(most=1, seconds=0.01)
    with anyio.fail_after(5), pytest.raises(LineTooLongError, match="s to arrive"):
        await LineReader(StuckWire(b"x" * 70_000), long_lines).receive()

    assert long_lines.places.value == 1


async def test_a_short_line_may_take_as_long_as_it_likes() -> None:
    reader = LineReader(StuckWire(b"x"), LongLines(seconds=0.01))
    with anyio.move_on_after(0.1) as waited:
        await reader.receive()

    assert waited.cancelled_caught
