"""Columns of text, and time spans for people."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = (("d", 86400), ("h", 3600), ("m", 60))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Left-aligned columns, two blanks apart; no blanks at the ends of lines."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def span(seconds: float) -> str:
    """`2h 5m`, `41s`, `-3s`: two units at most."""
    left = round(abs(seconds))
    context = []
    for unit, size in _UNITS:
        if left >= size:
            context.append(f"{left // size}{unit}")
            left %= size
    if left or not context:
        context.append(f"{left}s")
    return ("-" if seconds < 0 else "") + " ".join(context[:2])
