"""Lines of a socket, each at most 1 MiB: a client that sends no newline must not take the daemon's memory.

Lines are short. Of long ones, all connections together hold a few at a time, each for so long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from workroot.limits import DEFAULT_LIMITS
from workroot.rendezvous import MAX_LINE_BYTES
from workroot.transports.message_room import MessageRoom

if TYPE_CHECKING:
    from anyio.abc import SocketStream

__all__ = ["LineReader", "LineTooLongError", "LongLines"]

_CHUNK_BYTES = 64 * 1024
_SHORT_BYTES = 16 * 1024
_LONG_LINES = 4


class LineTooLongError(Exception):
    """The other side sent a line that is too long, or a long one too slowly; the text says which."""


class LongLines:
    """The lines of more than 16 KiB of all connections.

    Args:
        most: how many are held at a time; connections with more to send are not read meanwhile.
        seconds: how long one may take to arrive.
        room: where they go once they are read; none is begun while it is full.
    """

    def __init__(
        self,
        *,
        most: int = _LONG_LINES,
        seconds: float = DEFAULT_LIMITS.body_seconds,
        room: MessageRoom | None = None,
    ) -> None:
        self.places, self.seconds = anyio.Semaphore(most), seconds
        self.room = room if room is not None else MessageRoom()


class LineReader:
    """Lines of a byte stream, without their newline."""

    def __init__(self, stream: SocketStream, long_lines: LongLines | None = None) -> None:
        self._stream = stream
        self.long_lines = long_lines if long_lines is not None else LongLines()
        self._buffer = bytearray()
        self._searched = 0
        self._has_place = False

    async def receive(self, *, most_bytes: int = MAX_LINE_BYTES) -> bytes:
        """Return the next line that is not blank; a long one keeps its place until `done` or the next call.

        Raises:
            anyio.EndOfStream: the stream ended; what came after the last newline is dropped.
            LineTooLongError: a line is longer than *most_bytes*, or takes too long to arrive.
        """
        self.done()
        while (line := self._buffered(most_bytes)) is None:
            if self._searched > _SHORT_BYTES:
                return await self._receive_long(most_bytes)
            self._buffer += await self._stream.receive(_SHORT_BYTES)
        return line

    def done(self) -> None:
        """Let another connection have the place of the last line, if that was long."""
        if self._has_place:
            self._has_place = False
            self.long_lines.places.release()

    async def _receive_long(self, most_bytes: int) -> bytes:
        await self.long_lines.places.acquire()
        self._has_place = True
        try:
            await self.long_lines.room.wait_free()
            with anyio.fail_after(self.long_lines.seconds):
                while (line := self._buffered(most_bytes)) is None:
                    self._buffer += await self._stream.receive(_CHUNK_BYTES)
        except TimeoutError:
            self.done()
            raise LineTooLongError(
                f"a message of more than {_SHORT_BYTES} bytes has {self.long_lines.seconds:g} s to arrive"
            ) from None
        except BaseException:
            self.done()
            raise
        return line

    def _buffered(self, most_bytes: int) -> bytes | None:
        """Return the next line that is not blank, if it has arrived whole."""
        while (end := self._buffer.find(b"\n", self._searched)) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            self._searched = 0
            if len(line) > most_bytes:
                raise LineTooLongError(f"a message may have {most_bytes} bytes at most")
            if line.strip():
                return line
            self._buffer = self._buffer.lstrip()  # all blank lines at once: 64 KiB of them took 20 ms one by one
        self._searched = len(self._buffer)
        if self._searched > most_bytes:
            raise LineTooLongError(f"a message may have {most_bytes} bytes at most")
        return None
