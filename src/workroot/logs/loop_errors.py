"""Errors that come again and again, as one log line in ten seconds: a log must not fill the disk under attack.

An event loop hands every error that nobody waits for to its exception handler, and the usual one prints a traceback
each time. With no descriptor left, that was 29 to 125 MB of log in 7 seconds, one traceback for each refused accept.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Hashable

__all__ = ["QuietLoopErrors", "Seldom"]

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 10.0
_MOST_KINDS = 64


class Seldom:
    """Says when something that may come up very often is to be told: at once, then every ten seconds.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, *, pause_seconds: float = _PAUSE_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._pause_seconds, self._clock = pause_seconds, clock
        self._kinds: dict[Hashable, tuple[float, int]] = {}  # when it was told, and how often it came since

    def is_due(self, kind: Hashable) -> int | None:
        """Return how often *kind* came up untold before this time, or None: do not tell it now."""
        now = self._clock()
        told_at, untold = self._kinds.get(kind, (None, 0))
        if told_at is not None and now - told_at < self._pause_seconds:
            self._kinds[kind] = told_at, untold + 1
            return None
        if told_at is None and len(self._kinds) >= _MOST_KINDS:
            del self._kinds[next(iter(self._kinds))]  # bounded, whatever kinds there are
        self._kinds[kind] = now, 0
        return untold


class QuietLoopErrors:
    """An exception handler for `loop.set_exception_handler`: one traceback per kind in ten seconds.

    A kind is the loop's own message with the error's type, and its number where it has one.
    """

    def __init__(self, *, seldom: Seldom | None = None) -> None:
        self._seldom = seldom if seldom is not None else Seldom()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log one error that nobody waits for; never raises."""
        message, error = str(context.get("message") or "an error in the event loop"), context.get("exception")
        number = error.errno if isinstance(error, OSError) else None
        untold = self._seldom.is_due((message[:100], type(error), number))
        if untold is None:
            return
        before = f" ({untold} more like it since the last such line)" if untold else ""
        logger.error("%s%s", message, before, exc_info=error if isinstance(error, BaseException) else None)
