"""Who may push a token into a credential: who knows its secret or holds a JWT of its issuer, from an allowed address.

All of it is checked for names that do not exist too, against a secret that nobody knows, so that neither the answer nor
its time tells which names exist.
"""

from __future__ import annotations

import ipaddress
import logging
import secrets
from collections.abc import Sequence
from typing import Any

import jwt
import msgspec

from proxy.admin.door import presented_bearer, same_secret
from proxy.admin.jwks import Jwk, KeySets
from proxy.admin.view import Entry
from proxy.clock import Clock
from proxy.config.schema import UpdateGuard, UpdateGuardJwt
from proxy.errors import ConfigurationError

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
"""Stands where there is no secret to compare with."""


class Guards:
    """Checks the guards of one listener."""

    def __init__(self, clock: Clock, keys: KeySets, *, allow_from: Sequence[str]) -> None:
        self._clock = clock
        self._keys = keys
        self._allow_from = allow_from

    async def admits(self, entry: Entry | None, *, address: str, authorization: str, inner_secret: str) -> bool:
        """Whether a push may go on.

        `entry`: None for a name that does not exist. `address`: the caller's. `inner_secret`: what the body gives.
        """
        guard = (entry and entry.update) or UpdateGuard()
        bearer = presented_bearer(authorization)
        secret = _secret_of(entry)
        knows = same_secret(bearer, secret) | same_secret(inner_secret, secret)
        holds = not knows and guard.jwt is not None and await self._holds(guard.jwt, bearer)
        allowed = address_allowed(address, self._allow_from if guard.allow_from is None else guard.allow_from)
        return (knows or holds) and allowed

    async def _holds(self, wanted: UpdateGuardJwt, token: str) -> bool:
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return False
        algorithm = header.get("alg")
        if algorithm not in _ASYMMETRIC.intersection(wanted.algorithms):
            return False
        keys = await self._keys.find(wanted.jwks_uri, header.get("kid"))
        return any(self._proves(wanted, token, key, algorithm) for key in keys)

    def _proves(self, wanted: UpdateGuardJwt, token: str, key: Jwk, algorithm: str) -> bool:
        if key.get("alg", algorithm) != algorithm or key.get("use", "sig") != "sig":
            return False
        try:
            claims = jwt.decode(
                token,
                jwt.PyJWK(key, algorithm),
                algorithms=[algorithm],
                issuer=wanted.issuer,
                audience=wanted.audience,
                options={
                    "require": ["exp", "iss", "aud"],
                    "enforce_minimum_key_length": True,
                    "verify_exp": False,  # against our own clock, below
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.PyJWTError:
            return False
        return self._is_timely(claims) and all(
            name in claims and _is_same(claims[name], value) for name, value in wanted.claims.items()
        )

    def _is_timely(self, claims: dict[str, Any]) -> bool:
        """RFC 7519 §4.1.4 to §4.1.6: not expired, and not from the future."""
        now = self._clock.wall()
        begins = (claims.get("nbf", now), claims.get("iat", now))
        if not all(isinstance(moment, int | float) for moment in (claims["exp"], *begins)):
            return False
        return bool(claims["exp"] > now and max(begins) <= now + _AHEAD)


def _is_same(claim: object, wanted: object) -> bool:
    """As JSON sees it: to Python, 1 and true are equal."""
    return _sorted(claim) == _sorted(wanted)


def _secret_of(entry: Entry | None) -> str:
    if entry is None or entry.update_secret is None:
        return _UNKNOWN
    try:
        return entry.update_secret()
    except ConfigurationError as error:
        _log.error("the secret of an update guard cannot be read, so it lets nobody in: %s", error)
        return _UNKNOWN


def address_allowed(address: str, networks: Sequence[str]) -> bool:
    """Whether a numeric address (or its IPv4 form, RFC 4291 §2.5.5.2) lies in one of the networks."""
    try:
        caller = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(caller, ipaddress.IPv6Address) and caller.ipv4_mapped:
        caller = caller.ipv4_mapped
    return any(caller in ipaddress.ip_network(network, strict=False) for network in networks)
