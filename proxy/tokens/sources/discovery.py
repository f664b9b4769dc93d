"""What an authorization server says about itself (RFC 8414, OpenID Connect Discovery), fetched and kept for an hour.

The document must name the very issuer that was configured (RFC 8414 §3.3), or another server could pose as it. Every
place where it may be is looked at: what is found at one of them (a page that says 200, the document of another tenant)
says nothing of the others. An older copy serves while a newer one cannot be had: endpoints hardly ever move.

What a document says comes from outside, so the endpoints in it are held to the rules of configured ones.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakValueDictionary

from cachetools import LRUCache, TTLCache

from proxy.clock import Clock
from proxy.config.address import is_address, is_loopback, is_prohibited, parse_url
from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.tokens.body import members
from proxy.tokens.http_client import HttpClient, Received
from proxy.tokens.issuer_errors import ReplyLost, ReplyUnreadable
from proxy.tokens.policy import retry_after

_KEPT_FOR = 3600.0
_KEPT = 1000
"""Documents, however many issuers `{per}` in a URL makes of one."""
_OK = 200  # RFC 8414 §3.2
_ANOTHER = "The issuer's metadata names another issuer than the configured one"
_NUMBER = re.compile(r"(?:.*\.)?(?:0x[0-9a-f]*|[0-9]+)\.?")
"""A host that ends like this is an address for resolvers, in one of its old spellings (inet_aton)."""

_log = logging.getLogger("auth_sidecar.tokens")


class Discovery:
    """The metadata of issuers; one object per way out."""

    def __init__(self, client: HttpClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._fresh: TTLCache[str, Mapping[str, Any]] = TTLCache(_KEPT, _KEPT_FOR, timer=clock.elapsed)
        self._last: LRUCache[str, Mapping[str, Any]] = LRUCache(_KEPT)
        self._order: LRUCache[str, tuple[str, ...]] = LRUCache(_KEPT)
        self._fetching: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def endpoint(
        self, issuer: str, name: str, *, mtls: bool = False, configured: str | None = None, insecure: bool = False
    ) -> str:
        """The URL that the issuer's metadata has under `name` (`token_endpoint` …).

        `mtls`: its alias for clients that show a certificate, where there is one (RFC 8705 §5). `configured`: what the
        log may call the issuer, where a caller's value is filled in. `insecure`: endpoints off loopback may be without
        TLS, as the issuer is. Raises CredentialUnavailable, or CredentialRefused
        where the document is not the issuer's or lacks the endpoint.
        """
        metadata = await self._metadata(issuer, name, _server_of(configured or issuer), insecure=insecure)
        aliases = metadata.get("mtls_endpoint_aliases")
        url = aliases.get(name) if mtls and isinstance(aliases, dict) else None
        url = url or metadata.get(name)
        if not isinstance(url, str):
            raise CredentialRefused(f"The issuer's metadata has no {name}")
        try:
            check_endpoint(url, issuer, insecure=insecure)
        except ValueError as error:
            raise CredentialRefused(f"The issuer's metadata has a {name} that is not used: {error}") from None
        return url

    async def says(self, issuer: str, name: str, *, insecure: bool = False) -> Any:
        """Any member of the issuer's metadata; None where it has none of that name. Raises as `endpoint` does."""
        return (await self._metadata(issuer, "token_endpoint", issuer, insecure=insecure)).get(name)

    async def _metadata(self, issuer: str, name: str, called: str, *, insecure: bool) -> Mapping[str, Any]:
        turn = self._fetching.setdefault(issuer, asyncio.Lock())  # one for each: a slow issuer holds up no other
        async with turn:
            known = self._fresh.get(issuer)
            if known is not None and _usable(known.get(name), issuer, insecure=insecure):
                return known
            try:
                metadata = await self._fetch(issuer, name, insecure=insecure)
            except CredentialError as error:
                if issuer not in self._last:
                    raise
                _log.warning("the metadata of %s cannot be had again (%s); the last copy stays in use", called, error)
                return self._last[issuer]
            self._fresh[issuer] = self._last[issuer] = metadata
            return metadata

    async def _fetch(self, issuer: str, name: str, *, insecure: bool) -> Mapping[str, Any]:
        """The issuer's own document; where it has two, the second fills in what the first lacks.

        Ends with the first whose `name` can be used. Raises the most telling of what went wrong.
        """
        found: dict[str, Any] = {}
        search = _Search()
        for url in self._order.get(issuer) or locations(issuer):
            try:
                received = await self._client.send("GET", url, peer="issuer")
            except (ReplyLost, ReplyUnreadable) as lost:
                search.missed(lost)
                self._put_last(issuer, url)
            except CredentialUnavailable as error:
                search.missed(error)
                break  # all of them are on this host
            else:
                document = search.read(received, issuer, self._clock.wall())
                found = document | found
                if _usable(document.get(name), issuer, insecure=insecure):
                    return found | {name: document[name]}
        if not found:
            raise search.error()
        return found

    def _put_last(self, issuer: str, url: str) -> None:
        """Look there last from now on: while the answer was waited for, there was no time left for the others."""
        order = self._order.get(issuer) or locations(issuer)
        self._order[issuer] = (*(other for other in order if other != url), url)


