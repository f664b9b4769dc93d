"""How the client proves to the token endpoint who it is. Pure: time and chance are arguments.

Exactly one method per request (RFC 6749 §2.3), and none is tried after another: a second attempt can burn a grant that
may be used once.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote_plus

import jwt
import msgspec
from msgspec import Struct

from proxy.auth.private_key import certificate_thumbprints, key_id_of, load_private_key, shared_key
from proxy.errors import ConfigurationError, CredentialRefused
from proxy.model import Moment

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME = 60
"""Seconds. Servers may refuse an expiry that is unreasonably far (RFC 7523 §3)."""

_BACKDATED = 10.0
_JTI_OCTETS = 18


class SigningKey(Struct, frozen=True):
    """What a JWT is signed with, and how. `text`: a private key (PEM, JWK) or, for HS…, a secret.

    `password` opens an encrypted key; `encoding`: how a secret is written. `headers`: more members of the JOSE header.
    """

    text: str
    alg: str
    password: str | None = None
    encoding: str | None = None
    key_id: str | None = None
    headers: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        """A key cannot be printed."""
        return f"SigningKey({self.alg})"


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
    client_id: str, key: SigningKey, audience: str, moment: Moment, *, claims: Mapping[str, Any] | None = None
) -> Proof:
    """Sign an assertion (RFC 7523 §2.2) with a secret (HS…) or a private key; its `jti` serves once.

    `claims`: the operator's, which win over ours; one that is None is left out. Raises CredentialRefused where the key
    does not go with the algorithm.
    """
    ours = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        **dates(moment.wall, ASSERTION_LIFETIME),
        "jti": base64.urlsafe_b64encode(moment.octets(_JTI_OCTETS)).decode(),
    }
    whole = {name: value for name, value in {**ours, **(claims or {})}.items() if value is not None}
    return ready_made(client_id, sign(whole, key))


def dates(now: float, lifetime: float) -> dict[str, int]:
    """`iat` and `exp` of an assertion that is made now.

    It is dated back, or an issuer whose clock is a little behind would refuse it as one from the future; for the same
    reason it has no `nbf`. `exp` counts from there, so that no issuer sees a longer life than it may allow.
    """
    issued = int(now - min(_BACKDATED, lifetime / 2))
    return {"iat": issued, "exp": issued + int(lifetime)}


def sign(claims: dict[str, Any], key: SigningKey) -> str:
    """Sign a JWT (RFC 7519). Raises CredentialRefused where the key does not go with the algorithm."""
    symmetric = key.alg.startswith("HS")
    try:
        loaded: Any = shared_key(key.text, key.encoding) if symmetric else load_private_key(key.text, key.password)
    except ConfigurationError as error:
        raise CredentialRefused(f"The key cannot sign with {key.alg}: it is {error}") from None
    key_id = key.key_id or key_id_of(key.text)
    headers = {**({"kid": key_id} if key_id else {}), **key.headers}
    try:
        return jwt.encode(claims, loaded, key.alg, headers=headers or None)
    except (jwt.PyJWTError, ValueError, TypeError, AttributeError, NotImplementedError):
        raise CredentialRefused(f"The key cannot sign with {key.alg}") from None


def thumbprints(certificate: str) -> dict[str, str]:
    """The header members that name a certificate. Raises CredentialRefused where it is none."""
    try:
        return certificate_thumbprints(certificate)
    except ConfigurationError as error:
        raise CredentialRefused(f"client_assertion_certificate holds {error}") from None


def service_account(text: str) -> tuple[str, str, str | None]:
    """The e-mail address, the private key and its id in the file of a Google service account.

    Raises CredentialRefused where it is no such file.
    """
    try:
        said = msgspec.json.decode(text.removeprefix("\ufeff"))
        issuer, key = said["client_email"], said["private_key"]
    except (ValueError, KeyError, TypeError, RecursionError):
        issuer = key = None
    if not isinstance(issuer, str) or not isinstance(key, str):
        raise CredentialRefused("google_service_account holds no client_email and private_key")
    key_id = said.get("private_key_id")
    return issuer, key, key_id if isinstance(key_id, str) else None
