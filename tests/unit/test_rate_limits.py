"""How often one may ask: by the principal alone, with an end to what is kept, and by a clock that is passed in."""

from __future__ import annotations

from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from workroot.attached.rate_limit import RateLimit
from workroot.mcp_face.rate_limits import RATE_LIMITED
from workroot.token_buckets import TokenBuckets, usual_burst


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def allowed(limit: RateLimit, principal: str, *, most: int = 1000) -> int:
    """Return how many requests are let through at one moment."""
    for number in range(most):
        try:
            limit.check(principal)
        except MCPError:
            return number
    return most


@pytest.mark.row("M5")
def test_twice_the_rate_may_come_at_once_unless_something_else_is_said() -> None:
    assert allowed(RateLimit(per_second=5, clock=Time()), "ada") == 10
    assert allowed(RateLimit(per_second=5, burst=3, clock=Time()), "ada") == 3
    assert allowed(RateLimit(per_second=0.1, clock=Time()), "ada") == 1


@pytest.mark.row("M5")
def test_who_is_refused_learns_when_to_ask_again_and_is_let_through_then() -> None:
    time = Time()
    limit = RateLimit(per_second=4, burst=2, clock=time)
    assert allowed(limit, "ada") == 2

    with pytest.raises(MCPError, match=r"more than 4 requests a second; nothing was done, .* in 0\.25 s") as refused:
        limit.check("ada")
    assert refused.value.code == RATE_LIMITED
    assert refused.value.data == {"retryable": True, "retry_after": 0.25}
    assert not -32768 <= RATE_LIMITED <= -32000  # where the protocol allows no new code

    time.now += 0.25
    assert allowed(limit, "ada") == 1
    assert limit.refused == 3


def test_one_principal_s_rate_is_not_anothers() -> None:
    limit = RateLimit(per_second=1, burst=2, clock=Time())
    assert [allowed(limit, name) for name in ("ada", "bob", "ada")] == [2, 2, 0]


@pytest.mark.row("M5")
def test_however_many_principals_come_as_many_are_told_apart_as_was_said() -> None:
    buckets: TokenBuckets[str] = TokenBuckets(most_keys=3)
    for number in range(10_000):
        assert buckets.seconds_to_wait(str(number), 0, rate=1, burst=1) == 0
    assert len(buckets) == 3
    limit = RateLimit(per_second=1, burst=1, most_principals=2, clock=Time())
    assert [allowed(limit, name) for name in ("ada", "bob", "eve", "eve", "ada")] == [1, 1, 1, 0, 1]


@pytest.mark.parametrize(
    "numbers",
    [
        {"per_second": 0},
        {"per_second": -1},
        {"per_second": float("nan")},
        {"per_second": float("inf")},
        {"per_second": 1, "burst": 0.5},
        {"per_second": 1, "burst": float("inf")},
        {"per_second": 1, "most_principals": 0},
    ],
)
def test_a_number_that_makes_no_sense_is_refused(numbers: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        RateLimit(**numbers)


def test_the_usual_burst_is_never_below_one() -> None:
    assert [usual_burst(rate) for rate in (0.001, 0.5, 10)] == [1, 1, 20]
