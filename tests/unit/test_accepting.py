"""Taking connections in: whom there is a place for, and what a failing accept changes."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import anyio
import pytest
from anyio.abc import UNIXSocketStream

from workroot.counters import Counters
from workroot.limits import Limits
from workroot.transports.accepting import AcceptLoop
from workroot.transports.places import Place, Places

FULL = b"full\n"


@pytest.fixture
def counters() -> Counters:
    return Counters()


@pytest.fixture
def new_socket() -> Iterator[Callable[[], socket.socket]]:
    made: list[socket.socket] = []

    def make() -> socket.socket:
        made.extend(socket.socketpair())
        return made[-1]

    yield make
    for each in made:
        each.close()


def places_for(count: int, counters: Counters) -> Places:
    return Places(farewell=lambda _: FULL, counters=counters, limits=Limits(max_connections=count))


async def test_one_that_has_said_hello_keeps_its_place_and_one_that_has_not_gives_way(
    counters: Counters, new_socket: Callable[[], socket.socket]
) -> None:
    places = places_for(2, counters)
    settled, mute = places.take(new_socket()), places.take(new_socket())
    assert settled is not None
    assert mute is not None
    assert settled.settle(is_control=False)

    newcomer = places.take(new_socket())

    assert newcomer is not None
    assert mute.is_leaving
    assert not settled.is_leaving
    assert newcomer.settle(is_control=False)
    assert not mute.settle(is_control=False)
    assert counters.counts() == {"connection_limit": 1}


async def test_beyond_the_limit_eight_places_are_the_command_line_s_and_then_nobody_is_let_in(
    counters: Counters, new_socket: Callable[[], socket.socket]
) -> None:
    places = places_for(1, counters)
    first = places.take(new_socket())
    assert first is not None
    assert first.settle(is_control=False)

    reserved = [place for place in (places.take(new_socket()) for _ in range(8)) if place is not None]

    assert len(reserved) == 8
    assert not reserved[0].settle(is_control=False)
    assert all(place.settle(is_control=True) for place in reserved)
    assert places.take(new_socket()) is None
    assert len(places) == 9


async def test_a_place_that_becomes_free_is_for_everybody(
    counters: Counters, new_socket: Callable[[], socket.socket]
) -> None:
    places = places_for(1, counters)
    first, second = places.take(new_socket()), places.take(new_socket())
    assert first is not None
    assert second is not None
    places.leave(first)

    assert second.settle(is_control=False)
    assert not second.is_reserved


class Processes:
    """Connections of several processes to one table of places."""

    def __init__(self, places: Places, new_socket: Callable[[], socket.socket]) -> None:
        self._places, self._new_socket = places, new_socket

    def take(self, process: int, *, is_control: bool = False) -> Place | None:
        """Have a process connect and say hello; None: it is not let in."""
        place = self._places.take(self._new_socket())
        if place is None:
            return None
        place.process = process
        return place if place.settle(is_control=is_control) else None

    def fill(self, process: int, count: int) -> list[Place]:
        taken = [place for place in (self.take(process) for _ in range(count)) if place is not None]
        assert len(taken) == count
        return taken


HOG, EDITOR, NEWCOMER = 1, 2, 3


@pytest.fixture
def processes(counters: Counters, new_socket: Callable[[], socket.socket]) -> Processes:
    return Processes(places_for(20, counters), new_socket)


async def test_of_a_process_that_has_the_most_connections_one_gives_way_that_never_asked(processes: Processes) -> None:
    editors = [processes.fill(number, 1)[0] for number in range(10, 18)]
    hogs = processes.fill(HOG, 12)
    for place in hogs[:7] + hogs[8:]:
        place.note_asked()

    assert processes.take(NEWCOMER) is not None
    assert [place for place in hogs if place.is_leaving] == [hogs[7]]
    assert not any(place.is_leaving for place in editors)


async def test_of_those_that_asked_the_one_that_was_silent_for_longest_gives_way(processes: Processes) -> None:
    hogs = processes.fill(HOG, 20)
    for place in hogs[::-1]:
        place.note_asked()
    hogs[-1].note_asked()

    assert processes.take(NEWCOMER) is not None
    assert [place for place in hogs if place.is_leaving] == [hogs[-2]]


async def test_one_that_waits_for_an_answer_gives_way_only_if_all_of_such_processes_do(processes: Processes) -> None:
    hogs, others = processes.fill(HOG, 11), processes.fill(EDITOR, 9)
    for place in hogs:
        place.is_busy = lambda: True

    assert processes.take(NEWCOMER) is not None
    assert [place for place in hogs + others if place.is_leaving] == [others[0]]
    assert processes.take(NEWCOMER) is not None  # now the others are not many any more
    assert [place for place in hogs + others if place.is_leaving] == [hogs[0], others[0]]


async def test_processes_with_a_few_connections_never_give_way(processes: Processes) -> None:
    few = processes.fill(HOG, 8) + processes.fill(EDITOR, 8) + processes.fill(4, 4)

    assert processes.take(NEWCOMER) is None
    assert not any(place.is_leaving for place in few)


async def test_the_process_that_has_the_most_gets_none_of_another_s_nor_of_its_own(processes: Processes) -> None:
    taken = processes.fill(HOG, 10) + processes.fill(EDITOR, 10)

    assert processes.take(HOG) is None
    assert processes.take(EDITOR) is None
    assert not any(place.is_leaving for place in taken)


async def test_one_that_gives_way_after_its_hello_sees_an_end_and_no_line_amid_its_messages(
    counters: Counters, new_socket: Callable[[], socket.socket]
) -> None:
    places = places_for(9, counters)
    ends = [socket.socketpair() for _ in range(9)]
    with ExitStack() as stack:
        for end in (end for pair in ends for end in pair):
            stack.enter_context(end)
        for ours, theirs in ends:
            theirs.setblocking(False)
            place = places.take(ours)
            assert place is not None
            place.process = HOG
            assert place.settle(is_control=False)
        newcomer = places.take(new_socket())
        assert newcomer is not None
        newcomer.process = NEWCOMER
        assert newcomer.settle(is_control=False)

        with pytest.raises(BlockingIOError):
            ends[0][1].recv(1)


async def test_who_connects_is_known_by_its_process(
    counters: Counters, new_socket: Callable[[], socket.socket]
) -> None:
    place = places_for(1, counters).take(new_socket())

    assert place is not None
    assert place.process == os.getpid()


class FailingSocket:
    """A listening socket whose `accept` fails as told before it works."""

    def __init__(self, listening: socket.socket, errors: list[OSError]) -> None:
        self._listening, self.errors = listening, errors

    def accept(self) -> tuple[socket.socket, object]:
        if self.errors:
            raise self.errors.pop(0)
        return self._listening.accept()

    def setblocking(self, flag: bool) -> None:
        self._listening.setblocking(flag)

    def fileno(self) -> int:
        return self._listening.fileno()

    def close(self) -> None:
        self._listening.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ECONNABORTED, errno.EPERM])
async def test_after_any_failure_to_accept_the_next_client_is_served_and_the_log_has_one_line(
    number: int, counters: Counters, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("")  # an abstract name that the system chooses
        listening.listen()
        errors = [OSError(number, "no") for _ in range(5)]
        failing = FailingSocket(listening, errors)
        served = anyio.Event()

        async def handle(stream: UNIXSocketStream, place: Place) -> None:
            async with stream:
                served.set()

        loop = AcceptLoop(
            failing,  # type: ignore[arg-type]  # it has what is used of one
            handle,
            places=places_for(10, counters),
            counters=counters,
        )
        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(loop.serve, tasks)
                with socket.socket(socket.AF_UNIX) as client:
                    client.setblocking(False)
                    with suppress(BlockingIOError):
                        client.connect(listening.getsockname())
                    while not served.is_set():  # with the spare descriptor the first ones are turned away
                        await anyio.wait_all_tasks_blocked()
                        if not served.is_set() and not errors:
                            with socket.socket(socket.AF_UNIX) as another:
                                another.connect(listening.getsockname())
                                await served.wait()
                await loop.aclose()

    assert counters.counts()["accept_failed"] >= 3
    assert len(caplog.records) == 1


async def test_closing_ends_the_loop_and_twice_is_once(counters: Counters) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind("")
    listening.listen()

    async def handle(stream: UNIXSocketStream, place: Place) -> None:
        raise AssertionError

    loop = AcceptLoop(listening, handle, places=places_for(10, counters), counters=counters)
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(loop.serve, tasks)
            await anyio.wait_all_tasks_blocked()
            await loop.aclose()
            await loop.aclose()

    assert listening.fileno() == -1
