"""Lines of a socket, each at most 1 MiB: a client that sends no newline must not take the daemon's memory.

Lines are short. Long ones share one room of so many bytes, each for so long. When others wait for it, a line whose
sender does not go on gives way: who stalls holds up nobody but itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio

from workroot.limits import DEFAULT_LIMITS
from workroot.rendezvous import MAX_LINE_BYTES
from workroot.transports.message_room import LineTooLongError, MessageRoom

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio.abc import SocketStream

__all__ = ["LineReader", "LineTooLongError", "LongLines"]

_CHUNK_BYTES = 64 * 1024
_SHORT_BYTES = 16 * 1024
_ROOM_BYTES = 16 * 1024 * 1024
_STALL_SECONDS = 0.25  # a sender on this machine writes 64 KiB within a millisecond


class _LongLine:
    """One long line that arrives, or that has arrived and is not read yet."""

    def __init__(self, size: int) -> None:
        self.size = size  # of the room, for as long as it is in it
        self.is_let_in = anyio.Event()
        self.scope = anyio.CancelScope()
        self.since = 0.0  # when its sender last went on, on the event loop's clock
        self.fresh_bytes = 0  # what came since


class LongLines:
    """The lines of more than 16 KiB of all connections.

    A line has room for as long as it may become, so that none that has begun waits for another. Who waits is let in
    in the order of coming.

    Args:
        most_bytes: how long they may be, all together; connections with more to send are not read meanwhile.
        seconds: how long one may take to arrive, waiting included.
        stall_seconds: how long its sender may take for 64 KiB while others wait.
        room: where they go once they are read; none is begun while it is full.
    """

    def __init__(
        self,
        *,
        most_bytes: int = _ROOM_BYTES,
        seconds: float = DEFAULT_LIMITS.body_seconds,
        stall_seconds: float = _STALL_SECONDS,
        room: MessageRoom | None = None,
    ) -> None:
        self.seconds = seconds
        self.room = room if room is not None else MessageRoom(seconds=seconds)
        self._most_bytes, self._stall_seconds = most_bytes, stall_seconds
        self._taken = 0
        self._arriving: dict[_LongLine, None] = {}  # whose sender has not gone on for longest is first
        self._waiting: dict[_LongLine, None] = {}  # in the order in which they came
        self._timer: asyncio.TimerHandle | None = None

    @property
    def taken(self) -> int:
        """How many bytes of the room are taken."""
        return self._taken

    async def wait_room(self, line: _LongLine) -> None:
        """Return when *line* may arrive; `release` gives its room back, whatever became of it."""
        self._waiting[line] = None
        self._let_in()
        await line.is_let_in.wait()

    def note_received(self, line: _LongLine, count: int) -> None:
        """Note that so many bytes of *line* came; of a few at a time, many have to come to count as going on."""
        line.fresh_bytes += count
        if line.fresh_bytes >= _CHUNK_BYTES and line in self._arriving:
            self._note_progress(line)

    def note_arrived(self, line: _LongLine) -> None:
        """Note that *line* is here whole: it keeps its room, and does not give way."""
        self._arriving.pop(line, None)

    def release(self, line: _LongLine) -> None:
        """Let others have the room of *line*. Safe to call twice."""
        self._waiting.pop(line, None)
        self._arriving.pop(line, None)
        if line.is_let_in.is_set():
            self._taken -= line.size
            line.size = 0
        self._let_in()

    def _note_progress(self, line: _LongLine) -> None:
        line.since, line.fresh_bytes = asyncio.get_running_loop().time(), 0
        self._arriving.pop(line, None)
        self._arriving[line] = None

    def _let_in(self) -> None:
        while self._waiting:
            line = next(iter(self._waiting))
            if self._taken and self._taken + line.size > self._most_bytes:
                break
            del self._waiting[line]
            self._taken += line.size
            self._note_progress(line)
            line.is_let_in.set()
        self._watch()

    def _watch(self) -> None:
        """Come back when the next sender may have stalled for too long, if somebody waits."""
        if self._timer is None and self._waiting and self._arriving:
            loop = asyncio.get_running_loop()
            due = next(iter(self._arriving)).since + self._stall_seconds
            # two rounds later: what came while the loop was busy is received first
            self._timer = loop.call_at(due, loop.call_soon, loop.call_soon, self._cut_off)

    def _cut_off(self) -> None:
        self._timer = None
        late = asyncio.get_running_loop().time() - self._stall_seconds
        for line in tuple(self._arriving):
            if not self._waiting or line.since > late:
                break
            line.scope.cancel()
            self.release(line)
        self._watch()


class LineReader:
    """Lines of a byte stream, without their newline."""

    def __init__(self, stream: SocketStream, long_lines: LongLines | None = None) -> None:
        self._stream = stream
        self.long_lines = long_lines if long_lines is not None else LongLines()
        self._buffer = bytearray()
        self._searched = 0
        self._long_line: _LongLine | None = None
        self.on_line: Callable[[], None] | None = None

    async def receive(self, *, most_bytes: int = MAX_LINE_BYTES) -> bytes:
        """Return the next line that is not blank; a long one keeps its room until `done` or the next call.

        If `on_line` is set, it is called for each.

        Raises:
            anyio.EndOfStream: the stream ended; what came after the last newline is dropped.
            LineTooLongError: a line is longer than *most_bytes*, or takes too long to arrive.
        """
        self.done()
        while (line := self._buffered(most_bytes)) is None:
            if self._searched > _SHORT_BYTES:
                line = await self._receive_long(most_bytes)
                break
            self._buffer += await self._stream.receive(_SHORT_BYTES)
        if self.on_line is not None:
            self.on_line()
        return line

    def done(self) -> None:
        """Let another connection have the room of the last line, if that was long."""
        if self._long_line is not None:
            self.long_lines.release(self._long_line)
            self._long_line = None

    async def _receive_long(self, most_bytes: int) -> bytes:
        long_lines = self.long_lines
        long_line = self._long_line = _LongLine(most_bytes + _CHUNK_BYTES)
        try:
            with anyio.fail_after(long_lines.seconds):
                await long_lines.room.wait_free()
                await long_lines.wait_room(long_line)
                with long_line.scope:
                    while (line := self._buffered(most_bytes)) is None:
                        piece = await self._stream.receive(_CHUNK_BYTES)
                        self._buffer += piece
                        long_lines.note_received(long_line, len(piece))
                    long_lines.note_arrived(long_line)
                    return line
        except TimeoutError:
            self.done()
            raise LineTooLongError(
                f"a message of more than {_SHORT_BYTES} bytes has {long_lines.seconds:g} s to arrive"
            ) from None
        except BaseException:
            self.done()
            raise
        self.done()
        raise LineTooLongError(
            f"a message of more than {_SHORT_BYTES} bytes must be sent at once while others wait to send theirs"
        )

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
