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
"""Seconds between two fetches at least."""
_TIMEOUT = aiohttp.ClientTimeout(total=5.0)
_LARGEST = 256 * 1024
_ISSUERS = 256

Jwk = dict[str, Any]


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[Jwk]


class _Shelf:
    """What is known of one issuer."""

    def __init__(self) -> None:
        self.keys: list[Jwk] = []
        self.fetched = self.tried = float("-inf")
        self.lock = asyncio.Lock()


class KeySets:
    """The keys of all issuers, by the address of their key set."""

    def __init__(self, clock: Clock) -> None:
        self._elapsed = clock.elapsed
        self._shelves: LRUCache[str, _Shelf] = LRUCache(_ISSUERS)

    async def find(self, uri: str, kid: str | None, client: HttpClient | None = None) -> list[Jwk]:
        """Return the keys that a token naming `kid` may be signed with: that one, or all if it names none.

        `client`: the way out, where the credential's own leads through an egress proxy.
        """
        shelf = self._shelves.get(uri)
        if shelf is None:
            shelf = self._shelves[uri] = _Shelf()
        if self._due(shelf, kid):
            async with shelf.lock:
                if self._due(shelf, kid):
                    await self._fetch(uri, shelf, client)
        return _named(shelf.keys, kid)

    def _due(self, shelf: _Shelf, kid: str | None) -> bool:
        now = self._elapsed()
        wanted = now - shelf.fetched >= _KEPT or not _named(shelf.keys, kid)
        return wanted and now - shelf.tried >= _PAUSE

    async def _fetch(self, uri: str, shelf: _Shelf, client: HttpClient | None) -> None:
        try:
            shelf.keys = await _keys_at(uri) if client is None else await _keys_through(client, uri)
        except CredentialError as error:
            _log.warning("the keys at %s cannot be fetched through via_proxy: %s", uri, error.detail)
        except (aiohttp.ClientError, OSError, ValueError, RecursionError) as error:
            _log.warning("the keys at %s cannot be fetched: %s", uri, type(error).__name__)
        else:
            shelf.fetched = self._elapsed()
        finally:
            shelf.tried = self._elapsed()


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
