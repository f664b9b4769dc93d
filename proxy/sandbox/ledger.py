"""The tokens that were issued, used and revoked. Pure: time and chance come through the clock.

A family is one grant and everything issued from it: a refresh token that is used a second time revokes its family,
access tokens included (RFC 9700 §4.14.2).
"""

from __future__ import annotations

import base64
from collections.abc import MutableMapping
from dataclasses import dataclass, field

from cachetools import LRUCache, TLRUCache

from proxy.clock import Clock
from proxy.sandbox.refusal import Refusal

_MOST_TOKENS = 100_000
"""Tokens kept at most, so that a sandbox that runs for weeks stays small."""


@dataclass(slots=True, eq=False)
class Family:
    """One grant: its owner and scope, and the thumbprint (RFC 7638) of the DPoP key that it is bound to."""

    client_id: str
    subject: str
    scope: str = ""
    audience: tuple[str, ...] = ()
    jkt: str | None = None
    revoked: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class AccessToken:
    """`expires_elapsed` is on the clock's elapsed scale, `issued_wall` and `expires_wall` are epoch seconds."""

    value: str = field(repr=False)
    family: Family
    jkt: str | None
    issued_wall: float
    expires_wall: float
    expires_elapsed: float


@dataclass(slots=True, eq=False)
class RefreshToken:
    """`used_elapsed`: when it was first redeemed with rotation on."""

    value: str = field(repr=False)
    family: Family
    used_elapsed: float | None = None


class Ledger:
    """The tokens of the authorization server, which the API checks."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._access: MutableMapping[str, AccessToken] = TLRUCache(
            _MOST_TOKENS, ttu=lambda _key, token, _now: token.expires_elapsed, timer=clock.elapsed
        )
        self._refresh: MutableMapping[str, RefreshToken] = LRUCache(_MOST_TOKENS)
        self.reuses = 0

    def random_value(self) -> str:
        """A token of 256 unpredictable bits, url-safe."""
        return base64.urlsafe_b64encode(self._clock.octets(32)).rstrip(b"=").decode()

    def record(self, value: str, family: Family, lifetime: float, jkt: str | None) -> AccessToken:
        """Remember an access token that lives `lifetime` seconds from now."""
        wall, elapsed = self._clock.wall(), self._clock.elapsed()
        token = AccessToken(value, family, jkt, wall, wall + lifetime, elapsed + lifetime)
        self._access[value] = token
        return token

    def access(self, value: str) -> AccessToken | None:
        """The token; None once it is expired or revoked."""
        token = self._access.get(value)
        if token is None or token.family.revoked or token.expires_elapsed <= self._clock.elapsed():
            return None
        return token

    def refresh(self, value: str) -> RefreshToken | None:
        """The refresh token; None if it can no longer be redeemed."""
        token = self._refresh.get(value)
        return token if token and not token.family.revoked and token.used_elapsed is None else None

    def mint_refresh(self, family: Family, value: str | None = None) -> str:
        """A new refresh token of this family; `value` for one that a demonstration must know beforehand."""
        value = value or self.random_value()
        self._refresh[value] = RefreshToken(value, family)
        return value

    def redeem(self, value: str, client_id: str, *, rotation: bool, reuse_detection: bool, grace: float) -> Family:
        """Redeem a refresh token, and return its family.

        Raises Refusal(invalid_grant) if it is unknown, another client's, revoked, or used before; with
        `reuse_detection` the last of these also revokes the family. `grace`: seconds after the first use in which a
        second one is forgiven.
        """
        token = self._refresh.get(value)
        if token is None or token.family.client_id != client_id or token.family.revoked:
            raise Refusal("invalid_grant", "unknown or revoked refresh token")
        now = self._clock.elapsed()
        if token.used_elapsed is not None and now - token.used_elapsed >= grace:
            self.reuses += 1
            token.family.revoked = token.family.revoked or reuse_detection
            raise Refusal("invalid_grant", "refresh token was used before")
        if rotation and token.used_elapsed is None:
            token.used_elapsed = now
        return token.family

    def revoke(self, value: str, client_id: str) -> None:
        """RFC 7009 §2: an unknown token is no error; a refresh token revokes its whole family."""
        access = self._access.get(value)
        if access is not None and access.family.client_id == client_id:
            self._access.pop(value, None)
        refresh = self._refresh.get(value)
        if refresh is not None and refresh.family.client_id == client_id:
            refresh.family.revoked = True

    def revoke_access_tokens(self) -> int:
        """Every access token is refused from now on; refresh tokens stay good. Returns how many were forgotten."""
        count = len(self._access)
        self._access.clear()
        return count

    def revoke_everything(self) -> int:
        """Revoke all access tokens and refresh tokens. Returns the number of access tokens."""
        for token in self._refresh.values():
            token.family.revoked = True
        return self.revoke_access_tokens()
