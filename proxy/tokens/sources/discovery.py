"""What an authorization server says about itself (RFC 8414, OpenID Connect Discovery), fetched and kept for an hour.

The document must name the very issuer that was configured (RFC 8414 §3.3), or another server could pose as it. An
older copy serves while a newer one cannot be had: endpoints hardly ever move.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakValueDictionary

from cachetools import LRUCache, TTLCache

from proxy.clock import Clock
from proxy.errors import CredentialFault, CredentialRefused, CredentialUnavailable
from proxy.tokens.body import members
from proxy.tokens.http_client import HttpClient
from proxy.tokens.policy import retry_after

_KEPT_FOR = 3600.0
_KEPT = 1000
"""Documents, however many issuers `{per}` in a URL makes of one."""

_log = logging.getLogger("auth_sidecar.tokens")


class Discovery:
    """The metadata of issuers; one object per way out."""

    def __init__(self, client: HttpClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._fresh: TTLCache[str, Mapping[str, Any]] = TTLCache(_KEPT, _KEPT_FOR, timer=clock.elapsed)
        self._last: LRUCache[str, Mapping[str, Any]] = LRUCache(_KEPT)
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def endpoint(self, issuer: str, name: str, *, mtls: bool = False, configured: str | None = None) -> str:
        """The URL that the issuer's metadata has under `name` (`token_endpoint` …).

        `mtls`: its alias for clients that show a certificate, where there is one (RFC 8705 §5). `configured`: what the
        log may call the issuer, where a caller's value is filled in. Raises CredentialUnavailable, or CredentialRefused
        where the document is not the issuer's or lacks the endpoint.
        """
        metadata = await self._metadata(issuer, configured or issuer)
        aliases = metadata.get("mtls_endpoint_aliases")
        url = aliases.get(name) if mtls and isinstance(aliases, dict) else None
        url = url or metadata.get(name)
        if not isinstance(url, str):
            raise CredentialRefused(f"The issuer's metadata has no {name}")
        if urlsplit(url).scheme != "https" and urlsplit(issuer).scheme == "https":
            raise CredentialRefused(f"The issuer's metadata has a {name} without TLS")
        return url

    async def _metadata(self, issuer: str, called: str) -> Mapping[str, Any]:
        turn = self._fetching.setdefault(issuer, asyncio.Lock())  # one for each: a slow issuer holds up no other
        async with turn:
            known = self._fresh.get(issuer)
            if known is not None:
                return known
            try:
                metadata = await self._fetch(issuer)
            except CredentialFault as fault:
                if issuer not in self._last:
                    raise
                _log.warning("the metadata of %s cannot be had again (%s); the last copy stays in use", called, fault)
                return self._last[issuer]
            self._fresh[issuer] = self._last[issuer] = metadata
            return metadata

    async def _fetch(self, issuer: str) -> Mapping[str, Any]:
        status, requested = 0, 0.0
        for url in locations(issuer):
            try:
                received = await self._client.send("GET", url)
            except CredentialUnavailable as fault:
                raise CredentialUnavailable(fault.detail.replace("token endpoint", "issuer")) from None
            status = received.status
            requested = max(requested, retry_after(received.headers.get("Retry-After"), self._clock.wall()))
            metadata = members(received.body) if status == 200 else None  # noqa: PLR2004 - RFC 8414 §3.2
            if metadata is not None:
                if metadata.get("issuer") != issuer:
                    raise CredentialRefused("The issuer's metadata names another issuer than the configured one")
                return metadata
        raise CredentialUnavailable(f"The issuer answered {status} when asked for its metadata", retry_after=requested)


def locations(issuer: str) -> tuple[str, str]:
    """Where the metadata may be: RFC 8414 §3.1 puts the well-known part before the path, OpenID Connect behind it."""
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    return (
        urlunsplit((parts.scheme, parts.netloc, f"/.well-known/oauth-authorization-server{path}", "", "")),
        urlunsplit((parts.scheme, parts.netloc, f"{path}/.well-known/openid-configuration", "", "")),
    )
