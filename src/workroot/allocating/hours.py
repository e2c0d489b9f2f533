"""Times to live as programs give them, in hours."""

from __future__ import annotations

from workroot.core.allocations import checked_seconds
from workroot.errors import TimeToLiveError

__all__ = ["seconds_of"]

_HOUR = 3600.0


def seconds_of(hours: float) -> float:
    """Return so many hours in seconds.

    Raises:
        TimeToLiveError: no session can live for so long; names the hours as they were given.
    """
    try:
        return checked_seconds(hours * _HOUR if _is_number(hours) else hours)
    except (OverflowError, TimeToLiveError):  # an integer may be beyond all floats
        raise TimeToLiveError(hours, "hours") from None


def _is_number(hours: object) -> bool:
    return isinstance(hours, int | float) and not isinstance(hours, bool)
