"""Who may push a token into a credential: whoever knows its secret or has a JWT of its issuer, from an allowed address.

The address is looked at first. Neither the answer nor its time tells which names exist: for every name the same work is
done, with a secret that nobody knows where there is none, and with the key sets of all JWT guards that a caller of that
address may use. Whatever goes wrong while a guard is judged is a refusal.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import secrets
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import jwt
import msgspec

from proxy.admin.jwks import Jwk, KeySets
from proxy.admin.middleware import presented_bearer, same_secret
from proxy.admin.ports import CredentialView
from proxy.clock import Clock
from proxy.config.schema import UpdateGuard, UpdateGuardJwt
from proxy.errors import ConfigurationError
from proxy.tokens.http_client import HttpClient

_sorted = msgspec.json.Encoder(order="sorted").encode
_log = logging.getLogger("auth_sidecar.admin")

LOOPBACK = ("127.0.0.0/8", "::1/128")
ANYWHERE = ("0.0.0.0/0", "::/0")

_ASYMMETRIC = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", "ES256K"}
)
_AHEAD = 60.0
"""Seconds that the clock of a JWT's issuer may be ahead of ours."""

_UNKNOWN = secrets.token_urlsafe(32)
"""What a secret is compared with where none is configured: it takes the same time, and never matches."""


class Guards:
    """Checks the guards of one listener."""

    def __init__(self, clock: Clock, keys: KeySets, *, allow_from: Sequence[str]) -> None:
        self._clock = clock
        self._keys = keys
        self._allow_from = tuple(allow_from)
        self._failures: set[str] = set()

    async def admits(
        self,
        entry: CredentialView | None,
        among: Collection[CredentialView],
        *,
        address: str,
        authorization: str,
        inner_secret: str,
    ) -> bool:
        """Whether a push may go on.

        `entry`: None for a name that does not exist; `among`: all that take pushes. `address`: the caller's.
        `inner_secret`: what the body gives.
        """
        try:
            return await self._judge(entry, among, address, presented_bearer(authorization), inner_secret)
        except Exception as error:  # noqa: BLE001 - what a stranger sends must not decide how it is answered
            reason = type(error).__name__
            if reason not in self._failures:  # once each: anybody may send the same again
                self._failures.add(reason)
                _log.error("judging an update guard failed, so it let nobody in; please report: %s", reason)
            return False

    async def _judge(
        self,
        entry: CredentialView | None,
        among: Collection[CredentialView],
        address: str,
        bearer: str,
        inner_secret: str,
    ) -> bool:
        guard = (entry and entry.update) or UpdateGuard()
        allowed = entry is not None and self._allows(guard, address)
        secret = _secret_of(entry or next(iter(among), None))
        knows = same_secret(bearer, secret) | same_secret(inner_secret, secret)
        if allowed and knows:
            return True
        ways = {one.update.jwt.jwks_uri: one.keys_client for one in among if one.update and one.update.jwt}
        return await self._holds(guard.jwt if allowed else None, self._jwt_guards(among, address), bearer, ways)

    def _allows(self, guard: UpdateGuard, address: str) -> bool:
        return address_allowed(address, self._allow_from if guard.allow_from is None else guard.allow_from)

    def _jwt_guards(self, among: Collection[CredentialView], address: str) -> list[UpdateGuardJwt]:
        """The JWT guards that a caller of this address may use."""
        guards = [entry.update for entry in among if entry.update is not None]
        return [guard.jwt for guard in guards if guard.jwt is not None and self._allows(guard, address)]

    async def _holds(
        self,
        own: UpdateGuardJwt | None,
        guards: Sequence[UpdateGuardJwt],
        token: str,
        ways: Mapping[str, HttpClient | None],
    ) -> bool:
        """Whether the token satisfies `own`.

        Where it does not, all key sets of `guards` are tried one after the other, so that the time tells nothing of
        which names exist. A right token waits for the keys of its own issuer only. `ways`: by key set, the client that
        goes through an egress proxy.
        """
        header = _header(token)
        if header is None:
            return False
        algorithm, kid = header
        listed = [guard for guard in guards if algorithm in guard.algorithms]
        first = [own] if own is not None and algorithm in own.algorithms else []
        for uri in dict.fromkeys(guard.jwks_uri for guard in (*first, *listed)):
            claims = _proven(token, await self._keys.find(uri, kid, ways.get(uri)), algorithm)
            if claims is not None and first and uri == first[0].jwks_uri and self._satisfies(claims, first[0]):
                return True
        return False

    def _satisfies(self, claims: dict[str, Any], wanted: UpdateGuardJwt) -> bool:
        """Whether issuer, audience, times (RFC 7519 §4.1) and all configured claims are right."""
        audience = claims.get("aud")
        return (
            claims.get("iss") == wanted.issuer
            and (wanted.audience in audience if isinstance(audience, list) else audience == wanted.audience)
            and self._is_timely(claims)
            and all(name in claims and _is_same(claims[name], value) for name, value in wanted.claims.items())
        )

    def _is_timely(self, claims: dict[str, Any]) -> bool:
        """RFC 7519 §4.1.4 to §4.1.6: not expired, and not from the future."""
        now = self._clock.wall()
        expiry, begins = claims.get("exp"), (claims.get("nbf", now), claims.get("iat", now))
        if not _is_moment(expiry) or not all(map(_is_moment, begins)):
            return False
        return bool(expiry > now and max(begins) <= now + _AHEAD)  # type: ignore[operator]


