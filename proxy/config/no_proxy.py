"""Which hosts are reached without the egress proxy (`via_proxy.no_proxy`)."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def is_direct(host: str, patterns: Iterable[str]) -> bool:
    """`internal.example` (or `.internal.example`) is itself and all below it; `*` in a pattern is a wildcard."""
    host = host.lower()
    for pattern in patterns:
        wanted = pattern.lower().lstrip(".")
        if host == wanted or host.endswith("." + wanted) or fnmatchcase(host, wanted):
            return True
    return False
