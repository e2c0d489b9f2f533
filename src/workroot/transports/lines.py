"""Lines of a socket, each at most 1 MiB: a client that sends no newline must not take the daemon's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.rendezvous import MAX_LINE_BYTES

if TYPE_CHECKING:
    from anyio.abc import SocketStream

__all__ = ["LineReader", "LineTooLongError"]

_CHUNK_BYTES = 64 * 1024


class LineTooLongError(Exception):
    """The other side sent a line of more than 1 MiB: it does not speak this protocol."""


class LineReader:
    """Lines of a byte stream, without their newline."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._searched = 0

    async def receive(self) -> bytes:
        """Return the next line that is not blank.

        Raises:
            anyio.EndOfStream: the stream ended; what came after the last newline is dropped.
            LineTooLongError: a line is longer than 1 MiB.
        """
        while True:
            end = self._buffer.find(b"\n", self._searched)
            if end >= 0:
                line = bytes(self._buffer[:end])
                del self._buffer[: end + 1]
                self._searched = 0
                if line.strip():
                    return line
                continue
            self._searched = len(self._buffer)
            if self._searched > MAX_LINE_BYTES:
                raise LineTooLongError
            self._buffer += await self._stream.receive(_CHUNK_BYTES)
