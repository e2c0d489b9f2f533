"""The machine's clocks."""

from __future__ import annotations

import time

import anyio

__all__ = ["SystemClock"]


class SystemClock:
    """The clock of everyday use; see `workroot.core.ports.Clock`."""

    def wall(self) -> float:
        """Return seconds since the Unix epoch."""
        return time.time()

    def awake(self) -> float:
        """Return seconds of a clock that stands still while the machine sleeps (Linux, macOS)."""
        return time.monotonic()

    def since_boot(self) -> float:
        """Return seconds that the machine has been awake since its boot.

        That is what `time.monotonic` counts on both (CLOCK_MONOTONIC, mach_absolute_time), though Python
        does not promise it.
        """
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait for *seconds*."""
        await anyio.sleep(seconds)
