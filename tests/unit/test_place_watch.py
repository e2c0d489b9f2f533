"""The place where clients find the daemon is looked after."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from fake_daemon import short_directory

from workroot.connector import starting
from workroot.daemon import place_watch
from workroot.daemon.place_watch import SocketPath, watch_place
from workroot.errors import RendezvousError, WorkrootError
from workroot.instance import Instance, hold_instance
from workroot.transports.unix_socket import bind_unix_socket


class Place:
    """A lock and a socket, watched; each `look` is one round of the watch."""

    def __init__(self, directory: Path, instance: Instance) -> None:
        self.lock = directory / "daemon.lock"
        self.socket = SocketPath(str(directory / "daemon.sock"), bind_unix_socket)
        self.listening = self.socket.bind()
        self.lost: list[WorkrootError] = []
        self._instance, self._due, self._looked = instance, anyio.Event(), anyio.Event()

    async def listen_anew(self) -> None:
        anew = self.socket.bind()
        self.listening.close()
        self.listening = anew

    async def watch(self) -> None:
        await watch_place(
            self._instance,
            self.socket,
            lock_path=str(self.lock),
            listen_anew=self.listen_anew,
            lose=self.lost.append,
            sleep=self._sleep,
        )
        self._looked.set()

    async def look(self) -> None:
        """Let the watch look once."""
        self._looked = anyio.Event()
        self._due.set()
        with anyio.fail_after(5):
            await self._looked.wait()

    async def _sleep(self, seconds: float) -> None:
        assert seconds >= 5, "a daemon that nobody uses must not wake up all the time"
        self._looked.set()
        await self._due.wait()
        self._due = anyio.Event()

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(self.socket.path)
            except OSError:
                return False
        return True


@pytest.fixture
def place() -> Iterator[Place]:
    with short_directory() as directory, hold_instance(str(directory / "daemon.lock")) as instance:
        made = Place(directory, instance)
        yield made
        made.listening.close()


async def test_a_socket_that_was_deleted_is_put_back(place: Place) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place.watch)
        await place.look()
        os.unlink(place.socket.path)
        assert not place.answers()

        await place.look()

        assert place.answers()
        tasks.cancel_scope.cancel()
    assert place.lost == []


async def test_a_socket_that_was_replaced_by_a_dead_one_is_put_back(place: Place) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place.watch)
        os.unlink(place.socket.path)
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(place.socket.path)

        await place.look()
        await place.look()

        assert place.answers()
        tasks.cancel_scope.cancel()


async def test_a_service_manager_that_took_over_ends_the_daemon_and_keeps_its_socket(place: Place) -> None:
    os.unlink(place.socket.path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(place.socket.path)
        other.listen()
        taken = os.lstat(place.socket.path)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place.watch)
            await place.look()

        assert os.path.samestat(os.lstat(place.socket.path), taken)

    (error,) = place.lost
    assert "most likely a service manager" in str(error)


async def test_what_is_no_socket_is_left_alone_and_said_once(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(place.watch)
        os.unlink(place.socket.path)
        Path(place.socket.path).write_text("somebody's")
        for _ in range(3):
            await place.look()
        assert Path(place.socket.path).read_text() == "somebody's"
        assert caplog.text.count("is not a socket of this user") == 1

        os.unlink(place.socket.path)
        await place.look()

        assert place.answers()
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_lock_that_was_removed_or_replaced_ends_the_daemon(place: Place, replaced: bool) -> None:
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(place.watch)
            place.lock.unlink()
            if replaced:
                place.lock.touch()
            await place.look()

    (error,) = place.lost
    assert isinstance(error, RendezvousError)
    assert str(error).startswith(f"{place.lock} was removed or replaced while the daemon held it")


def test_at_the_end_only_the_own_socket_is_removed(place: Place) -> None:
    os.unlink(place.socket.path)
    Path(place.socket.path).write_text("somebody's")
    place.socket.remove()
    assert os.path.exists(place.socket.path)

    os.unlink(place.socket.path)
    place.listening.close()
    place.listening = place.socket.bind()
    place.socket.remove()
    assert not os.path.exists(place.socket.path)


def test_who_waits_for_the_holder_of_the_lock_waits_long_enough_for_a_socket_to_be_put_back() -> None:
    assert 2 * place_watch._CHECK_SECONDS <= starting._READY_SECONDS
