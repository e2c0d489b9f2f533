"""Lines out and in over a connected socket, in the event loop that made it. Nothing here waits, or blocks.

What the other side said before it went is taken before anybody is told that it has gone.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

__all__ = ["LineSocket"]

_READ_BYTES = 256 * 1024


class LineSocket:
    """Sends and receives lines until either side closes.

    Args:
        connection: non-blocking; closed with this, or when nobody has this any more.
        take: is given each line that comes, without its newline.
        lost: is told, once, that the other side has gone, with the system's reason if it gave one, or a `ValueError`
            if it sent a line that is too long. Not called after `close`.
        longest: of a line that comes, in bytes.
    """

    def __init__(
        self,
        connection: socket.socket,
        *,
        take: Callable[[bytes], None],
        lost: Callable[[OSError | ValueError | None], None],
        longest: int,
    ) -> None:
        self._loop, self._pid = asyncio.get_running_loop(), os.getpid()
        self._connection, self._take_line, self._lost, self._longest = connection, take, lost, longest
        self._closing = weakref.finalize(self, connection.close)  # whatever became of the loop
        self._unread, self._unsent = bytearray(), bytearray()
        self._loop.add_reader(connection, self.receive)

    @property
    def is_open(self) -> bool:
        """Whether neither side has closed, as far as is known."""
        return self._closing.alive

    @property
    def unsent(self) -> int:
        """How many bytes the other side has not taken yet."""
        return len(self._unsent)

    def send(self, line: bytes) -> bool:
        """Send a line as soon as that can be; False: the other side has gone, and nothing of it went out."""
        if not self.is_open:
            return False
        is_waiting = bool(self._unsent)
        self._unsent += line
        if not is_waiting:
            self._flush()
            if self._unsent and self.is_open:
                self._loop.add_writer(self._connection, self._flush)
        return self.is_open

    def receive(self) -> bool:
        """Take what has come; False: nothing more has."""
        try:
            piece = self._connection.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        except OSError as error:
            self._lose(error)
            return False
        if not piece:
            self._lose(None)
            return False
        head, newline, tail = piece.rpartition(b"\n")
        if not newline:
            self._unread += piece
            if len(self._unread) > self._longest:
                self._lose(ValueError("a line without an end"))
            return self.is_open
        lines, self._unread = bytes(self._unread + head).split(b"\n"), bytearray(tail)
        for line in lines:
            if self.is_open:
                self._take_line(line)
        return self.is_open

    def close(self) -> None:
        """Close. Idempotent."""
        if not self.is_open:
            return
        # A child that was forked shares the loop's selector, and must take nothing out of its parent's.
        if self._pid == os.getpid() and not self._loop.is_closed():
            self._loop.remove_reader(self._connection)
            self._loop.remove_writer(self._connection)
        self._unsent.clear()
        self._closing()

    def _flush(self) -> None:
        try:
            sent = self._connection.send(self._unsent)
        except BlockingIOError:
            return
        except OSError as error:
            while self.receive():
                pass
            self._lose(error)
            return
        del self._unsent[:sent]
        if not self._unsent:
            self._loop.remove_writer(self._connection)

    def _lose(self, error: OSError | ValueError | None) -> None:
        if self.is_open:
            self.close()
            self._lost(error)
