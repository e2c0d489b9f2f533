"""Tells when nobody has needed the daemon for so long that it may leave.

No clock runs while somebody is connected, and none looks at intervals: the time begins when the last one goes.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["IdleExit"]


class IdleExit:
    """Counts who needs the daemon.

    Args:
        seconds: for how long nobody must have needed it; 0: it never leaves for that.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._users = 0
        self._changed = anyio.Event()

    @property
    def seconds(self) -> float:
        """For how long nobody must have needed the daemon; 0: it never leaves for that."""
        return self._seconds

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._seconds = seconds
        self._tell()

    @contextmanager
    def needed(self) -> Iterator[None]:
        """Be somebody who needs the daemon."""
        self._users += 1
        self._tell()
        try:
            yield
        finally:
            self._users -= 1
            self._tell()

    async def wait(self) -> None:
        """Return when nobody has needed the daemon for long enough; nobody does at that moment either."""
        while True:
            self._changed = anyio.Event()
            if self._users or not self._seconds:
                await self._changed.wait()
                continue
            with anyio.move_on_after(self._seconds) as idle:
                await self._changed.wait()
            if idle.cancelled_caught and not self._users:
                return

    def _tell(self) -> None:
        self._changed.set()
