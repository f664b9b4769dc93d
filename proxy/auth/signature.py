"""The signature methods of OAuth 1 (RFC 5849 §3.4.2 to §3.4.4), with the SHA-2 forms that servers added.

Keys are parsed once. `signer` returns a function from base string to signature, percent-encoded for the header.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from typing import Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from msgspec import Struct

from proxy.auth.base_string import escaped
from proxy.auth.private_key import load_private_key
from proxy.errors import ConfigurationError

SignatureMethod = Literal[
    "HMAC-SHA1", "HMAC-SHA256", "HMAC-SHA512", "RSA-SHA1", "RSA-SHA256", "RSA-SHA512", "PLAINTEXT"
]
Signer = Callable[[str], str]

_HMAC = {"HMAC-SHA1": "sha1", "HMAC-SHA256": "sha256", "HMAC-SHA512": "sha512"}
_RSA: dict[str, hashes.HashAlgorithm] = {
    "RSA-SHA1": hashes.SHA1(),  # noqa: S303 - §3.4.3 names it
    "RSA-SHA256": hashes.SHA256(),
    "RSA-SHA512": hashes.SHA512(),
}


class OAuth1Keys(Struct, frozen=True, kw_only=True):
    """The secrets of one credential. `private_key`: for the RSA methods. Without `token`, none is sent."""

    consumer_secret: str = ""
    token: str | None = None
    token_secret: str = ""
    private_key: str | None = None
    key_password: str | None = None

    def __repr__(self) -> str:
        """Secrets cannot be printed."""
        return "OAuth1Keys()"


def signer(method: SignatureMethod, keys: OAuth1Keys) -> Signer:
    """The function that signs. Raises ConfigurationError where the keys are not for this method."""
    if method in _RSA:
        return _rsa(_RSA[method], keys.private_key, keys.key_password)
    shared = f"{escaped(keys.consumer_secret)}&{escaped(keys.token_secret)}"
    if method in _HMAC:
        key, digest = shared.encode(), _HMAC[method]
        return lambda base: header_safe(hmac.digest(key, base.encode(), digest))
    ready = escaped(shared)
    return lambda _: ready


def _rsa(algorithm: hashes.HashAlgorithm, text: str | None, password: str | None) -> Signer:
    if text is None:
        raise ConfigurationError("private_key: the RSA signature methods need one")
    try:
        key = load_private_key(text, password)
    except ConfigurationError as error:
        raise ConfigurationError(f"private_key: {error}") from None
    if not isinstance(key, RSAPrivateKey):
        raise ConfigurationError("private_key: not an RSA key")
    padding = PKCS1v15()
    return lambda base: header_safe(key.sign(base.encode(), padding, algorithm))


def header_safe(octets: bytes) -> str:
    """Base64, percent-encoded as §3.5.1 wants every value in the header."""
    return base64.b64encode(octets).decode("ascii").replace("+", "%2B").replace("/", "%2F").replace("=", "%3D")
