"""How often one principal may call an attached server: off, unless its author gives `attach` a `RateLimit`.

Who asks is told by the principal alone: a new connection or session id gives nobody a new bucket.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from workroot.mcp_face.rate_limits import rate_limited
from workroot.token_buckets import MOST_KEYS, TokenBuckets, usual_burst

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RateLimit", "RequestLimit"]


class RequestLimit(Protocol):
    """What `attach` asks before every request: a `RateLimit`, or what its author wrote."""

    def check(self, principal: str) -> None:
        """Count one request of *principal*'s.

        Raises:
            MCPError: it is refused, and this is what its client hears.
            WorkrootError: it is refused; a call of a tool hears of it as of a tool's error, what else is asked as of a
                JSON-RPC error whose `data` has its `code`.
        """


class RateLimit:
    """Lets each principal ask *per_second* times a second on average, and *burst* times at once.

    Args:
        per_second: above 0.
        burst: 1 at least; None for twice *per_second*.
        most_principals: that are told apart; of more, the one that was silent for longest begins anew.
        clock: in seconds; must never go back.

    Attributes:
        refused: how many requests were refused so far.

    Raises:
        ValueError: a number is out of range.
    """

    def __init__(
        self,
        *,
        per_second: float,
        burst: float | None = None,
        most_principals: int = MOST_KEYS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < per_second < float("inf"):
            raise ValueError(f"per_second must be a number above 0, not {per_second!r}")
        if burst is not None and not 1 <= burst < float("inf"):
            raise ValueError(f"burst must be a number of at least 1, not {burst!r}")
        if most_principals < 1:
            raise ValueError(f"most_principals must be at least 1, not {most_principals!r}")
        self._rate, self._burst = per_second, usual_burst(per_second) if burst is None else burst
        self._buckets: TokenBuckets[str] = TokenBuckets(most_keys=most_principals)
        self._clock = clock
        self.refused = 0

    def check(self, principal: str) -> None:
        """Count one request of *principal*'s.

        Raises:
            MCPError: it comes too soon; the code is `workroot.mcp_face.rate_limits.RATE_LIMITED`, and `data` says in
                `retry_after` in how many seconds it may be sent again.
        """
        seconds = self._buckets.seconds_to_wait(principal, self._clock(), rate=self._rate, burst=self._burst)
        if seconds > 0:
            self.refused += 1
            raise rate_limited(seconds, self._rate)
