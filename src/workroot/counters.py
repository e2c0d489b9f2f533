"""What the daemon refused or gave up on, and how often: one number per kind, since its start.

Whoever refuses counts; `workroot status` and the metrics show it. Counting never waits and never fails.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Counters", "Refusal"]

Refusal: TypeAlias = Literal[
    "accept_failed",  # no descriptor was left for a connection
    "connection_limit",  # more connections than are allowed
    "foreign_user",  # a connection of another system user
    "http_head",  # an HTTP request with another head than is asked for: path, method, media type, length
    "http_origin",  # an HTTP request of a web page or to another name: Host, Origin, Sec-Fetch-Site
    "http_slow",  # an HTTP head or body that took too long
    "http_token",  # an HTTP request without a token that exists
    "invalid_json",  # a message that is not strict JSON
    "line_too_long",  # a message of more than 1 MiB
    "listen_limit",  # more listen streams than are allowed
    "rate_limit",  # more requests a second than are allowed
    "session_limit",  # more sessions than are allowed: the longest idle gave way
    "slow_reader",  # a client that took nothing of what it was sent
]
"""A kind of refusal."""


class Counters:
    """Counts refusals by kind."""

    def __init__(self) -> None:
        self._counts: Counter[Refusal] = Counter()

    def add(self, kind: Refusal, amount: int = 1) -> None:
        """Count one more, or *amount* more."""
        self._counts[kind] += amount

    def counts(self) -> Mapping[Refusal, int]:
        """Return what was counted so far; kinds that never came up are left out."""
        return dict(self._counts)
