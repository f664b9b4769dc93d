"""Signed JWTs by which clients prove themselves or ask for tokens (RFC 7523), each good for one use. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jwt
from cachetools import TTLCache

from proxy.clock import Clock

_LONGEST_LIFE = 3600.0
_SKEW = 30.0
_MOST_JTIS = 100_000
_SYMMETRIC = ("HS256", "HS384", "HS512")
_ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")


class AssertionRefused(Exception):
    """The assertion is not accepted. `str()` is the reason and holds nothing of its content."""


class Assertions:
    """Checks assertions and remembers which were used."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used: TTLCache[tuple[str, str], None] = TTLCache(_MOST_JTIS, _LONGEST_LIFE + _SKEW, timer=clock.elapsed)

    def check(
        self,
        assertion: str,
        *,
        secret: Callable[[str], str | None],
        jwks: Callable[[str], dict[str, Any] | None],
        audiences: Iterable[str],
    ) -> dict[str, Any]:
        """The claims of an assertion whose `iss` owns the key that signed it.

        `secret` and `jwks` give the keys of an issuer. Raises AssertionRefused.
        """
        try:
            header = jwt.get_unverified_header(assertion)
            issuer = jwt.decode_complete(assertion, options={"verify_signature": False})["payload"].get("iss")
            claims = self._verified(assertion, header, secret(str(issuer)), jwks(str(issuer)))
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise AssertionRefused(f"assertion does not verify: {type(error).__name__}") from None
        self._check_claims(claims, set(audiences))
        return claims

    @staticmethod
    def _verified(
        assertion: str, header: dict[str, Any], secret: str | None, jwks: dict[str, Any] | None
    ) -> dict[str, Any]:
        options: Any = {"verify_aud": False, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        options["require"] = ["iss", "sub", "aud", "exp"]
        algorithm = header.get("alg")
        if algorithm in _SYMMETRIC and secret is not None:
            return jwt.decode(assertion, secret, algorithms=[algorithm], options=options)
        if algorithm not in _ASYMMETRIC or jwks is None:
            raise AssertionRefused("no key of this issuer fits the algorithm")
        keys = jwt.PyJWKSet.from_dict(jwks).keys
        named = [key for key in keys if header.get("kid") in (None, key.key_id)]
        for key in named:
            try:
                return jwt.decode(assertion, key.key, algorithms=[algorithm], options=options)
            except (jwt.InvalidSignatureError, jwt.InvalidKeyError, TypeError):
                continue
        raise AssertionRefused("no key of this issuer verifies the signature")

    def _check_claims(self, claims: dict[str, Any], audiences: set[str]) -> None:
        """RFC 7523 §3, in its order, by the sandbox's clock, which a test can move."""
        now = self._clock.wall()
        audience = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        if not audiences.intersection(audience):
            raise AssertionRefused("assertion is for another audience")
        expires = claims["exp"]
        if not isinstance(expires, int | float) or expires <= now - _SKEW or expires > now + _LONGEST_LIFE + _SKEW:
            raise AssertionRefused("assertion has expired, or lives too long")
        if float(claims.get("nbf", now)) > now + _SKEW:
            raise AssertionRefused("assertion is not valid yet")
        if "jti" in claims:
            use = (str(claims["iss"]), str(claims["jti"]))
            if use in self._used:
                raise AssertionRefused("assertion was used before")
            self._used[use] = None
