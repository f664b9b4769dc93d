"""The table: each peer's best and median figures, and their ratio to Envoy's and nginx's of the same run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from modes import MODES

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
        (_idle if MODES[mode].idle else _busy)(mode, {peer: _usable(runs) for peer, runs in peers.items()})
        for mode, peers in by_mode.items()
    )


def _usable(runs: list[Measurement]) -> list[Measurement]:
    good = [run for run in runs if run["errors"] == 0 and run.get("requests", 1) > 0]
    return [run for run in good if run.get("core_used_by_others", 0) <= NOISY] or good


def _busy(mode: str, peers: dict[str, list[Measurement]]) -> str:
    octets = MODES[mode].octets
    head = [
        "peer",
        "runs",
        "CPU µs/req min",
        "median",
        *_ratio_heads(),
        "p50 ms",
        "p99 ms",
        "req/s",
        "MiB start",
        "MiB after",
    ]
    if octets:
        head.append("MB/CPU s")
    rows = []
    for peer, runs in peers.items():
        if not runs:
            rows.append([peer, "0"])  # the runs that had errors say why, in the results
            continue
        row = [peer, str(len(runs)), *(f"{pick(_all(runs, 'cpu_us')):.1f}" for pick in (min, median))]
        row += _ratios(peers, runs, "cpu_us")
        row += [f"{median(_all(runs, 'p50')):.2f}", f"{median(_all(runs, 'p99')):.2f}"]
        row += [f"{median(run['requests'] / run['seconds'] for run in runs):.0f}"]
        row += [f"{median(_all(runs, 'mib_at_start')):.0f}", f"{median(_all(runs, 'mib_after')):.0f}"]
        if octets:
            row.append(f"{octets / min(_all(runs, 'cpu_us')):.0f}")
        rows.append(row)
    return _layout(mode, head, rows)


def _idle(mode: str, peers: dict[str, list[Measurement]]) -> str:
    head = ["peer", "runs", "open", "MiB before", "MiB open", "MiB more", "CPU ms/s"]
    rows = []
    for peer, runs in peers.items():
        if not runs:
            rows.append([peer, "0"])  # the runs that had errors say why, in the results
            continue
        before, opened = median(_all(runs, "mib_before")), median(_all(runs, "mib_open"))
        row = [
            peer,
            str(len(runs)),
            str(runs[-1]["opened"]),
            f"{before:.1f}",
            f"{opened:.1f}",
            f"{opened - before:.1f}",
        ]
        rows.append([*row, f"{median(_all(runs, 'cpu_ms_per_second')):.2f}"])
    return _layout(mode, head, rows)


def _all(runs: Iterable[Measurement], key: str) -> list[float]:
    return [run[key] for run in runs]


def _ratio_heads() -> list[str]:
    return [f"÷ {reference} ({how})" for reference in REFERENCES for how in ("min", "median")]


def _ratios(peers: dict[str, list[Measurement]], runs: list[Measurement], key: str) -> list[str]:
    picks: tuple[Callable[[list[float]], float], ...] = (min, median)
    return [
        f"{pick(_all(runs, key)) / pick(_all(peers[reference], key)):.2f}" if peers.get(reference) else "-"
        for reference in REFERENCES
        for pick in picks
    ]


def _layout(title: str, head: list[str], rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in [head, *rows] if i < len(row)) for i in range(len(head))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=False)) for row in [head, *rows]]
    return "\n".join([f"== {title}", *lines])
