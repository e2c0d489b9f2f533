"""How many requests a second one HTTP user may send: a bucket of tokens each, that fills up again with time.

Nothing here waits or reads a clock: callers say what time it is.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workroot.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from workroot.core.sessions import Owner
    from workroot.limits import Limits

__all__ = ["HttpRates"]

_MOST_OWNERS = 1024
"""Buckets kept; tokens name the owners, and nobody has so many. The one unused for longest is full again by then."""


@dataclass(slots=True)
class _Bucket:
    """What one user may still send.

    Attributes:
        left: requests; one is taken by each.
        filled_at: when it was filled up last, in seconds of the callers' clock.
    """

    left: float
    filled_at: float


class HttpRates:
    """Lets each user send `requests_per_second` on average, and `request_burst` at once."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._buckets: OrderedDict[Owner, _Bucket] = OrderedDict()  # the one unused for longest first

    def seconds_to_wait(self, owner: Owner, now: float) -> float:
        """Take one request of *owner*'s, and return 0; or take none, and return when there will be one.

        Args:
            owner: who sends it.
            now: by a clock that never goes back, in seconds.
        """
        bucket = self._buckets.get(owner)
        if bucket is None:
            if len(self._buckets) >= _MOST_OWNERS:
                self._buckets.popitem(last=False)
            bucket = self._buckets[owner] = _Bucket(self._limits.request_burst, now)
        self._buckets.move_to_end(owner)
        rate = self._limits.requests_per_second
        bucket.left = min(self._limits.request_burst, bucket.left + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        if bucket.left < 1:
            return (1 - bucket.left) / rate
        bucket.left -= 1
        return 0

    def charge(self, owner: Owner, more: int) -> None:
        """Count the request that *owner* has just sent as *more* than one; the debt is a burst at most."""
        bucket = self._buckets.get(owner)
        if bucket is not None and more:
            bucket.left = max(-float(self._limits.request_burst), bucket.left - more)
