"""Discoveries of upstreams: routes with the same look-up share one, and a reload keeps it.

The look-up leaves this machine as the route's requests do: through its `via_proxy`, with the authorities and the client
certificate of its `tls`. `tls.server_name` is the upstream's alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from proxy.assembly.build_context import BuildContext
from proxy.assembly.directory_login import DirectoryLogin
from proxy.config import schema
from proxy.config.rules.listener_rules import places
from proxy.errors import UpstreamError
from proxy.forward.dial import Dialler, Origin
from proxy.forward.directory import NOWHERE, BaseUrl, Rule
from proxy.forward.pool import Pool
from proxy.forward.upstream_discovery import UpstreamDiscovery
from proxy.tokens.secret import LiveSecret

_LONGEST_LOOK = schema.Duration(10)
"""Seconds for one look-up: requests wait for the first one."""


@dataclass(frozen=True)
class DiscoveryKey:
    """Routes whose keys are equal share a discovery."""

    discover: schema.Discover
    limits: tuple[int, int]
    timeout: schema.Duration
    tls: schema.ClientTls | None
    via: schema.ViaProxy | None
    host: str | None = None

    def origin(self, found: BaseUrl) -> Origin:
        """The origin that is connected to."""
        tls = self.tls if found.scheme == "https" else None
        return Origin(found.scheme, found.host, found.port, self.timeout, tls, self.via, found=True, seen_as=self.host)


class _Doubted(Dialler):
    """Tells its discovery when an upstream cannot be connected to, so that the look-up is done again."""

    def __init__(self, origin: Origin, password: LiveSecret | None, recheck: Callable[[], None]) -> None:
        super().__init__(origin, password)
        self._doubt = recheck

    async def dial(self, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        try:
            return await super().dial(protocol)
        except UpstreamError:
            self._doubt()
            raise


def discovery_key(route: schema.Route, config: schema.Config) -> DiscoveryKey | None:
    """None if the route's upstream is not looked up."""
    if not isinstance(route.upstream, schema.DiscoveredUpstream) or route.upstream.discover is None:
        return None
    limits = config.limits.max_header_size, config.limits.max_headers
    return DiscoveryKey(route.upstream.discover, limits, route.timeouts.connect, route.tls, route.via_proxy, route.host)


def make_discovery(
    key: DiscoveryKey, config: schema.Config, context: BuildContext, moved: Callable[[], None]
) -> UpstreamDiscovery:
    """A new discovery. Raises ConfigurationError for certificates or a proxy that cannot be used."""
    rule = Rule(key.discover, tuple(address for _, address in places(config)))
    tls = replace(key.tls, server_name=None) if key.tls is not None else None
    timeouts = schema.TokenTimeouts(connect=min(key.timeout, _LONGEST_LOOK), total=_LONGEST_LOOK)
    client = context.client(tls, key.via, timeouts)

    def make_pool(found: BaseUrl, recheck: Callable[[], None]) -> Pool:
        dialler = _Doubted(key.origin(found), context.proxy_password(key.via), recheck)
        return Pool(dialler, *key.limits, context.clock)

    make_pool(BaseUrl("https", NOWHERE, 443, "", NOWHERE), moved)  # to find out now what cannot be used
    name = key.discover.credential
    signer = DirectoryLogin(name, context.credential_of, context.clock) if name is not None else None
    return UpstreamDiscovery(rule, client, context.clock, make_pool, moved, signer)


def keep_discovery(
    key: DiscoveryKey,
    config: schema.Config,
    context: BuildContext,
    moved: Callable[[], None],
    old: Mapping[DiscoveryKey, UpstreamDiscovery],
) -> UpstreamDiscovery:
    """The existing discovery, or a new one that starts with its result. Raises as `make_discovery`."""
    if key in old:
        return old[key]
    discovery = make_discovery(key, config, context, moved)
    for other in sorted(old.values(), key=lambda other: other.found_at):  # the last one wins
        discovery.inherit(other)
    return discovery
