"""The public keys of a JWT guard's issuer (RFC 7517 §5), fetched when needed and kept.

Keys that were good once stay in use while their issuer cannot be reached. A token that names a key we do not know has
them fetched anew, but not more often than every half minute: anybody can invent names.
"""

from __future__ import annotations

import asyncio
import logging
from http import HTTPStatus
from typing import Any

import aiohttp
import msgspec
from cachetools import LRUCache

from proxy.clock import Clock
from proxy.errors import CredentialError
from proxy.tokens.http_client import HttpClient

_log = logging.getLogger("auth_sidecar.admin")

_KEPT = 600.0
"""Seconds until keys are fetched anew even if nothing is missing."""
_PAUSE = 30.0
"""The least time between two fetches, in seconds."""
_TIMEOUT = aiohttp.ClientTimeout(total=5.0)
_LARGEST = 256 * 1024
_ISSUERS = 256

Jwk = dict[str, Any]


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[Jwk]


class _CachedKeys:
    """The keys of one issuer, and when they were fetched and last tried (seconds of the elapsed clock)."""

    def __init__(self) -> None:
        self.keys: list[Jwk] = []
        self.fetched = self.tried = float("-inf")
        self.lock = asyncio.Lock()


class KeySets:
    """The keys of all issuers, by the URL of their key set."""

    def __init__(self, clock: Clock) -> None:
        self._elapsed = clock.elapsed
        self._cached: LRUCache[str, _CachedKeys] = LRUCache(_ISSUERS)

    async def find(self, uri: str, kid: str | None, client: HttpClient | None = None) -> list[Jwk]:
        """Return the keys that a token naming `kid` may be signed with: that one, or all if it names none.

        `client`: fetches them, where the credential has an egress proxy.
        """
        cached = self._cached.get(uri)
        if cached is None:
            cached = self._cached[uri] = _CachedKeys()
        if self._due(cached, kid):
            async with cached.lock:
                if self._due(cached, kid):
                    await self._fetch(uri, cached, client)
        return _named(cached.keys, kid)

    def _due(self, cached: _CachedKeys, kid: str | None) -> bool:
        now = self._elapsed()
        wanted = now - cached.fetched >= _KEPT or not _named(cached.keys, kid)
        return wanted and now - cached.tried >= _PAUSE

    async def _fetch(self, uri: str, cached: _CachedKeys, client: HttpClient | None) -> None:
        try:
            cached.keys = await _keys_at(uri) if client is None else await _keys_through(client, uri)
        except CredentialError as error:
            _log.warning("the keys at %s cannot be fetched through via_proxy: %s", uri, error.detail)
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            _log.warning("the keys at %s cannot be fetched: %s", uri, type(error).__name__)
        else:
            cached.fetched = self._elapsed()
        finally:
            cached.tried = self._elapsed()


async def _keys_at(uri: str) -> list[Jwk]:
    session = aiohttp.ClientSession(timeout=_TIMEOUT, cookie_jar=aiohttp.DummyCookieJar())
    async with session, session.get(uri, allow_redirects=False) as answer:
        if answer.status != HTTPStatus.OK:
            raise ValueError(f"status {answer.status}")
        body = bytearray()
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > _LARGEST:
                raise ValueError("too large")
        return msgspec.json.decode(body, type=_KeySet).keys


async def _keys_through(client: HttpClient, uri: str) -> list[Jwk]:
    answer = await client.send("GET", uri)
    if answer.status != HTTPStatus.OK:
        raise ValueError(f"status {answer.status}")
    if len(answer.body) > _LARGEST:
        raise ValueError("too large")
    return msgspec.json.decode(answer.body, type=_KeySet).keys


def _named(keys: list[Jwk], kid: str | None) -> list[Jwk]:
    return keys if kid is None else [key for key in keys if key.get("kid") == kid]
