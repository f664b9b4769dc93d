"""Makes live routes, which the data path uses, from configured ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from proxy.assembly.build_context import BuildContext
from proxy.config import schema
from proxy.config.upstream_url import parse_upstream
from proxy.forward.dial import Dialler, Origin
from proxy.forward.live_route import LiveRoute, SetField
from proxy.forward.pool import Connections, Pool
from proxy.http1.host import parse_host
from proxy.routes import RouteEntry, Routes
from proxy.stats import RouteStats
from proxy.tokens.credential import Credential


def origin_of(route: schema.Route) -> Origin:
    """The origin that a route's requests are sent to."""
    url = parse_upstream(str(route.upstream))
    return Origin(
        url.scheme,
        url.host,
        url.port,
        route.timeouts.connect,
        route.tls,
        route.via_proxy,
        seen_as=route.host,
        socket=url.socket,
    )


def origins_of(route: schema.Route) -> tuple[Origin, Origin | None]:
    """That origin, and the one for requests that upgrade, if an egress proxy makes it another one."""
    origin = origin_of(route)
    return origin, replace(origin, connects=True) if origin.forwarded and route.upgrades else None


def keep_pool(origin: Origin, limits: schema.Limits, known: Pool | None, context: BuildContext) -> Pool:
    """The pool of an origin: the existing one, unless the limits have changed.

    Raises ConfigurationError for a certificate or a password that cannot be used.
    """
    wanted = (limits.max_header_size, limits.max_headers)
    if known is not None and (known.max_head, known.max_fields) == wanted:
        return known
    clock = context.clock
    return Pool(Dialler(origin, context.proxy_password(origin.via), clock.monotonic), *wanted, clock)


def make_live_route(
    route: schema.Route,
    name: str,
    pool: Connections,
    stats: RouteStats,
    credential: Credential | None,
    watched: Callable[[schema.Secret, str], Callable[[], str]],
) -> LiveRoute:
    """A live route. `watched`: makes a readable secret from a reference and the name that messages use for it.

    Raises ConfigurationError for a secret that cannot be read.
    """

    def read(given: Mapping[str, str | schema.Secret], key: str) -> list[SetField]:
        return [
            (
                one.encode(),
                watched(value, f"routes.{name}.{key}.set.{one}")
                if isinstance(value, schema.Secret)
                else _constant(value),
            )
            for one, value in given.items()
            if getattr(value, "kept", None) is None
        ]

    fields, parameters = read(route.headers.set, "headers"), read(route.query.set, "query")
    kept = [
        (field.encode("latin-1"), value.kept)
        for field, value in route.headers.set.items()
        if isinstance(value, schema.FieldValue) and value.kept is not None
    ]
    return LiveRoute(route, name, pool, stats, credential, fields, parameters, kept)


def table(live_routes: Iterable[LiveRoute]) -> Routes[LiveRoute]:
    """The table that finds the route of a request."""
    return Routes(
        RouteEntry(
            route.prefix,
            parse_host(route.config.match.host.encode("latin-1")) if route.config.match.host is not None else None,
            frozenset(method.encode("latin-1") for method in route.config.match.methods)
            if route.config.match.methods
            else None,
            route,
        )
        for route in live_routes
    )


def _constant(value: str) -> Callable[[], str]:
    return lambda: value
