r"""Keys in the forms in which people have them: PEM or JWK, encrypted or not, with other text around them.

PEM: PKCS #8, PKCS #1 and SEC 1 (RFC 7468, RFC 5958, RFC 8017, RFC 5915), encrypted in either way, in a file with
certificates or remarks, on one line with a literal `\n` for each line break, as environment variables have it. JWK:
RFC 7517, alone or as the only private key of a set. No message here holds any part of a key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from typing import Any

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from proxy.errors import ConfigurationError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey

_PRIVATE = re.compile(r"-----BEGIN ((?:[A-Z0-9]+ )*PRIVATE KEY)-----(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATE = re.compile(r"-----BEGIN (CERTIFICATE)-----(.*?)-----END \1-----", re.DOTALL)
_KINDS: dict[Any, Any] = {"RSA": RSAAlgorithm, "EC": ECAlgorithm, "OKP": OKPAlgorithm}
_NO_KEY = "no private key in PEM form, and no JWK"


def load_private_key(text: str, password: str | None = None) -> PrivateKey:
    """The key in a text; `password` opens an encrypted one. Raises ConfigurationError: why there is none."""
    members = _jwk(text)
    if members is not None:
        return _from_jwk(members)
    block = _block(_PRIVATE, text)
    if block is None:
        raise ConfigurationError(_NO_KEY)
    given = password.encode() if password is not None else None
    try:
        try:
            key = load_pem_private_key(block, given)
        except TypeError:
            if given is None:
                raise ConfigurationError("an encrypted private key: it needs `key_password`") from None
            key = load_pem_private_key(block, None)  # it was not encrypted
    except (ValueError, TypeError, UnsupportedAlgorithm):
        wrong = "an encrypted private key that `key_password` does not open" if given else _NO_KEY
        raise ConfigurationError(wrong) from None
    if not isinstance(key, PrivateKey):
        raise ConfigurationError("a private key of a kind that signs nothing here")
    return key


def key_id_of(text: str) -> str | None:
    """The `kid` of a JWK; None where it has none, and for other keys."""
    members = _jwk(text)
    key_id = (members or {}).get("kid")
    return key_id if isinstance(key_id, str) else None


def shared_key(text: str, encoding: str | None = None) -> bytes:
    """A key for HMAC: the octets of a text, those that it writes in `hex` or `base64`, or a JWK of type oct.

    Raises ConfigurationError.
    """
    members = _jwk(text)
    if members is not None and members.get("kty") == "oct" and isinstance(members.get("k"), str):
        text, encoding = members["k"], "base64"
    if encoding is None:
        return text.encode()
    packed = "".join(text.split())
    try:
        if encoding == "hex":
            return bytes.fromhex(packed)
        padded = packed.rstrip("=").translate(str.maketrans("-_", "+/"))
        return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except (ValueError, binascii.Error):
        raise ConfigurationError(f"a key that is not {encoding}, as `key_encoding` says") from None


def certificate_thumbprints(text: str) -> dict[str, str]:
    """What a JOSE header says of the first certificate in a text: `x5t#S256` and `x5t` (RFC 7515 §4.1.7, §4.1.8).

    Raises ConfigurationError.
    """
    block = _block(_CERTIFICATE, text)
    try:
        octets = x509.load_pem_x509_certificate(block or b"").public_bytes(Encoding.DER)
    except ValueError:
        raise ConfigurationError("no certificate in PEM form") from None
    digests = {"x5t#S256": hashlib.sha256(octets), "x5t": hashlib.sha1(octets, usedforsecurity=False)}
    return {name: base64.urlsafe_b64encode(one.digest()).decode().rstrip("=") for name, one in digests.items()}


def _block(pattern: re.Pattern[str], text: str) -> bytes | None:
    """The first PEM block of a kind, its lines apart."""
    found = pattern.search(text.replace("\\r", "").replace("\\n", "\n"))
    if found is None:
        return None
    content = found[2].strip()
    lines = [line.strip() for line in content.splitlines()] if "\n" in content else content.split()
    return "\n".join((f"-----BEGIN {found[1]}-----", *lines, f"-----END {found[1]}-----", "")).encode()


def _jwk(text: str) -> dict[str, Any] | None:
    """The members of the one key that a JSON text holds; None for what is no JSON."""
    if not text.lstrip("\ufeff \t\r\n").startswith("{"):
        return None
    try:
        members = json.loads(text.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        return None
    keys = members.get("keys")
    if isinstance(keys, list):
        private = [key for key in keys if isinstance(key, dict) and ("d" in key or "k" in key)]
        return private[0] if len(private) == 1 else {}
    return members if isinstance(members, dict) else None


def _from_jwk(members: dict[str, Any]) -> PrivateKey:
    kind = _KINDS.get(members.get("kty"))
    try:
        key = kind.from_jwk(members) if kind is not None else None
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        key = None
    if not isinstance(key, PrivateKey):
        raise ConfigurationError("no JWK of a private key")
    return key
