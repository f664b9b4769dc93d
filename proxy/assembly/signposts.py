"""The routes whose upstream is looked up: one signpost for all that ask the same directory the same, kept on a reload.

The look-up leaves this machine as the route's requests do: through its `via_proxy`, with the authorities and the client
certificate of its `tls`. `tls.server_name` is the upstream's alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from proxy.assembly.parts import Parts
from proxy.config import schema
from proxy.config.rules.listeners import places
from proxy.errors import UpstreamFault
from proxy.forward.dial import Dialler, Origin
from proxy.forward.directory import Found, Rule
from proxy.forward.pool import Pool
from proxy.forward.signpost import NOWHERE, Signpost
from proxy.tokens.secret import LiveSecret

_LONGEST_LOOK = schema.Duration(10)
"""Seconds for one look-up: requests wait for the first one."""


@dataclass(frozen=True)
class Way:
    """What must be the same for two routes to share a signpost."""

    discover: schema.Discover
    limits: tuple[int, int]
    timeout: schema.Duration
    tls: schema.ClientTls | None
    via: schema.ViaProxy | None
    host: str | None = None

    def origin(self, found: Found) -> Origin:
        """Where connections lead."""
        tls = self.tls if found.scheme == "https" else None
        return Origin(found.scheme, found.host, found.port, self.timeout, tls, self.via, found=True, seen_as=self.host)


class _Doubted(Dialler):
    """Says so where nobody answers."""

    def __init__(self, origin: Origin, password: LiveSecret | None, doubt: Callable[[], None]) -> None:
        super().__init__(origin, password)
        self._doubt = doubt

    async def dial(self, protocol: Callable[[], asyncio.Protocol]) -> asyncio.Protocol:
        try:
            return await super().dial(protocol)
        except UpstreamFault:
            self._doubt()
            raise


def way_of(route: schema.Route, config: schema.Config) -> Way | None:
    """None where the upstream is written down."""
    if not isinstance(route.upstream, schema.Upstream):
        return None
    limits = config.limits.max_header_size, config.limits.max_headers
    return Way(route.upstream.discover, limits, route.timeouts.connect, route.tls, route.via_proxy, route.host)


def make_signpost(way: Way, config: schema.Config, parts: Parts, moved: Callable[[], None]) -> Signpost:
    """One that knows nothing yet. Raises ConfigurationError for certificates or a proxy that cannot be used."""
    rule = Rule(way.discover, tuple(address for _, address in places(config)))
    tls = replace(way.tls, server_name=None) if way.tls is not None else None
    timeouts = schema.TokenTimeouts(connect=min(way.timeout, _LONGEST_LOOK), total=_LONGEST_LOOK)
    client = parts.client(tls, way.via, timeouts)

    def make_pool(found: Found, doubt: Callable[[], None]) -> Pool:
        return Pool(_Doubted(way.origin(found), parts.proxy_password(way.via), doubt), *way.limits)

    make_pool(Found("https", NOWHERE, 443, "", NOWHERE), moved)  # what cannot be used is better said now
    return Signpost(rule, client, parts.clock, make_pool, moved)


def keep_signpost(
    way: Way, config: schema.Config, parts: Parts, moved: Callable[[], None], old: Mapping[Way, Signpost]
) -> Signpost:
    """The one that there is, or a new one that starts from what was found before. Raises as `make_signpost`."""
    if way in old:
        return old[way]
    post = make_signpost(way, config, parts, moved)
    for other in sorted(old.values(), key=lambda other: other.found_at):  # the last one wins
        post.inherit(other)
    return post
