"""Who is connected, how many may be, and who gives way to a newcomer.

First one that has said nothing yet. Then one of the process that has the most, if those are many: many windows are
many connectors with a connection each, and none of them makes way for a process that takes all it can get.

A few places are kept for the command line, so that a daemon whose table is full can still be asked and stopped.
"""

from __future__ import annotations

import logging
import resource
import socket
import struct
import sys
from collections import Counter
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import anyio

from workroot.limits import DEFAULT_LIMITS
from workroot.logs.loop_errors import Seldom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workroot.counters import Counters
    from workroot.limits import Limits

__all__ = ["Place", "Places", "say_last", "since"]

logger = logging.getLogger(__name__)

_SHARE_OF_DESCRIPTORS = 0.6  # the rest is for files, watches and HTTP
_RESERVE: Final = 8
_MANY: Final = 8  # so many connections one process may have, whoever else comes
_FULL = "too many connections are open; close a client and try again, or raise max_connections"


class Place:
    """One connection among those that are open.

    Attributes:
        is_settled: it has said who it is; until then it gives way to a newcomer.
        is_reserved: it may only be the command line's: beyond it there are no more.
        process: the id of the process at the other end, or None if that is not known.
        is_busy: tells whether the client waits for anything, or listens.
    """

    def __init__(
        self, places: Places, connection: socket.socket, *, is_reserved: bool, process: int | None = None
    ) -> None:
        self._places, self._connection = places, connection
        self._scope = anyio.CancelScope()
        self._last_asked = 0
        self.is_reserved, self.process = is_reserved, process
        self.is_settled = self.is_leaving = False
        self.is_busy: Callable[[], bool] = _is_idle

    def note_asked(self) -> None:
        """Note that the client said something after its hello."""
        self._last_asked = self._places.next_number()

    @property
    def worth(self) -> tuple[bool, int]:
        """How much its end would cost the client, for comparing: most if it waits, least if it never asked."""
        return self.is_busy(), self._last_asked

    def settle(self, *, is_control: bool) -> bool:
        """Tell whether the client may go on, now that it said hello; then it no longer gives way."""
        if self.is_leaving:
            return False
        if self.is_reserved and not is_control:
            if not self._places.has_room and self._places.make_room(self.process) is None:
                self._places.note_refused()
                return False
            self.is_reserved = False
        self.is_settled = True
        return True

    def give_way(self, line: bytes) -> None:
        """End this connection, with *line* as its last word if it is the first one too."""
        self.is_leaving = True
        if not self.is_settled:
            say_last(self._connection, line)
        self._scope.cancel()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold the place for as long as the connection is served."""
        try:
            with self._scope:
                yield
        finally:
            self._places.leave(self)


class Places:
    """The connections that are open: as many as `max_connections` and the descriptor limit allow.

    Args:
        farewell: makes the one line that a client is told which is not let in, from the reason.
    """

    def __init__(
        self, *, farewell: Callable[[str], bytes], counters: Counters, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self.farewell = farewell(_FULL)
        self._counters, self._limits = counters, limits
        self._seldom = Seldom()
        self._open: dict[Place, None] = {}  # in the order in which they came
        self._number = 0

    def __len__(self) -> int:
        return len(self._open)

    @property
    def has_room(self) -> bool:
        """Whether one more may come in that is not the command line."""
        return sum(1 for each in self._open if not each.is_reserved and not each.is_leaving) < self._most()

    def take(self, connection: socket.socket) -> Place | None:
        """Return a place for *connection*, or None: there is none."""
        is_reserved, process = False, _process_at(connection)
        if not self.has_room:
            staying = [each for each in self._open if not each.is_leaving]
            mute = next((each for each in staying if not each.is_settled), None)
            if mute is not None and (not mute.is_reserved or self._reserved(staying) >= _RESERVE):
                mute.give_way(self.farewell)
                self.note_refused()
                is_reserved = mute.is_reserved
            elif self._reserved(staying) < _RESERVE:
                is_reserved = True
            elif (victim := self.make_room(process)) is not None:
                is_reserved = victim.is_reserved
            else:
                self.note_refused()
                return None
        place = Place(self, connection, is_reserved=is_reserved, process=process)
        self._open[place] = None
        return place

    def make_room(self, process: int | None) -> Place | None:
        """End a connection of a process that has many, for one of *process*, which has fewer; None: there is none.

        Of the process that has the most, one goes that never asked anything, or else was silent for longest. One that
        waits for an answer or listens goes only if all of them do, of every such process.
        """
        settled = [each for each in self._open if each.is_settled and not each.is_leaving]
        counts = Counter(each.process for each in settled)
        own = counts[process] + 1 if process is not None else 1
        candidates = [
            each
            for each in settled
            if each.process is not None and each.process != process and counts[each.process] > max(_MANY, own)
        ]
        if not candidates:
            return None

        def cost(place: Place) -> tuple[bool, int, int]:
            is_busy, asked = place.worth
            return is_busy, -counts[place.process], asked

        victim = min(candidates, key=cost)
        victim.give_way(self.farewell)
        self.note_refused()
        return victim

    def next_number(self) -> int:
        """Return the next of the numbers that tell what came after what."""
        self._number += 1
        return self._number

    def leave(self, place: Place) -> None:
        """Give a place back."""
        self._open.pop(place, None)

    def note_refused(self) -> None:
        """Count a client that was not let in, or had to leave, for want of a place."""
        self._counters.add("connection_limit")
        if (untold := self._seldom.is_due("full")) is not None:
            logger.warning("%d connections are open, and there is no place for more%s", len(self), since(untold))

    def _reserved(self, places: list[Place]) -> int:
        return sum(1 for each in places if each.is_reserved)

    def _most(self) -> int:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if descriptors == resource.RLIM_INFINITY:
            return self._limits.max_connections
        return min(self._limits.max_connections, max(1, int(descriptors * _SHARE_OF_DESCRIPTORS)))


def _is_idle() -> bool:
    return False


def _process_at(connection: socket.socket) -> int | None:
    """Return the id of the process that connected, or None where the system does not tell."""
    try:
        if sys.platform == "linux":
            size = struct.calcsize("3i")
            process, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
        elif sys.platform == "darwin":
            process = connection.getsockopt(0, 2)  # SOL_LOCAL, LOCAL_PEERPID of sys/un.h
        else:
            return None
    except OSError:
        return None
    return int(process) or None  # 0 is one in another namespace


def say_last(connection: socket.socket, line: bytes) -> None:
    """Send a line that fits into an empty buffer, without waiting."""
    with suppress(OSError):
        connection.send(line)


def since(untold: int) -> str:
    """Return what a line of the log says of *untold* others like it."""
    return f"; {untold} more since the last such line" if untold else ""
