"""How the client proves to the token endpoint who it is. Pure: time and chance are arguments.

Exactly one method per request (RFC 6749 §2.3), and none is tried after another: a second attempt can burn a grant that
may be used once.
"""

from __future__ import annotations

import base64
from typing import Any, Literal
from urllib.parse import quote_plus

import jwt
from msgspec import Struct

from proxy.errors import CredentialRefused
from proxy.model import Moment

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME = 60
"""Seconds. Servers may refuse an expiry that is unreasonably far (RFC 7523 §3)."""

_BACKDATED = 10.0
_JTI_OCTETS = 18


class Proof(Struct, frozen=True):
    """What goes into the request: header fields and form parameters."""

    headers: tuple[tuple[str, str], ...] = ()
    parameters: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        """A proof cannot be printed."""
        return "Proof()"


def basic(client_id: str, secret: str, encoding: Literal["form", "raw"] = "form") -> Proof:
    """Prove by Basic (RFC 6749 §2.3.1): both parts are form-encoded first; `raw` is for servers that do not decode."""
    encoded = (client_id, secret) if encoding == "raw" else (quote_plus(client_id), quote_plus(secret))
    pair = base64.b64encode(":".join(encoded).encode()).decode()
    return Proof(headers=(("Authorization", f"Basic {pair}"),))


def post(client_id: str, secret: str) -> Proof:
    """Prove by id and secret in the body (RFC 6749 §2.3.1)."""
    return Proof(parameters=(("client_id", client_id), ("client_secret", secret)))


def public(client_id: str | None) -> Proof:
    """Say who we are; a certificate (RFC 8705 §2) or nothing at all proves it."""
    return Proof(parameters=(("client_id", client_id),) if client_id else ())


def ready_made(client_id: str | None, assertion: str) -> Proof:
    """Pass on an assertion that somebody else signed (RFC 7521 §4.2)."""
    return Proof(
        parameters=(
            *((("client_id", client_id),) if client_id else ()),
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion),
        )
    )


def signed(
    client_id: str, key: str, algorithm: str, audience: str, moment: Moment, *, key_id: str | None = None
) -> Proof:
    """Sign an assertion (RFC 7523 §2.2) with a secret (HS…) or a private key in PEM; its `jti` serves once.

    Raises CredentialRefused where the key does not go with the algorithm.
    """
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        **dates(moment.wall, ASSERTION_LIFETIME),
        "jti": base64.urlsafe_b64encode(moment.octets(_JTI_OCTETS)).decode(),
    }
    return ready_made(client_id, sign(claims, key, algorithm, key_id))


def dates(now: float, lifetime: float) -> dict[str, int]:
    """`iat` and `exp` of an assertion that is made now.

    It is dated back, or an issuer whose clock is a little behind would refuse it as one from the future; for the same
    reason it has no `nbf`. `exp` counts from there, so that no issuer sees a longer life than it may allow.
    """
    issued = int(now - min(_BACKDATED, lifetime / 2))
    return {"iat": issued, "exp": issued + int(lifetime)}


def sign(claims: dict[str, Any], key: str, algorithm: str, key_id: str | None = None) -> str:
    """Sign a JWT (RFC 7519). Raises CredentialRefused where the key does not go with the algorithm."""
    try:
        return jwt.encode(claims, key, algorithm, headers={"kid": key_id} if key_id else None)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, NotImplementedError):  # a public key lacks `sign`
        raise CredentialRefused(f"The key cannot sign with {algorithm}") from None
