from __future__ import annotations

import pytest

from proxy.errors import LimitReached
from proxy.forward.rate_limiter import RateLimiter


def admitted(rate: RateLimiter, now: float) -> bool:
    try:
        rate.admit(now)
    except LimitReached:
        return False
    return True


def test_a_seconds_worth_may_come_at_once_and_then_one_each_interval():
    rate = RateLimiter(5.0)
    assert [admitted(rate, 100.0) for _ in range(6)] == [True] * 5 + [False]
    assert not admitted(rate, 100.1)
    assert admitted(rate, 100.21)
    assert not admitted(rate, 100.22)


def test_over_a_long_time_no_more_pass_than_the_rate_says():
    rate = RateLimiter(10.0)
    passed = sum(admitted(rate, step / 1000) for step in range(60_000))
    assert 600 <= passed <= 611


def test_who_is_turned_away_is_told_when_to_come_again():
    rate = RateLimiter(1 / 60)
    rate.admit(0.0)
    with pytest.raises(LimitReached) as refused:
        rate.admit(10.0)
    assert refused.value.headers == (("Retry-After", "50"),)
    rate.admit(60.0)
