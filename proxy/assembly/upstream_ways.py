"""What a route has its connections from: pools, look-ups, and what tokens name; each shared, and kept on a reload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from proxy.assembly.build_context import BuildContext
from proxy.assembly.discoveries import DiscoveryKey, discovery_key, keep_discovery
from proxy.assembly.live_routes import keep_pool, origins_of
from proxy.assembly.token_upstreams import TokenUpstreamKey, keep_token_upstream, token_upstream_key
from proxy.assembly.unusable import under
from proxy.config import schema
from proxy.forward.dial import Origin
from proxy.forward.pool import Connections, Pool
from proxy.forward.token_upstream import TokenUpstream
from proxy.forward.upstream_discovery import UpstreamDiscovery


class KnownWays(Protocol):
    """Those of the runtime before."""

    @property
    def pools_by_origin(self) -> Mapping[Origin, Pool]:
        """Of upstreams that are written down."""

    @property
    def discoveries(self) -> Mapping[DiscoveryKey, UpstreamDiscovery]:
        """Of those that are looked up."""

    @property
    def token_upstreams(self) -> Mapping[TokenUpstreamKey, TokenUpstream]:
        """Of those that tokens name."""


class UpstreamWays:
    """Those of one configuration; `old`: from which what is the same is taken over."""

    def __init__(
        self, config: schema.Config, context: BuildContext, moved: Callable[[], None], old: KnownWays | None
    ) -> None:
        self.pools_by_origin: dict[Origin, Pool] = {}
        self.discoveries: dict[DiscoveryKey, UpstreamDiscovery] = {}
        self.discoveries_by_route: dict[str, UpstreamDiscovery] = {}
        self.token_upstreams: dict[TokenUpstreamKey, TokenUpstream] = {}
        self.token_upstreams_by_route: dict[str, TokenUpstream] = {}
        self._config = config
        self._context = context
        self._moved = moved
        self._old = old

    def of(self, route: schema.Route) -> tuple[Connections, Pool | None]:
        """A route's connections, and those for requests that change to another protocol, where these are others.

        Raises ConfigurationError for certificates or a proxy that cannot be used.
        """
        name = str(route.name)
        if (named := token_upstream_key(route, self._config)) is not None:
            self.token_upstreams_by_route[name] = upstream = self._named(named)
            return upstream, None
        if (key := discovery_key(route, self._config)) is not None:
            self.discoveries_by_route[name] = discovery = self._discovery(key)
            return discovery, None
        origin, upgraded = origins_of(route)
        pool = self._pool(origin)
        return pool, self._pool(upgraded) if upgraded is not None else None

    def _named(self, key: TokenUpstreamKey) -> TokenUpstream:
        if key not in self.token_upstreams:
            old = self._old.token_upstreams if self._old is not None else {}
            with under("tls"):
                self.token_upstreams[key] = keep_token_upstream(key, self._config, self._context, old)
        return self.token_upstreams[key]

    def _discovery(self, key: DiscoveryKey) -> UpstreamDiscovery:
        if key not in self.discoveries:
            old = self._old.discoveries if self._old is not None else {}
            with under("tls"):
                self.discoveries[key] = keep_discovery(key, self._config, self._context, self._moved, old)
        return self.discoveries[key]

    def _pool(self, origin: Origin) -> Pool:
        if origin not in self.pools_by_origin:
            known = self._old.pools_by_origin.get(origin) if self._old is not None else None
            with under("tls"):
                self.pools_by_origin[origin] = keep_pool(origin, self._config.limits, known, self._context)
        return self.pools_by_origin[origin]
