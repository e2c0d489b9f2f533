"""Bytes become lines, however they were cut on the way, and no line takes more memory than the limit.

Of a line over the limit only both ends are kept: enough to find out which request it was.
"""

from __future__ import annotations

from workroot.rendezvous import MAX_LINE_BYTES

__all__ = ["KEPT_HEAD_BYTES", "KEPT_TAIL_BYTES", "LineSplitter", "LongLine"]

KEPT_HEAD_BYTES = 4096
KEPT_TAIL_BYTES = 512


class LongLine:
    """What is left of a line over the limit.

    Attributes:
        head: its first bytes.
        tail: its last bytes, without the newline.
        size: how long it was, in bytes, without the newline.
    """

    __slots__ = ("head", "size", "tail")

    def __init__(self, head: bytes, tail: bytes, size: int) -> None:
        self.head, self.tail, self.size = head, tail, size


class LineSplitter:
    """Cuts a stream of bytes into lines, whatever the pieces it arrives in.

    Args:
        limit: longest line, in bytes, its newline not counted.
    """

    def __init__(self, limit: int = MAX_LINE_BYTES) -> None:
        self._limit = limit
        self._begin()

    def feed(self, piece: bytes) -> list[bytes | LongLine]:
        """Return the lines that *piece* completes, each with its newline, unless it was too long."""
        lines: list[bytes | LongLine] = []
        start = 0
        while (end := piece.find(b"\n", start)) >= 0:
            self._keep(piece[start:end])
            lines.append(self._finish())
            start = end + 1
        self._keep(piece[start:])
        return lines

    def finish(self) -> list[bytes | LongLine]:
        """Return the last line if the stream ended without a newline; it gets one."""
        return [self._finish()] if self._size else []

    def _begin(self) -> None:
        self._size = 0
        self._kept = bytearray()
        self._head = b""

    def _keep(self, piece: bytes) -> None:
        was_too_long = self._size > self._limit
        self._size += len(piece)
        self._kept += piece
        if self._size <= self._limit:
            return
        if not was_too_long:
            self._head = bytes(self._kept[: min(KEPT_HEAD_BYTES, self._limit)])  # whatever the pieces were
        self._kept = self._kept[-KEPT_TAIL_BYTES:]

    def _finish(self) -> bytes | LongLine:
        if self._size > self._limit:
            line: bytes | LongLine = LongLine(self._head, bytes(self._kept), self._size)
        else:
            self._kept += b"\n"
            line = bytes(self._kept)
        self._begin()
        return line
