"""The routes whose upstream their token names, each with what was named before a reload."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.assembly.build_context import BuildContext
from proxy.assembly.discoveries import DiscoveryKey
from proxy.config import schema
from proxy.config.rules.listener_rules import places
from proxy.forward.dial import Dialler
from proxy.forward.directory import NOWHERE, BaseUrl, Rule
from proxy.forward.pool import Pool
from proxy.forward.token_upstream import TokenUpstream

_MOST = 1000
"""Callers of an exchange of their own tokens, at a time."""


@dataclass(frozen=True)
class TokenUpstreamKey:
    """What must be the same for two routes to share what tokens name. `most`: values at a time."""

    way: DiscoveryKey
    path: str
    credential: str
    most: int


def token_upstream_key(route: schema.Route, config: schema.Config) -> TokenUpstreamKey | None:
    """None where the token does not name the upstream."""
    upstream = route.upstream
    if not isinstance(upstream, schema.DiscoveredUpstream) or upstream.from_token is None:
        return None
    limits = config.limits.max_header_size, config.limits.max_headers
    way = DiscoveryKey(upstream.named, limits, route.timeouts.connect, route.tls, route.via_proxy, route.host)
    name = route.credential or ""
    return TokenUpstreamKey(way, upstream.path, name, _most(config.credentials.get(name)))


def _most(credential: schema.Credential | None) -> int:
    if isinstance(credential, schema.Renewed) and credential.per is not None:
        return credential.per.max
    for given in ("subject_token", "assertion"):
        secret = getattr(credential, given, None)
        if secret is not None and secret.request_header is not None:
            return _MOST
    return 1


def keep_token_upstream(
    key: TokenUpstreamKey,
    config: schema.Config,
    context: BuildContext,
    old: Mapping[TokenUpstreamKey, TokenUpstream],
) -> TokenUpstream:
    """The one that there is, or a new one. Raises ConfigurationError for what cannot be used: certificates, a proxy."""
    if key in old:
        return old[key]
    rule = Rule(key.way.discover, tuple(address for _, address in places(config)), "The token's answer")

    def make_pool(found: BaseUrl) -> Pool:
        dialler = Dialler(key.way.origin(found), context.proxy_password(key.way.via))
        return Pool(dialler, *key.way.limits, context.clock)

    make_pool(BaseUrl("https", NOWHERE, 443, "", NOWHERE))  # what cannot be used is better said now
    return TokenUpstream(rule, key.way.discover.json_pointer, key.path, make_pool, most=key.most)
