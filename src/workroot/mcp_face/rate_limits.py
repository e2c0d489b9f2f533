"""How often one user may ask, over every transport, connection and session together: one bucket a principal.

Neither a new connection nor a new session id gives anybody a new bucket. What is over the rate is refused with an
error that says when to send it again, and nothing of it is done.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError

from workroot.mcp_face.evidence import peer_of
from workroot.token_buckets import TokenBuckets, usual_burst

if TYPE_CHECKING:
    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

    from workroot.core.ports import Clock
    from workroot.counters import Counters
    from workroot.limits import Limits

__all__ = ["RATE_LIMITED", "RateLimits", "rate_limited"]

RATE_LIMITED = 429
"""The code of the error: HTTP's number for the same. MCP 2026-07-28, basic, "Error Codes", allows no new code in
JSON-RPC's reserved range, -32768 to -32000."""

_NEVER_REFUSED = frozenset({"initialize", "server/discover", "ping", "subscriptions/listen"})
"""Connectors send these by themselves when they come back to a new daemon: an error here would be the end of a
connection. They count all the same."""


class RateLimits:
    """Server middleware: lets each principal ask `rate_limit_per_second` on average, if that is set.

    Args:
        limits: are read anew with each request.
        counters: count what is refused.
    """

    def __init__(self, limits: Limits, counters: Counters, clock: Clock) -> None:
        self._limits, self._counters, self._clock = limits, counters, clock
        self._buckets: TokenBuckets[str] = TokenBuckets()

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Have a request answered, or refuse it; notifications, which take requests back, always pass."""
        if self._limits.rate_limit_per_second and ctx.request_id is not None:
            self._check(ctx)
        return await call_next(ctx)

    def _check(self, ctx: ServerRequestContext[Any, Any]) -> None:
        rate = self._limits.rate_limit_per_second
        burst = self._limits.rate_limit_burst or usual_burst(rate)
        principal = peer_of(ctx).owner.principal
        seconds = self._buckets.seconds_to_wait(principal, self._clock.awake(), rate=rate, burst=burst)
        if seconds > 0 and ctx.method not in _NEVER_REFUSED:
            self._counters.add("rate_limit")
            raise rate_limited(seconds, rate)


def rate_limited(seconds: float, rate: float) -> MCPError:
    """Return the error for a request that comes too soon.

    Args:
        seconds: until it may be sent again.
        rate: requests a second that are allowed, on average.
    """
    wait = math.ceil(seconds * 1000) / 1000
    return MCPError(
        RATE_LIMITED,
        f"more than {rate:g} requests a second; nothing was done, send this again in {wait:g} s",
        {"retryable": True, "retry_after": wait},
    )
