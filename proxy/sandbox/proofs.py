"""DPoP proofs and nonces as a server sees them (RFC 9449). Pure: time and chance come through the clock."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections import deque
from typing import Any

import jwt
from cachetools import TTLCache

from proxy.clock import Clock

ALGORITHMS = ("ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA")

_IAT_WINDOW = 300.0
_NONCE_LIFE = 300.0
_MOST_JTIS = 100_000
_THUMBPRINT_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}


class ProofRefused(Exception):
    """`error` is the code of the answer: invalid_dpop_proof or use_dpop_nonce."""

    def __init__(self, reason: str, error: str = "invalid_dpop_proof") -> None:
        super().__init__(reason)
        self.error = error


class ProofNonces:
    """The nonces of one server. The newest few are accepted until they expire."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._issued: deque[tuple[str, float]] = deque(maxlen=10_000)

    def newest(self) -> str:
        """The current nonce; a new one if it has grown old."""
        if not self._issued or self._clock.elapsed() - self._issued[-1][1] > _NONCE_LIFE:
            return self.renew()
        return self._issued[-1][0]

    def renew(self) -> str:
        """Make a new nonce, which is the newest from now on."""
        nonce = base64.urlsafe_b64encode(self._clock.octets(18)).decode()
        self._issued.append((nonce, self._clock.elapsed()))
        return nonce

    def accepts(self, nonce: str, window: int) -> bool:
        """Whether it is one of the `window` newest and not too old."""
        oldest = self._clock.elapsed() - 2 * _NONCE_LIFE
        recent = list(self._issued)[-window:]
        return any(hmac.compare_digest(nonce, known) and since > oldest for known, since in recent)


class Proofs:
    """Checks proofs and remembers which were used; one per server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used: TTLCache[tuple[str, str], None] = TTLCache(_MOST_JTIS, 2 * _IAT_WINDOW, timer=clock.elapsed)
        self.nonces = ProofNonces(clock)

    def check(
        self, proof: str, *, method: str, url: str, nonce_window: int | None, access_token: str | None = None
    ) -> str:
        """The thumbprint (RFC 7638) of the key that signed a proof for exactly this request, RFC 9449 §4.3.

        `url`: without query and fragment. `nonce_window`: how many of the newest nonces are accepted; None if none
        is required. Raises ProofRefused.
        """
        try:
            header = jwt.get_unverified_header(proof)
            key = header.get("jwk")
            if header.get("typ") != "dpop+jwt" or header.get("alg") not in ALGORITHMS or not isinstance(key, dict):
                raise ProofRefused("wrong typ, alg or jwk")
            if "d" in key or key.get("kty") not in _THUMBPRINT_MEMBERS:
                raise ProofRefused("jwk is not a public key")
            claims = jwt.decode(
                proof,
                jwt.PyJWK.from_dict(key, algorithm=header["alg"]).key,
                algorithms=[header["alg"]],
                options={"require": ["jti", "htm", "htu", "iat"], "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError, TypeError, KeyError) as error:
            raise ProofRefused(f"proof does not verify: {type(error).__name__}") from None
        thumbprint = key_thumbprint(key)
        self._check_claims(claims, method, url, access_token)
        if nonce_window is not None and not self.nonces.accepts(str(claims.get("nonce", "")), nonce_window):
            raise ProofRefused("a current nonce is wanted", "use_dpop_nonce")
        use = (thumbprint, str(claims["jti"]))
        if use in self._used:
            raise ProofRefused("proof was used before")
        self._used[use] = None
        return thumbprint

    def _check_claims(self, claims: dict[str, Any], method: str, url: str, access_token: str | None) -> None:
        if claims["htm"] != method:
            raise ProofRefused("htm is another method")
        if claims["htu"] != url:
            raise ProofRefused("htu is another URL")
        issued = claims["iat"]
        if not isinstance(issued, int | float) or abs(self._clock.wall() - issued) > _IAT_WINDOW:
            raise ProofRefused("iat is too far from now")
        if access_token is not None and not hmac.compare_digest(str(claims.get("ath", "")), token_hash(access_token)):
            raise ProofRefused("ath is of another token")


def token_hash(access_token: str) -> str:
    """The `ath` claim of a token: base64url(SHA-256), RFC 9449 §4.2."""
    return _base64url(hashlib.sha256(access_token.encode()).digest())


def key_thumbprint(key: dict[str, Any]) -> str:
    """SHA-256 over the required members in lexical order, RFC 7638 §3."""
    members = {name: key[name] for name in _THUMBPRINT_MEMBERS[key["kty"]]}
    return _base64url(hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest())


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
