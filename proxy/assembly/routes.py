"""A configured route as the data path needs it."""

from __future__ import annotations

from collections.abc import Callable

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
    return Origin(url.scheme, url.hostname or "", port_of(url), route.timeouts.connect, route.tls)


def make_pool(origin: Origin, limits: schema.Limits) -> Pool:
    """The connections to an origin. Raises ConfigurationError for a certificate that cannot be used."""
    return Pool(Dialler(origin), limits.max_header_size, limits.max_headers)


def make_lane(
    route: schema.Route,
    name: str,
    pool: Pool,
    stats: RouteStats,
    credential: Credential | None,
    secret: Callable[[schema.Secret], Callable[[], str]],
) -> Lane:
    """The route, ready. `secret` gives a reader of a secret's value as it is now."""
    fields: list[SetField] = []
    for field, value in route.headers.set.items():
        fields.append(
            (field.encode("latin-1"), secret(value) if isinstance(value, schema.Secret) else _constant(value))
        )
    return Lane(route, name, pool, stats, credential, fields)


def _constant(value: str) -> Callable[[], str]:
    return lambda: value
