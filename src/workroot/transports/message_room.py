"""How much memory the messages take that clients have sent and that are not answered: little, of all together.

Messages are short. What is unanswered of each client has 64 KiB of its own; what goes beyond that shares one small
room, so that however many clients send as much as they may, together they take no more than it has.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

__all__ = ["OWN_BYTES", "LineTooLongError", "MessageRoom", "NoRoomError", "Share", "weight_of"]

OWN_BYTES = 64 * 1024
"""How much each client's messages may weigh before they take anything of the room."""

_ROOM_BYTES = 16 * 1024 * 1024
_PER_KEY, _PER_VALUE = 128, 64  # measured: `{"a":1}` takes 232 bytes once it is read, `[]` takes 64, a number up to 40


def weight_of(data: bytes | bytearray) -> int:
    """Return about how many bytes a message of JSON takes once it is read: brackets take far more than letters."""
    values = data.count(b"[") + data.count(b"{") + data.count(b",")
    return len(data) + _PER_KEY * data.count(b":") + _PER_VALUE * values


class LineTooLongError(Exception):
    """A message is too long, or a long one could not be taken in time; the text says which."""


class NoRoomError(LineTooLongError):
    """A long message waited for others of its kind for as long as one may."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(
            f"too many long messages of other clients are unanswered: this one waited for {seconds:g} s; "
            "send it again in a moment"
        )


class MessageRoom:
    """The room that all clients of one transport share.

    Args:
        seconds: how long a heavy message may wait for its turn; None: for as long as it takes.
    """

    def __init__(self, most_bytes: int = _ROOM_BYTES, *, seconds: float | None = None) -> None:
        self._most_bytes, self._seconds = most_bytes, seconds
        self._taken = 0
        self._changed = anyio.Event()
        self._turn = anyio.Lock()

    @asynccontextmanager
    async def turn(self, weight: int) -> AsyncIterator[None]:
        """Hold off other heavy messages while one is read, which does not wait, and twice as long: others' time.

        It begins when the room is not full. Light messages need no turn.

        Raises:
            NoRoomError: it did not come in time; nothing is held.
        """
        if weight <= OWN_BYTES:
            yield
            return
        await self._wait_turn()
        began = time.perf_counter()
        try:
            yield
        finally:
            try:
                await anyio.sleep(2 * (time.perf_counter() - began))
            finally:
                self._turn.release()

    async def _wait_turn(self) -> None:
        try:
            with anyio.fail_after(self._seconds):
                while True:
                    await self.wait_free()  # without the turn: nobody holds that while waiting for other clients
                    await self._turn.acquire()
                    if not self.is_full:
                        return
                    self._turn.release()
        except TimeoutError:
            raise NoRoomError(self._seconds or 0) from None

    @property
    def is_full(self) -> bool:
        """Whether nobody may take more of it."""
        return self._taken >= self._most_bytes

    async def wait_free(self) -> None:
        """Return when it is not full."""
        while self.is_full:
            if self._changed.is_set():  # else somebody waits for the same
                self._changed = anyio.Event()
            await self._changed.wait()

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Yield a share of it, which is given back on leaving."""
        share = Share(self)
        try:
            yield share
        finally:
            share.hold(0)

    def has_room_for(self, more: int) -> bool:
        """Whether so many bytes more can be taken of it."""
        return self._taken + more <= self._most_bytes

    def take(self, more: int) -> None:
        """Take so many bytes more of it, or give back if that is negative."""
        self._taken += more
        if more < 0:
            self._changed.set()


class Share:
    """What one client takes of a room."""

    def __init__(self, room: MessageRoom) -> None:
        self._room = room
        self._taken = 0

    async def wait_free(self) -> None:
        """Return when this client may send more."""
        while self._taken and self._room.is_full:
            await self._room.wait_free()

    def has_room_for(self, weight: int) -> bool:
        """Whether messages of this weight in all fit into what this client has of its own and what is left."""
        return self._room.has_room_for(max(0, weight - OWN_BYTES) - self._taken)

    def hold(self, weight: int) -> None:
        """Note what all messages weigh that are held of this client now."""
        taken = max(0, weight - OWN_BYTES)
        if taken != self._taken:
            self._room.take(taken - self._taken)
            self._taken = taken
