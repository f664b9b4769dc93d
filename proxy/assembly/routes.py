"""A configured route as the data path needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy.assembly.parts import Parts
from proxy.config import schema
from proxy.config.address import parse_url, port_of
from proxy.forward.dial import Dialler, Origin
from proxy.forward.lane import Lane, SetField
from proxy.forward.pool import Pool
from proxy.stats import RouteStats
from proxy.tokens.credential import Credential


def origin_of(route: schema.Route) -> Origin:
    """Where a route's requests are sent."""
    url = parse_url(str(route.upstream))
    return Origin(url.scheme, url.hostname or "", port_of(url), route.timeouts.connect, route.tls, route.via_proxy)


_Mark = tuple[int, int, int] | None


@dataclass(frozen=True, eq=False)
class KeptPool:
    """The connections to an origin, and which certificates they were made with."""

    pool: Pool
    marks: tuple[_Mark, ...]


def keep_pool(origin: Origin, limits: schema.Limits, known: KeptPool | None) -> KeptPool:
    """The connections to an origin: those that there are, unless limits or certificates have changed.

    Raises ConfigurationError for a certificate that cannot be used.
    """
    marks = _marks(origin.tls)
    wanted = (limits.max_header_size, limits.max_headers)
    if known is not None and known.marks == marks and (known.pool.max_head, known.pool.max_fields) == wanted:
        return known
    return KeptPool(Pool(Dialler(origin), *wanted), marks)


def make_lane(
    route: schema.Route, name: str, pool: Pool, stats: RouteStats, credential: Credential | None, parts: Parts
) -> Lane:
    """The route, ready. Raises ConfigurationError for a secret that cannot be read."""
    fields: list[SetField] = []
    for field, value in route.headers.set.items():
        where = f"routes.{name}.headers.set.{field}"
        read = parts.watched(value, where) if isinstance(value, schema.Secret) else _constant(value)
        fields.append((field.encode("latin-1"), read))
    return Lane(route, name, pool, stats, credential, fields)


def _marks(tls: schema.ClientTls | None) -> tuple[_Mark, ...]:
    """What tells that a file has changed."""
    files = (tls.ca_file, tls.cert_file, tls.key_file) if tls is not None else ()
    return tuple(_mark(Path(file)) for file in files if file is not None)


def _mark(file: Path) -> _Mark:
    try:
        status = file.stat()
    except OSError:
        return None  # whoever reads it says so
    return status.st_ino, status.st_mtime_ns, status.st_size


def _constant(value: str) -> Callable[[], str]:
    return lambda: value
