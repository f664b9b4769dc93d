"""The table: each peer's best and median figures, and their ratio to Envoy's and nginx's of the same run."""

from __future__ import annotations

import operator
from collections.abc import Callable
from statistics import median
from typing import Any

from modes import MODES, Mode

Measurement = dict[str, Any]
REFERENCES = ("envoy", "nginx")
NOISY = 0.05
"""A measurement during which others took more than this share of the peer's core is left out where a quieter one is."""


def table(measured: list[dict[str, object]]) -> str:
    """All modes, one after the other."""
    by_mode: dict[str, dict[str, list[Measurement]]] = {}
    for one in measured:
        by_mode.setdefault(str(one["mode"]), {}).setdefault(str(one["peer"]), []).append(one)
    return "\n\n".join(
        _layout_of(MODES[mode])(mode, {peer: Runs(runs) for peer, runs in peers.items()})
        for mode, peers in by_mode.items()
    )


def _layout_of(mode: Mode) -> Callable[[str, dict[str, Runs]], str]:
    if mode.credentials:
        return _storm if mode.storm else _weight
    if mode.websocket:
        return _messages
    if mode.replicas:
        return _shared
    return _idle if mode.idle else _busy


class Runs:
    """One peer's measurements in one mode: those without errors, and of these the quiet ones where there are any."""

    def __init__(self, runs: list[Measurement]) -> None:
        good = [run for run in runs if run["errors"] == 0 and run.get("requests", 1) > 0]
        quiet = [run for run in good if run.get("core_used_by_others", 0) <= NOISY]
        self.used = quiet or good
        self.described = f"{len(self.used)}/{len(runs)}" + ("" if quiet else " ~")

    def all(self, key: str) -> list[float]:
        """One figure of each measurement that counts."""
        return [run[key] for run in self.used]

    def median(self, key: str) -> float:
        """Its median."""
        return median(self.all(key))


def _busy(mode: str, peers: dict[str, Runs]) -> str:
    octets = MODES[mode].octets
    head = ["peer", "runs", "CPU µs/req min", "median", *_ratio_heads()]
    head += ["p50 ms", "p99 ms", "req/s", "MiB start", "MiB after", *(["MB/CPU s"] if octets else [])]
    rows = []
    for peer, runs in peers.items():
        row = [peer, runs.described]
        if runs.used:
            cpu = runs.all("cpu_us")
            row += [f"{min(cpu):.1f}", f"{median(cpu):.1f}", *_ratios(peers, cpu)]
            row += [f"{runs.median('p50'):.2f}", f"{runs.median('p99'):.2f}"]
            row += [f"{median(run['requests'] / run['seconds'] for run in runs.used):.0f}"]
            row += [f"{runs.median('mib_at_start'):.0f}", f"{runs.median('mib_after'):.0f}"]
            row += [f"{octets / min(cpu):.0f}"] if octets else []
        rows.append(row)
    return _layout(mode, head, rows)


def _messages(mode: str, peers: dict[str, Runs]) -> str:
    head = ["peer", "runs", "CPU µs/msg min", "median", "msg/CPU s", *_ratio_heads("msg ÷")]
    head += ["p50 ms", "p99 ms", "msg/s", "core %", "MiB start", "MiB after"]
    rows = []
    for peer, runs in peers.items():
        row = [peer, runs.described]
        if runs.used:
            cpu = runs.all("cpu_us")
            row += [f"{min(cpu):.1f}", f"{median(cpu):.1f}", f"{1e6 / min(cpu):.0f}"]
            row += _ratios(peers, cpu, of=lambda ours, theirs: theirs / ours)
            row += [f"{runs.median('p50'):.2f}", f"{runs.median('p99'):.2f}"]
            row += [f"{median(run['requests'] / run['seconds'] for run in runs.used):.0f}"]
            row += [f"{runs.median('core_used') * 100:.0f}"]
            row += [f"{runs.median('mib_at_start'):.0f}", f"{runs.median('mib_after'):.0f}"]
        rows.append(row)
    return _layout(mode, head, rows)


