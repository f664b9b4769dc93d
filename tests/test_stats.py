from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats import BOUNDS, Histogram, Recent, RouteStats, quantile


def test_requests_are_counted_by_method_and_status():
    stats = RouteStats()
    for method, status in [(b"GET", 200), (b"GET", 200), (b"POST", 401), (b"GET", 901)]:
        stats.count(method, status, 0.01)

    assert stats.counts == {("GET", 200): 2, ("POST", 401): 1, ("GET", 901): 1}


@given(st.lists(st.binary(min_size=1)))
def test_the_app_cannot_make_labels(methods):
    stats = RouteStats()
    for method in methods:
        stats.count(method, 200, 0.01)

    assert len(stats.counts) <= 10
    assert sum(stats.counts.values()) == len(methods)


def test_an_unknown_method_is_other():
    stats = RouteStats()
    stats.count(b"get", 200, 0.01)

    assert stats.counts == {("OTHER", 200): 1}


def test_retries_are_counted_by_reason():
    stats = RouteStats()
    for reason in ("unauthorized", "stale_connection", "unauthorized"):
        stats.retried(reason)

    assert stats.retries == {"unauthorized": 2, "stale_connection": 1}


@given(st.lists(st.floats(min_value=0, max_value=1000)))
def test_an_observation_falls_into_the_first_bucket_that_holds_it(durations):
    histogram = Histogram()
    for seconds in durations:
        histogram.observe(seconds)

    for index, bound in enumerate(BOUNDS):
        assert sum(histogram.buckets[: index + 1]) == sum(seconds <= bound for seconds in durations)
    assert sum(histogram.buckets) == len(durations)
    assert histogram.seconds == pytest.approx(sum(durations))


def test_without_requests_there_is_nothing_to_measure():
    assert RouteStats().recent(10.0) == Recent(rate=0.0, client_errors=0.0, server_errors=0.0, p50=None, p95=None)


def test_the_last_minute_forgets_what_was_before():
    stats = RouteStats()
    stats.sample(0.0)
    for _ in range(100):
        stats.count(b"GET", 500, 5.0)
    for second in range(5, 70, 5):
        stats.sample(second)
    for status in [200] * 90 + [404] * 6 + [503] * 24:
        stats.count(b"GET", status, 0.02)

    recent = stats.recent(65.0)

    assert recent.rate == pytest.approx(2.0)
    assert recent.client_errors == pytest.approx(0.05)
    assert recent.server_errors == pytest.approx(0.2)
    assert recent.p50 is not None
    assert 0.01 <= recent.p50 <= 0.025


def test_a_young_program_divides_by_its_own_age():
    stats = RouteStats()
    stats.sample(0.0)
    for _ in range(40):
        stats.count(b"GET", 200, 0.02)

    assert stats.recent(4.0).rate == pytest.approx(10.0)


@given(st.lists(st.floats(min_value=0.0, max_value=59.0), min_size=2, max_size=200))
def test_a_quantile_lies_in_the_bucket_of_the_true_one(durations):
    histogram = Histogram()
    for seconds in durations:
        histogram.observe(seconds)
    bounds = (0.0, *BOUNDS)
    true = statistics.median_low(durations)
    upper = next(bound for bound in BOUNDS if true <= bound)

    estimate = quantile(histogram.buckets, 0.5)

    assert estimate is not None
    assert bounds[bounds.index(upper) - 1] <= estimate <= upper


def test_what_lies_above_the_last_bound_is_the_last_bound():
    histogram = Histogram()
    histogram.observe(1000.0)

    assert quantile(histogram.buckets, 0.95) == BOUNDS[-1]
