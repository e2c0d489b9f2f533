"""How much of memory and of the event loop heavy messages may take of everybody."""

from __future__ import annotations

import json
import sys
import time

import anyio
import anyio.lowlevel
import pytest

from workroot.transports.message_room import OWN_BYTES, MessageRoom, NoRoomError, weight_of

HEAVY = OWN_BYTES + 1


@pytest.mark.parametrize("part", ['{"a":[]}', "[]", "1.5", '{"a":1}', '"' + "x" * 100 + '"'])
def test_a_message_weighs_about_what_it_takes_of_memory(part: str) -> None:
    data = f"[{','.join([part] * 1000)}]".encode()

    def size(value: object) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return sys.getsizeof(value) + sum(map(size, inner))

    assert 0.5 * size(json.loads(data)) < weight_of(data) < 4 * size(json.loads(data))


async def test_heavy_messages_are_read_one_at_a_time_with_twice_the_time_for_others_between() -> None:
    room = MessageRoom()
    reading = other = 0.0
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                nonlocal reading
                async with room.turn(HEAVY):
                    began = time.perf_counter()
                    while time.perf_counter() - began < 0.02:
                        pass
                    reading += 0.02

            for _ in range(3):
                tasks.start_soon(read)
            began = time.perf_counter()
            while reading < 0.06:
                await anyio.lowlevel.checkpoint()
            other = time.perf_counter() - began - reading

    assert other > 0.07


async def test_light_messages_do_not_wait_for_heavy_ones() -> None:
    room = MessageRoom()
    with anyio.fail_after(5):
        async with room.turn(HEAVY), room.turn(OWN_BYTES):
            pass


async def test_a_client_with_its_own_alone_goes_on_when_the_room_is_full_and_another_waits_until_it_is_not() -> None:
    room = MessageRoom(most_bytes=100)
    with room.share() as light, room.share() as heavy, anyio.fail_after(5):
        light.hold(OWN_BYTES)
        heavy.hold(OWN_BYTES + 100)
        await light.wait_free()
        assert not light.has_room_for(OWN_BYTES + 1)
        async with anyio.create_task_group() as tasks:
            went_on = anyio.Event()

            async def wait() -> None:
                await heavy.wait_free()
                went_on.set()

            tasks.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            assert not went_on.is_set()
            heavy.hold(OWN_BYTES + 99)
            await went_on.wait()


async def test_a_heavy_message_is_not_read_while_the_room_is_full_and_what_was_taken_is_given_back() -> None:
    room = MessageRoom(most_bytes=1)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                async with room.turn(HEAVY):
                    assert not room.is_full

            with room.share() as share:
                share.hold(HEAVY)
                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                assert room.is_full


async def test_a_heavy_message_waits_for_room_so_long_and_no_longer() -> None:
    room = MessageRoom(most_bytes=1, seconds=0.01)
    with anyio.fail_after(5), room.share() as share:
        share.hold(HEAVY)
        with pytest.raises(NoRoomError, match="send it again"):
            async with room.turn(HEAVY):
                raise AssertionError
        share.hold(0)
        async with room.turn(HEAVY):  # nothing is held of the one that gave up
            pass


async def test_a_heavy_message_that_is_read_for_long_does_not_hold_up_another_without_an_end() -> None:
    room = MessageRoom(seconds=0.01)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:

            async def read() -> None:
                async with room.turn(HEAVY):
                    await anyio.sleep_forever()

            tasks.start_soon(read)
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(NoRoomError):
                async with room.turn(HEAVY):
                    raise AssertionError
            tasks.cancel_scope.cancel()
        async with room.turn(HEAVY):
            pass
