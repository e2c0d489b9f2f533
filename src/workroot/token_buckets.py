"""Who may ask how often: a bucket of tokens for each key, that fills up again with time.

Nothing here waits or reads a clock: callers say what time it is. There is an end to the number of buckets, whatever
the keys are.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["MOST_KEYS", "TokenBuckets", "usual_burst"]

MOST_KEYS = 1024
"""Buckets kept. Of more keys, the one unused for longest is forgotten; its bucket is full again by then."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class _Bucket:
    """What one key may still ask.

    Attributes:
        left: requests; one is taken by each.
        filled_at: when it was filled up last, in seconds of the callers' clock.
    """

    left: float
    filled_at: float


class TokenBuckets(Generic[Key]):
    """A bucket for each key; how fast they fill, and how much is in them, is said anew with each request.

    Args:
        most_keys: buckets kept at a time.
    """

    def __init__(self, *, most_keys: int = MOST_KEYS) -> None:
        self._most_keys = most_keys
        self._buckets: OrderedDict[Key, _Bucket] = OrderedDict()  # the one unused for longest first

    def __len__(self) -> int:
        return len(self._buckets)

    def seconds_to_wait(self, key: Key, now: float, *, rate: float, burst: float) -> float:
        """Take one request of *key*'s, and return 0; or take none, and return when there will be one.

        Args:
            key: who asks.
            now: by a clock that never goes back, in seconds.
            rate: requests a second, on average; above 0.
            burst: requests at once; 1 at least.
        """
        bucket = self._buckets.get(key)
        if bucket is None:
            if len(self._buckets) >= self._most_keys:
                self._buckets.popitem(last=False)
            bucket = self._buckets[key] = _Bucket(burst, now)
        self._buckets.move_to_end(key)
        bucket.left = min(burst, bucket.left + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        if bucket.left < 1:
            return (1 - bucket.left) / rate
        bucket.left -= 1
        return 0

    def charge(self, key: Key, more: int, *, burst: float) -> None:
        """Count the request that *key* has just made as *more* than one; the debt is a burst at most."""
        bucket = self._buckets.get(key)
        if bucket is not None and more:
            bucket.left = max(-float(burst), bucket.left - more)


def usual_burst(rate: float) -> float:
    """Return what may come at once where nobody has said it: as much as in two seconds, and one at least."""
    return max(1.0, 2 * rate)
