from __future__ import annotations

import pytest

from workroot.core.sessions import Owner
from workroot.limits import Limits
from workroot.transports.http_rates import HttpRates

ADA, BOB = Owner("user:ada"), Owner("user:bob")
FEW = Limits(requests_per_second=10, request_burst=3)


def burst(rates: HttpRates, owner: Owner, *, now: float, most: int = 1000) -> int:
    """Return how many requests are let through at one moment."""
    return next(number for number in range(most) if rates.seconds_to_wait(owner, now) > 0)


def test_the_usual_limits_are_a_burst_of_400_and_200_a_second() -> None:
    rates = HttpRates()
    assert burst(rates, ADA, now=0) == 400
    assert burst(rates, ADA, now=1) == 200


def test_one_users_burst_is_not_anothers() -> None:
    rates = HttpRates(FEW)
    assert burst(rates, ADA, now=0) == 3
    assert burst(rates, BOB, now=0) == 3
    assert burst(rates, Owner("user:ada", "other"), now=0) == 3


def test_who_must_wait_learns_how_long_and_is_let_through_then() -> None:
    rates = HttpRates(FEW)
    burst(rates, ADA, now=5)
    seconds = rates.seconds_to_wait(ADA, 5)

    assert seconds == pytest.approx(0.1)
    assert rates.seconds_to_wait(ADA, 5 + seconds / 2) > 0
    assert rates.seconds_to_wait(ADA, 5 + seconds + 1e-9) == 0


def test_to_ask_in_vain_costs_nothing() -> None:
    rates = HttpRates(FEW)
    burst(rates, ADA, now=0)
    for _ in range(100):
        assert rates.seconds_to_wait(ADA, 0) > 0
    assert burst(rates, ADA, now=0.21) == 2


def test_what_is_saved_up_is_never_more_than_a_burst() -> None:
    rates = HttpRates(FEW)
    burst(rates, ADA, now=0)
    assert burst(rates, ADA, now=1_000_000) == 3


def test_of_too_many_users_the_one_unused_for_longest_is_forgotten() -> None:
    rates = HttpRates(FEW, most_owners=2)
    for owner in (ADA, BOB, ADA, ADA, Owner("user:eve")):
        rates.seconds_to_wait(owner, 0)

    assert burst(rates, ADA, now=0) == 0
    assert burst(rates, BOB, now=0) == 3


def test_a_request_may_count_as_several_and_the_debt_is_a_burst_at_most() -> None:
    rates = HttpRates(FEW)
    assert rates.seconds_to_wait(ADA, 0) == 0
    rates.charge(ADA, 1)
    assert burst(rates, ADA, now=0) == 1
    rates.charge(ADA, 1000)
    assert rates.seconds_to_wait(ADA, 0) == pytest.approx(0.4)
    rates.charge(BOB, 1000)
    assert burst(rates, BOB, now=0) == 3
