"""What one route has done, in plain integers. Counting costs a dictionary and a bisection.

Nothing is computed while a request runs. The figures of the last minute are the difference between the counters now and
a copy of them from a minute ago; the admin side takes such a copy every few seconds (`sample`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import accumulate
from math import inf

from msgspec import Struct

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram's buckets, in seconds; above the last one is one bucket more."""

SAMPLE_EVERY = 5.0
"""Seconds between two copies of the counters."""

_KEPT = 13
"""Copies kept: the figures cover the last 60 to 65 seconds."""

_METHODS = {
    method.encode(): method
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE")
}


class Histogram:
    """How long things took. `buckets[i]` counts what took at most `BOUNDS[i]` and more than the bound before it.

    `shortest` and `longest`: of what was observed since somebody last took them away (`extremes`).
    """

    __slots__ = ("buckets", "longest", "seconds", "shortest")

    def __init__(self, buckets: Iterable[int] = (0,) * (len(BOUNDS) + 1), seconds: float = 0.0) -> None:
        self.buckets = list(buckets)
        self.seconds = seconds
        self.shortest = inf
        self.longest = -inf

    def observe(self, seconds: float) -> None:
        """Count one more."""
        self.buckets[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds
        if seconds < self.shortest:  # noqa: PLR1730 - the data path: no calls
            self.shortest = seconds
        if seconds > self.longest:  # noqa: PLR1730
            self.longest = seconds

    def extremes(self) -> tuple[float, float]:
        """Take away the shortest and the longest; they begin anew with the next observation."""
        taken = self.shortest, self.longest
        self.shortest, self.longest = inf, -inf
        return taken


class Recent(Struct, frozen=True):
    """The figures of the last minute: per second, shares from 0 to 1, seconds. None: no request to measure."""

    rate: float
    client_errors: float
    server_errors: float
    p50: float | None
    p95: float | None


class _Sample(Struct, frozen=True):
    """`shortest`, `longest`: of what was observed since the sample before."""

    elapsed: float
    requests: int
    client_errors: int
    server_errors: int
    buckets: tuple[int, ...]
    shortest: float = inf
    longest: float = -inf


class RouteStats:
    """One route's counters. The data path writes `in_flight` and calls `count` and `retried`; the admin side reads.

    `counts`: finished requests by method (a known one, or OTHER: labels are bounded) and status code. `retries`: sends
    beyond the first, by reason.
    """

    __slots__ = ("_samples", "counts", "durations", "in_flight", "retries")

    def __init__(self) -> None:
        self.in_flight = 0
        self.counts: dict[tuple[str, int], int] = {}
        self.retries: dict[str, int] = {}
        self.durations = Histogram()
        self._samples: deque[_Sample] = deque(maxlen=_KEPT)

    def count(self, method: bytes, status: int, seconds: float) -> None:
        """Count one finished request; `seconds` from its head to the end of its answer."""
        key = (_METHODS.get(method, "OTHER"), status)
        self.counts[key] = self.counts.get(key, 0) + 1
        self.durations.observe(seconds)

    def retried(self, reason: str) -> None:
        """Count one more send. `reason` is one of a few words of ours, never data."""
        self.retries[reason] = self.retries.get(reason, 0) + 1

    def sample(self, elapsed: float) -> None:
        """Keep a copy of the counters; `elapsed` in seconds of `Clock.elapsed`."""
        self._samples.append(self._now(elapsed, *self.durations.extremes()))

    def recent(self, elapsed: float) -> Recent:
        """Compare the counters now with the oldest copy kept."""
        now = self._now(elapsed, self.durations.shortest, self.durations.longest)
        then = self._samples[0] if self._samples else _Sample(elapsed, 0, 0, 0, (0,) * len(now.buckets))
        requests = now.requests - then.requests
        buckets = [new - old for new, old in zip(now.buckets, then.buckets, strict=True)]
        since = [*self._samples][1:]
        least = min((sample.shortest for sample in since), default=inf)
        most = max((sample.longest for sample in since), default=-inf)
        within = min(least, now.shortest), max(most, now.longest)
        return Recent(
            rate=requests / max(1.0, elapsed - then.elapsed),
            client_errors=(now.client_errors - then.client_errors) / max(1, requests),
            server_errors=(now.server_errors - then.server_errors) / max(1, requests),
            p50=quantile(buckets, 0.5, *within),
            p95=quantile(buckets, 0.95, *within),
        )

    def _now(self, elapsed: float, shortest: float, longest: float) -> _Sample:
        by_class = [0] * 10
        for (_, status), number in self.counts.items():
            by_class[status // 100] += number
        return _Sample(
            elapsed, sum(by_class), by_class[4], by_class[5], tuple(self.durations.buckets), shortest, longest
        )


def quantile(buckets: Sequence[int], share: float, shortest: float, longest: float) -> float | None:
    """Estimate below which many seconds that share of the observations lies, evenly spread within a bucket.

    Never less than the `shortest` of them nor more than the `longest`, which may lie far from their buckets' bounds.
    None without observations.
    """
    wanted = share * sum(buckets)
    for number, reached, lower, upper in zip(buckets, accumulate(buckets), (0.0, *BOUNDS), (*BOUNDS, inf), strict=True):
        if number and reached >= wanted:
            least, most = max(lower, shortest), min(upper, longest)
            return max(least, most - (most - least) * (reached - wanted) / number)
    return None