def _idle(mode: str, peers: dict[str, Runs]) -> str:
    head = ["peer", "runs", "open", "MiB before", "MiB open", "MiB more", "CPU ms/s"]
    rows = []
    for peer, runs in peers.items():
        row = [peer, runs.described]
        if runs.used:
            before, opened = runs.median("mib_before"), runs.median("mib_open")
            row += [f"{runs.median('opened'):.0f}", f"{before:.1f}", f"{opened:.1f}", f"{opened - before:.1f}"]
            row += [f"{runs.median('cpu_ms_per_second'):.2f}"]
        rows.append(row)
    return _layout(mode, head, rows)


def _storm(mode: str, peers: dict[str, Runs]) -> str:
    head = ["peer", "runs", "renewals", "within s", "p50 ms calm", "storm", "p99 ms calm", "storm", "added", "worst"]
    rows = []
    for peer, runs in peers.items():
        row = [peer, runs.described]
        if runs.used:
            added = median(run["p99_storm"] - run["p99_calm"] for run in runs.used)
            row += [f"{runs.median('renewals'):.0f}", f"{runs.median('within'):.2f}"]
            row += [f"{runs.median(key):.2f}" for key in ("p50_calm", "p50_storm", "p99_calm", "p99_storm")]
            row += [f"{added:.2f}", f"{runs.median('worst'):.2f}"]
        rows.append(row)
    return _layout(mode, head, rows)


def _shared(mode: str, peers: dict[str, Runs]) -> str:
    head = ["peer", "runs", "CPU µs/req memory", "redis", "added", "req/s one", "two", "two ÷ one", "capacity"]
    head += ["replicas", "tokens", "token requests", "round trips"]
    rows = []
    for peer, runs in peers.items():
        row = [peer, runs.described]
        if runs.used:
            memory, redis = min(runs.all("cpu_memory")), min(runs.all("cpu_redis"))
            row += [f"{memory:.1f}", f"{redis:.1f}", f"{100 * (redis / memory - 1):+.1f} %"]
            row += [f"{runs.median(key):.0f}" for key in ("rate_one", "rate_two")]
            row += [f"{runs.median('rate_two') / runs.median('rate_one'):.2f}", f"{runs.median('capacity'):.2f}"]
            row += [f"{runs.median(key):.0f}" for key in ("replicas", "tokens", "token_requests")]
            row += [f"{runs.median('round_trips'):.1f}"]
        rows.append(row)
    return _layout(mode, head, rows)


def _weight(mode: str, peers: dict[str, Runs]) -> str:
    head = ["peer", "runs", mode, "MiB without", "MiB with", "KiB each"]
    rows = []
    for peer, runs in peers.items():
        row = [peer, runs.described]
        if runs.used:
            row += [f"{runs.median('credentials'):.0f}"]
            row += [f"{runs.median(key):.1f}" for key in ("mib_without", "mib_with", "kib")]
        rows.append(row)
    return _layout(mode, head, rows)


def _ratio_heads(sign: str = "÷") -> list[str]:
    return [f"{sign} {reference} ({how})" for reference in REFERENCES for how in ("min", "median")]


def _ratios(
    peers: dict[str, Runs], cpu: list[float], of: Callable[[float, float], float] = operator.truediv
) -> list[str]:
    picks: tuple[Callable[[list[float]], float], ...] = (min, median)
    return [
        f"{of(pick(cpu), pick(peers[reference].all('cpu_us'))):.2f}"
        if reference in peers and peers[reference].used
        else "-"
        for reference in REFERENCES
        for pick in picks
    ]


def _layout(title: str, head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [head, *rows] if i < len(row)) for i in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=False)) for row in [head, *rows]]
    return "\n".join([f"== {title}", *lines])