def _header(token: str) -> tuple[str, str | None] | None:
    """The algorithm and the key that a JWT names; None if it is no JWT or its algorithm is symmetric."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None
    algorithm, kid = header.get("alg"), header.get("kid")
    if not isinstance(algorithm, str) or algorithm not in _ASYMMETRIC or not isinstance(kid, str | None):
        return None
    return algorithm, kid


def _proven(token: str, keys: Sequence[Jwk], algorithm: str) -> dict[str, Any] | None:
    """The claims of a JWT that one of the keys has signed; None if none has. The claims are not judged here."""
    for key in keys:
        if key.get("alg", algorithm) != algorithm or key.get("use", "sig") != "sig":
            continue
        try:
            return jwt.decode(token, jwt.PyJWK(key, algorithm), algorithms=[algorithm], options=_SIGNATURE_ALONE)
        except Exception:  # noqa: BLE001, S112 - a key that is none: another one of the set may be right
            continue
    return None


_SIGNATURE_ALONE: Any = {
    "enforce_minimum_key_length": True,
    **{f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")},
}


def _is_moment(value: object) -> bool:
    """Whether it is a NumericDate (RFC 7519 §2). Python takes `True` for an int, and reads NaN and Infinity in JSON."""
    return isinstance(value, int | float) and not isinstance(value, bool) and -math.inf < value < math.inf


def _is_same(claim: object, wanted: object) -> bool:
    """Whether two values are the same in JSON. In Python `1 == True`."""
    return _sorted(claim) == _sorted(wanted)


def _secret_of(entry: CredentialView | None) -> str:
    if entry is None or entry.update_secret is None:
        return _UNKNOWN
    try:
        return entry.update_secret()
    except ConfigurationError as error:
        _log.error("the secret of an update guard cannot be read, so it lets nobody in: %s", error)
        return _UNKNOWN


def numeric(address: str) -> str:
    """An address in canonical spelling; an IPv4-mapped IPv6 address (RFC 4291 §2.5.5.2) becomes the IPv4 address."""
    caller = _parsed(address)
    return address if caller is None else str(caller)


def address_allowed(address: str, networks: Sequence[str]) -> bool:
    """Whether a numeric address lies in one of the networks; an IPv4-mapped one counts as IPv4."""
    caller = _parsed(address)
    return caller is not None and any(caller in network for network in _networks(tuple(networks)))


def _parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        caller = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    return (caller.ipv4_mapped or caller) if isinstance(caller, ipaddress.IPv6Address) else caller


@lru_cache
def _networks(networks: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(network, strict=False) for network in networks)
