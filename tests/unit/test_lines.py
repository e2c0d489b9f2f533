"""Lines of a socket: how long each may be, and how many long ones are held at a time."""

from __future__ import annotations

import anyio
import pytest
from test_messages import Wire

from workroot.rendezvous import MAX_LINE_BYTES
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


async def test_of_lines_that_are_long_as_many_are_held_as_there_is_room_for() -> None:
    long_lines = LongLines(most_bytes=1)
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


async def test_a_long_line_that_does_not_end_is_given_up_and_its_room_is_free_again() -> None:
    long_lines = LongLines(seconds=0.01)
    with anyio.fail_after(5), pytest.raises(LineTooLongError, match="s to arrive"):
        await LineReader(StuckWire(b"x" * 70_000), long_lines).receive()

    assert long_lines.taken == 0


async def test_lines_that_do_not_go_on_give_way_to_those_that_wait_and_those_that_do_go_on_stay() -> None:
    long_lines = LongLines(stall_seconds=0.05)
    refused: list[str] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def stall() -> None:
                try:
                    await LineReader(StuckWire(b"x" * 70_000), long_lines).receive()
                except LineTooLongError as error:
                    refused.append(str(error))

            for _ in range(100):
                tasks.start_soon(stall)
            await anyio.wait_all_tasks_blocked()
            honest = LineReader(StuckWire(b"x" * 70_000, b"y" * 230_000 + b"\n"), long_lines)
            line = await honest.receive()
            tasks.cancel_scope.cancel()

    assert len(line) == 300_000
    assert 80 <= len(refused) <= 100
    assert "while others wait" in refused[0]


class DrippingWire(Wire):
    """A side that goes on without an end, a byte at a time."""

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self.said:
            return await super().receive(max_bytes)
        await anyio.sleep(0.005)
        return b"x"


async def test_a_byte_now_and_then_does_not_count_as_going_on() -> None:
    long_lines = LongLines(most_bytes=1, stall_seconds=0.05)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def drip() -> None:
                with pytest.raises(LineTooLongError, match="while others wait"):
                    await LineReader(DrippingWire(b"x" * 70_000), long_lines).receive()

            tasks.start_soon(drip)
            await anyio.wait_all_tasks_blocked()
            assert len(await LineReader(Wire(b"x" * 70_000, b"\n"), long_lines).receive()) == 70_000


async def test_a_line_that_stalls_while_nobody_waits_has_its_whole_time() -> None:
    wire = StuckWire(b"x" * 70_000)
    with anyio.move_on_after(0.2) as waited:
        await LineReader(wire, LongLines(stall_seconds=0.01)).receive()

    assert waited.cancelled_caught


async def test_one_that_leaves_while_it_waits_takes_no_room() -> None:
    long_lines = LongLines(most_bytes=1)
    holder = LineReader(Wire(b"x" * 70_000 + b"\n", b"x" * 70_000 + b"\n"), long_lines)
    stuck = LineReader(StuckWire(b"x" * 70_000), long_lines)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stuck.receive)
            await anyio.wait_all_tasks_blocked()
            taken = long_lines.taken
            with anyio.move_on_after(0.01):
                await LineReader(StuckWire(b"x" * 70_000), long_lines).receive()
            assert long_lines.taken == taken
            tasks.cancel_scope.cancel()
        await holder.receive()

    assert long_lines.taken == 0


async def test_a_short_line_may_take_as_long_as_it_likes() -> None:
    reader = LineReader(StuckWire(b"x"), LongLines(seconds=0.01))
    with anyio.move_on_after(0.1) as waited:
        await reader.receive()

    assert waited.cancelled_caught


async def test_no_more_lines_give_way_than_others_wait_for() -> None:
    long_lines = LongLines(most_bytes=3 * MAX_LINE_BYTES, stall_seconds=0.05)  # that is two of them
    refused: list[int] = []
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def stall(number: int) -> None:
                try:
                    await LineReader(StuckWire(b"x" * 70_000), long_lines).receive()
                except LineTooLongError:
                    refused.append(number)

            for number in range(2):
                tasks.start_soon(stall, number)
                await anyio.wait_all_tasks_blocked()
            await LineReader(StuckWire(b"x" * 70_000, b"\n"), long_lines).receive()
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()

    assert refused == [0]
