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


_DURATIONS = st.lists(st.floats(min_value=0.0, max_value=1000.0), min_size=1, max_size=200)


@given(_DURATIONS)
def test_a_quantile_lies_in_the_bucket_of_the_true_one(durations):
    histogram = Histogram()
    for seconds in durations:
        histogram.observe(seconds)
    bounds = (0.0, *BOUNDS, float("inf"))
    true = statistics.median_low(durations)
    upper = next(bound for bound in bounds[1:] if true <= bound)

    estimate = quantile(histogram.buckets, 0.5, min(durations), max(durations))

    assert estimate is not None
    assert bounds[bounds.index(upper) - 1] <= estimate <= upper


@given(_DURATIONS, st.floats(min_value=0.0, max_value=1.0))
def test_no_quantile_lies_beyond_what_was_seen(durations, share):
    histogram = Histogram()
    for seconds in durations:
        histogram.observe(seconds)

    estimate = quantile(histogram.buckets, share, *histogram.extremes())

    assert min(durations) <= estimate <= max(durations)


@given(_DURATIONS)
def test_quantiles_rise_with_their_share(durations):
    histogram = Histogram()
    for seconds in durations:
        histogram.observe(seconds)
    extremes = histogram.extremes()
    estimates = [quantile(histogram.buckets, share, *extremes) for share in (0.0, 0.1, 0.5, 0.9, 0.95, 1.0)]

    assert estimates == sorted(estimates)


@given(st.lists(st.lists(st.floats(min_value=0.0, max_value=1000.0), max_size=5), min_size=1, max_size=30))
def test_the_percentiles_of_the_last_minute_lie_within_what_it_saw(turns):
    """The copies kept reach back 13 turns; what was before counts neither among the figures nor for their bounds."""
    stats = RouteStats()
    for turn, durations in enumerate(turns):
        stats.sample(turn * 5.0)
        for seconds in durations:
            stats.count(b"GET", 200, seconds)
    seen = [seconds for durations in turns[-13:] for seconds in durations]

    for _ in range(2):  # to look changes nothing
        recent = stats.recent(len(turns) * 5.0)
        if seen:
            assert min(seen) <= recent.p50 <= recent.p95 <= max(seen)
        else:
            assert (recent.p50, recent.p95) == (None, None)


def test_a_minute_of_ten_seconds_each_is_not_told_as_thirty():
    stats = RouteStats()
    for _ in range(100):
        stats.count(b"GET", 504, 10.002)

    recent = stats.recent(10.0)

    assert (recent.p50, recent.p95) == (10.002, 10.002)


def test_nothing_observed_has_no_quantile():
    assert quantile(Histogram().buckets, 0.5, *Histogram().extremes()) is None
