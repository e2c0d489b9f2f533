"""What the client has not read yet.

The client's pipe stays as it was given to us, blocking or not, since its flags are shared with whoever else
holds it. So it is written only when it has room, in pieces that fit into that room.
"""

from __future__ import annotations

import os
import select
from collections import deque

from workroot.connector.readiness import GONE, WRITE, wait_ready
from workroot.rendezvous import MAX_LINE_BYTES

__all__ = ["MAX_UNREAD_BYTES", "Outbox"]

MAX_UNREAD_BYTES = MAX_LINE_BYTES
"""While more than this waits, nothing more should be added."""


class Outbox:
    """Lines on their way to a descriptor.

    Attributes:
        descriptor: where they go.
        is_broken: nobody reads them any more.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.is_broken = False
        self._lines: deque[bytes] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        """Whether anything waits."""
        return bool(self._lines)

    @property
    def is_full(self) -> bool:
        """Whether as much waits as may wait."""
        return self._bytes > MAX_UNREAD_BYTES

    def add(self, line: bytes) -> None:
        """Put *line* behind what waits."""
        self._lines.append(line)
        self._bytes += len(line)

    def write_nowait(self) -> None:
        """Write what can be written without waiting."""
        while self._lines and not self.is_broken:
            ready = wait_ready({self.descriptor: WRITE}, 0).get(self.descriptor, 0)
            if not ready & WRITE:
                self.is_broken = bool(ready & GONE)
                return
            line = self._lines.popleft()
            try:
                written = os.write(self.descriptor, line[: select.PIPE_BUF])
            except BlockingIOError:
                self._lines.appendleft(line)
                return
            except OSError:
                self.is_broken = True
                return
            self._bytes -= written
            if written < len(line):
                self._lines.appendleft(line[written:])
