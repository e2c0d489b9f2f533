"""Who is connected, how many may be, and who gives way: one that has said nothing yet, to a newcomer.

A few places are kept for the command line, so that a daemon whose table is full can still be asked and stopped.
"""

from __future__ import annotations

import logging
import resource
import socket
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
_FULL = "too many connections are open; close a client and try again, or raise max_connections"


class Place:
    """One connection among those that are open.

    Attributes:
        is_settled: it has said who it is; until then it gives way to a newcomer.
        is_reserved: it may only be the command line's: beyond it there are no more.
    """

    def __init__(self, places: Places, connection: socket.socket, *, is_reserved: bool) -> None:
        self._places, self._connection = places, connection
        self._scope = anyio.CancelScope()
        self.is_reserved = is_reserved
        self.is_settled = self.is_leaving = False

    def settle(self, *, is_control: bool) -> bool:
        """Tell whether the client may go on, now that it said hello; then it no longer gives way."""
        if self.is_leaving:
            return False
        if self.is_reserved and not is_control:
            if not self._places.has_room:
                self._places.note_refused()
                return False
            self.is_reserved = False
        self.is_settled = True
        return True

    def give_way(self, line: bytes) -> None:
        """End this connection with *line* as its last word."""
        self.is_leaving = True
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

    def __len__(self) -> int:
        return len(self._open)

    @property
    def has_room(self) -> bool:
        """Whether one more may come in that is not the command line."""
        return sum(1 for each in self._open if not each.is_reserved and not each.is_leaving) < self._most()

    def take(self, connection: socket.socket) -> Place | None:
        """Return a place for *connection*, or None: there is none."""
        is_reserved = False
        if not self.has_room:
            staying = [each for each in self._open if not each.is_leaving]
            mute = next((each for each in staying if not each.is_settled), None)
            if mute is not None and (not mute.is_reserved or self._reserved(staying) >= _RESERVE):
                mute.give_way(self.farewell)
                self.note_refused()
                is_reserved = mute.is_reserved
            elif self._reserved(staying) < _RESERVE:
                is_reserved = True
            else:
                self.note_refused()
                return None
        place = Place(self, connection, is_reserved=is_reserved)
        self._open[place] = None
        return place

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


def say_last(connection: socket.socket, line: bytes) -> None:
    """Send a line that fits into an empty buffer, without waiting."""
    with suppress(OSError):
        connection.send(line)


def since(untold: int) -> str:
    """Return what a line of the log says of *untold* others like it."""
    return f"; {untold} more since the last such line" if untold else ""
