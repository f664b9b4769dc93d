"""Which route a request has. Pure: octets in, the route's object out.

The longest path prefix wins, in whole segments, as sent and case-sensitive; then a route that names the host before one
that does not; then one that names methods before one that takes any. A route that takes GET takes HEAD too, unless
another one names it. A longer prefix whose hosts do not match leaves the request to a shorter one; methods never do, so
that a narrow route cannot be walked around.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from proxy.errors import NoRoute, RouteMethodRefused
from proxy.http1.host import parse_host

T = TypeVar("T")

_SLASH = 0x2F


@dataclass(frozen=True, slots=True)
class RouteEntry(Generic[T]):
    """One route's conditions. `prefix` without a trailing slash; `host` as written, lower-case; None takes any."""

    prefix: bytes
    host: tuple[bytes, int | None] | None
    methods: frozenset[bytes] | None
    route: T


class Routes(Generic[T]):
    """All routes of one configuration."""

    def __init__(self, entries: Iterable[RouteEntry[T]]) -> None:
        table: dict[bytes, list[RouteEntry[T]]] = {}
        for entry in sorted(entries, key=lambda entry: (entry.host is None, entry.methods is None)):
            table.setdefault(entry.prefix, []).append(entry)
        self._table = {prefix: _with_head(alike) for prefix, alike in table.items()}
        self._lengths = sorted({len(prefix) for prefix in table}, reverse=True)

    def find(self, path: bytes, host: bytes | None, method: bytes) -> T:
        """The route of a path (no query). Raises NoRoute, or RouteMethodRefused with the methods that there are."""
        allowed: set[bytes] = set()
        for length in self._lengths:
            if len(path) < length or (len(path) > length and path[length] != _SLASH):
                continue
            entries = self._table.get(path[:length])
            if entries is None:
                continue
            for entry in entries:
                if entry.host is not None and not _same_host(entry.host, host):
                    continue
                if entry.methods is None or method in entry.methods:
                    return entry.route
                allowed |= entry.methods
            if allowed:
                names = b", ".join(sorted(allowed)).decode("latin-1")
                raise RouteMethodRefused("The route does not take this method", headers=(("Allow", names),))
        raise NoRoute("No route matches this path and host")

    def get(self, path: bytes, host: bytes | None, method: bytes) -> T | None:
        """The route of a path; None where there is none."""
        try:
            return self.find(path, host, method)
        except (NoRoute, RouteMethodRefused):
            return None

    def at(self, path: bytes, host: bytes | None) -> list[T]:
        """The routes among which the method of a request decides."""
        for length in self._lengths:
            if len(path) >= length and path[length : length + 1] in (b"", b"/"):
                entries = self._table.get(path[:length], ())
                if found := [one.route for one in entries if one.host is None or _same_host(one.host, host)]:
                    return found
        return []


def _with_head(alike: list[RouteEntry[T]]) -> list[RouteEntry[T]]:
    """Routes of one prefix: what takes GET takes HEAD (RFC 9110 §9.3.2), unless another of the same host names it."""
    named = {entry.host for entry in alike if entry.methods is not None and b"HEAD" in entry.methods}
    return [
        replace(entry, methods=entry.methods | {b"HEAD"})
        if entry.methods is not None and b"GET" in entry.methods and entry.host not in named
        else entry
        for entry in alike
    ]


def _same_host(wanted: tuple[bytes, int | None], host: bytes | None) -> bool:
    if host is None:
        return False
    name, port = parse_host(host)
    return name == wanted[0] and wanted[1] in (None, port)
