"""How many requests a second one HTTP user may send.

Nothing here waits or reads a clock: callers say what time it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from workroot.limits import DEFAULT_LIMITS
from workroot.token_buckets import MOST_KEYS, TokenBuckets

if TYPE_CHECKING:
    from workroot.core.sessions import Owner
    from workroot.limits import Limits

__all__ = ["HttpRates"]


class HttpRates:
    """Lets each user send `requests_per_second` on average, and `request_burst` at once.

    Args:
        limits: are read anew with each request.
        most_owners: that are told apart; tokens name them, and nobody has so many.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS, *, most_owners: int = MOST_KEYS) -> None:
        self._limits = limits
        self._buckets: TokenBuckets[Owner] = TokenBuckets(most_keys=most_owners)

    def seconds_to_wait(self, owner: Owner, now: float) -> float:
        """Take one request of *owner*'s, and return 0; or take none, and return when there will be one.

        Args:
            owner: who sends it.
            now: by a clock that never goes back, in seconds.
        """
        rate, burst = self._limits.requests_per_second, self._limits.request_burst
        return self._buckets.seconds_to_wait(owner, now, rate=rate, burst=burst)

    def charge(self, owner: Owner, more: int) -> None:
        """Count the request that *owner* has just sent as *more* than one; the debt is a burst at most."""
        self._buckets.charge(owner, more, burst=self._limits.request_burst)
