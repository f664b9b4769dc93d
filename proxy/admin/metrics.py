"""The counters as Prometheus text. They are plain integers elsewhere; here they are read and named, once per scrape."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import accumulate

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from proxy.admin.ports import Program
from proxy.stats import BOUNDS, Histogram

_PREFIX = "auth_sidecar_"


class Updates:
    """Counts pushes by credential and result. Pushes to names that do not exist are not counted."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def count(self, credential: str, result: str) -> None:
        """Count one more push to a credential that exists."""
        self.counts[credential, result] += 1


def routes(program: Program, updates: Updates) -> list[web.RouteDef]:
    """`/metrics`."""
    registry = CollectorRegistry()
    registry.register(_Scrape(program, updates))

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [web.get("/metrics", metrics)]


class _Scrape(Collector):
    def __init__(self, program: Program, updates: Updates) -> None:
        self._program = program
        self._updates = updates

    def describe(self) -> Iterable[Metric]:
        """Declare no names in advance: no other collector is registered that they could clash with."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Read all counters."""
        yield from self._traffic()
        yield from self._tokens()
        yield from self._program_itself()

    def _traffic(self) -> Iterator[Metric]:
        requests = _counter("http_requests", "Requests answered.", "route", "method", "code")
        durations = _histogram(
            "http_request_duration_seconds", "From a request's head to the end of its answer.", "route"
        )
        in_flight = _gauge("http_requests_in_flight", "Requests being served.", "route")
        retries = _counter("request_retries", "Sends beyond the first.", "route", "reason")
        for name, stats in self._program.runtime.stats.items():
            for (method, status), number in sorted(stats.counts.items()):
                requests.add_metric([name, method, str(status)], number)
            _observe(durations, name, stats.durations)
            in_flight.add_metric([name], stats.in_flight)
            for reason, number in sorted(stats.retries.items()):
                retries.add_metric([name, reason], number)
        return iter((requests, durations, in_flight, retries))

    def _tokens(self) -> Iterator[Metric]:
        refreshes = _counter("token_refreshes", "Attempts to get a token.", "credential", "result")
        durations = _histogram("token_refresh_duration_seconds", "How long these took.", "credential")
        expiries = _gauge("token_expiry_timestamp_seconds", "When the token ends, in epoch seconds.", "credential")
        pushes = _counter("token_updates", "Tokens pushed from outside.", "credential", "result")
        for name, entry in self._program.runtime.entries.items():
            if entry.tokens is None:
                continue
            report = entry.tokens.report()
            for result, number in sorted(report.refreshes.items()):
                refreshes.add_metric([name, result], number)
            _observe(durations, name, report.durations)
            if report.expires_at is not None:
                expiries.add_metric([name], report.expires_at)
        for (name, result), number in sorted(self._updates.counts.items()):
            pushes.add_metric([name, result], number)
        return iter((refreshes, durations, expiries, pushes))

    def _program_itself(self) -> Iterator[Metric]:
        store_errors = _counter("store_errors", "Failures of the token store.")
        store_errors.add_metric([], self._program.store.errors)
        store_up = _gauge("store_up", "1 if the token store works, 0 while it fails.")
        store_up.add_metric([], self._program.store.last_error is None)
        reloaded = _gauge("config_last_reload_successful", "1 if the configuration last read is the one that runs.")
        reloaded.add_metric([], self._program.reloaded)
        build = _gauge("build_info", "Always 1; the release is a label.", "version")
        build.add_metric([self._program.version], 1)
        return iter((store_errors, store_up, reloaded, build))


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(_PREFIX + name, text, labels=labels)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(_PREFIX + name, text, labels=labels)


def _histogram(name: str, text: str, *labels: str) -> HistogramMetricFamily:
    return HistogramMetricFamily(_PREFIX + name, text, labels=labels)


def _observe(family: HistogramMetricFamily, label: str, histogram: Histogram) -> None:
    """Add one histogram. Prometheus counts in each bucket what is in the smaller ones too; `Histogram` does not."""
    bounds = [*map(floatToGoString, BOUNDS), "+Inf"]
    family.add_metric([label], list(zip(bounds, accumulate(histogram.buckets), strict=True)), histogram.seconds)
