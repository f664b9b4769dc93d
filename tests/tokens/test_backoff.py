from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.tokens import policy
from proxy.tokens.backoff import NO_FAILURES, Backoff, Exponential

NOW = 1000.0
chances = st.floats(min_value=0, max_value=1, exclude_max=True)


def waits(wait: Exponential, failures: int, chance: float = 0.0, **more: float) -> float:
    """How long the last of so many failures in a row makes one wait."""
    return Backoff(failures - 1).after(wait, 0.0, chance, **more).until


def test_nothing_waits_at_first():
    assert not NO_FAILURES.holds(-1e9)


def test_a_failure_holds_until_its_time_is_up():
    once = NO_FAILURES.after(policy.FAILURE, NOW)
    assert (once.failures, once.until) == (1, NOW + 1)
    assert once.holds(NOW + 0.9)
    assert not once.holds(NOW + 1)


def test_back_off_doubles_from_one_second_to_a_minute():
    assert [waits(policy.FAILURE, n) for n in (1, 2, 3, 6, 7, 8, 5000)] == [1, 2, 4, 32, 60, 60, 60]


def test_back_off_has_full_jitter_but_never_vanishes():
    assert waits(policy.FAILURE, 7, 0.5) == 30
    assert waits(policy.FAILURE, 7, 0.999999) == 0.1


@given(st.integers(min_value=1, max_value=10_000), chances)
def test_back_off_lies_between_a_tenth_of_a_second_and_a_minute(failures, chance):
    assert 0.1 <= waits(policy.FAILURE, failures, chance) <= 60


def test_the_issuers_wish_is_honoured_up_to_five_minutes():
    """A4."""
    assert waits(policy.FAILURE, 1, requested=120) == 120
    assert waits(policy.FAILURE, 1, requested=86400) == 300
    assert waits(policy.FAILURE, 8, requested=2) == 60


def test_refusals_are_held_for_five_seconds_then_longer_up_to_ten_minutes():
    """A4."""
    assert [waits(policy.REFUSAL, n) for n in (1, 2, 3, 4, 7, 8, 5000)] == [5, 10, 20, 40, 320, 600, 600]


def test_where_each_attempt_may_do_harm_they_are_a_minute_to_ten_apart():
    assert [waits(policy.RISK, n) for n in (1, 2, 3, 4, 5, 5000)] == [60, 120, 240, 480, 600, 600]


def test_a_route_whose_renewed_tokens_are_refused_waits_from_30_seconds_to_ten_minutes():
    assert [waits(policy.ROUTE_REFUSAL, n) for n in (1, 2, 5, 6, 5000)] == [30, 60, 480, 600, 600]