class _Search:
    """What was met on the way to a document."""

    def __init__(self) -> None:
        self._unavailable: CredentialUnavailable | None = None
        self._status = 0
        self._requested = 0.0
        self._others = False

    def missed(self, error: CredentialUnavailable) -> None:
        """No answer came."""
        self._unavailable = self._unavailable or CredentialUnavailable(error.detail)

    def read(self, received: Received, issuer: str, wall: float) -> dict[str, Any]:
        """The members of the issuer's own document; none where this is another one, or no document."""
        self._requested = max(self._requested, retry_after(received.headers.get("Retry-After"), wall))
        found = members(received.body, received.headers.get("Content-Type"))
        if received.status == _OK and found is not None:
            if found.get("issuer") == issuer:
                return found
            self._others = True
        elif _telling(received.status) >= _telling(self._status):
            self._status = received.status
        return {}

    def error(self) -> CredentialError:
        """The most telling one: a document of another issuer, then an issuer that fails, then one that has none.

        Where the issuer fails at one place, its document may be there: later may help.
        """
        told = f"The issuer answered {self._status} when asked for its metadata"
        answered = CredentialUnavailable(
            f"{told}, and not with a document" if self._status == _OK else told, retry_after=self._requested
        )
        lost = self._unavailable if not _fails(self._status) else None
        if not self._others:
            return lost or answered
        if lost is None and not _fails(self._status):
            return CredentialRefused(_ANOTHER)
        elsewhere = lost or answered
        return CredentialUnavailable(f"{_ANOTHER}; elsewhere: {elsewhere.detail}", retry_after=self._requested)


def _server_of(url: str) -> str:
    """What the log calls an issuer: a secret may stand in the path."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _fails(status: int) -> bool:
    return status >= 500 or status in {408, 425, 429}  # noqa: PLR2004 - RFC 9110 §15.6


def _telling(status: int) -> int:
    """How much a status says: that there is no document at one place of several, the least."""
    return 0 if status in {0, 404, 410} else 3 if _fails(status) else 2 if status == _OK else 1


def _usable(url: Any, issuer: str, *, insecure: bool = False) -> bool:
    """Whether an endpoint is one, within the rules."""
    if not isinstance(url, str):
        return False
    try:
        check_endpoint(url, issuer, insecure=insecure)
    except ValueError:
        return False
    return True


def check_endpoint(url: str, issuer: str, *, insecure: bool = False) -> None:
    """Hold an endpoint that metadata names to the rules of a configured one. Raises ValueError: a sentence."""
    parsed = parse_url(url, query=True)
    host = parsed.hostname or ""
    if parsed.scheme != "https" and (urlsplit(issuer).scheme == "https" or not (insecure or is_loopback(host))):
        raise ValueError("it is without TLS")
    if is_prohibited(host) or (_NUMBER.fullmatch(host) and not is_address(host)):
        raise ValueError("no server has such an address")


def locations(issuer: str) -> tuple[str, ...]:
    """Where the metadata may be, each once.

    RFC 8414 §3.1 puts the well-known part before the path, OpenID Connect Discovery §4.1 behind it; servers mix both up
    (RFC 8414 §5).
    """
    parts = urlsplit(issuer)
    path = parts.path.rstrip("/")
    oauth, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
    places = (f"{oauth}{path}", f"{path}{openid}", f"{openid}{path}", f"{path}{oauth}")
    return tuple(urlunsplit((parts.scheme, parts.netloc, place, "", "")) for place in dict.fromkeys(places))
