"""The keys that DPoP tokens are bound to (RFC 9449 §5). A key is stored with the refresh token that is bound to it.

Only `pem`, which is for the store, returns the private part.
"""

from __future__ import annotations

import binascii
import hashlib
import json
from collections.abc import Callable
from typing import Any

from cachetools import LRUCache
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from jwt.algorithms import get_default_algorithms

from proxy.auth.private_key import load_private_key
from proxy.errors import ConfigurationError
from proxy.model import Token

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey

_RSA_BITS = 2048
_REQUIRED_MEMBERS = frozenset({"crv", "e", "kty", "n", "x", "y"})
"""RFC 7638 §3.2, RFC 8037 §2."""
_KEPT = 16
_P256_OCTETS = 32
_URL_SAFE = bytes.maketrans(b"+/", b"-_")


class DpopKey:
    """One private key with its algorithm: `ES256`, `ES384`, `EdDSA` (Ed25519) or `PS256`.

    `jwk`: the public members. `thumbprint`: RFC 7638 with SHA-256, what a bound token's `cnf.jkt` says.
    """

    def __init__(self, private: PrivateKey) -> None:
        self._private = private
        self.alg = _algorithm(private)
        public: dict[str, Any] = get_default_algorithms()[self.alg].to_jwk(private.public_key(), as_dict=True)
        self.jwk = _required(public)
        self.thumbprint = thumbprint(self.jwk)
        self._sign = _signature(private)
        self._head = base64url(_compact({"typ": "dpop+jwt", "alg": self.alg, "jwk": self.jwk})) + b"."

    @classmethod
    def generate(cls, alg: str = "ES256") -> DpopKey:
        """A new key. Raises ConfigurationError for an algorithm other than the four."""
        match alg:
            case "ES256":
                return cls(ec.generate_private_key(ec.SECP256R1()))
            case "ES384":
                return cls(ec.generate_private_key(ec.SECP384R1()))
            case "EdDSA":
                return cls(ed25519.Ed25519PrivateKey.generate())
            case "PS256":
                return cls(rsa.generate_private_key(65537, _RSA_BITS))
        raise ConfigurationError("dpop.alg: ES256, ES384, EdDSA or PS256")

    @classmethod
    def load(cls, text: str, alg: str | None = None, password: str | None = None) -> DpopKey:
        """A key in PEM form or as a JWK; `password` opens an encrypted one.

        Raises ConfigurationError, without a word of the key, where it is none or not one for `alg`.
        """
        try:
            private = load_private_key(text, password)
        except ConfigurationError as error:
            raise ConfigurationError(f"dpop.key: {error}") from None
        if isinstance(private, ed448.Ed448PrivateKey):
            raise ConfigurationError("dpop.key: a key on P-256, P-384 or Ed25519 or an RSA key is needed")
        key = cls(private)
        if alg not in (None, key.alg):
            raise ConfigurationError(f"dpop.key: this is a key for {key.alg}, not for {alg}")
        return key

    def pem(self) -> str:
        """The private key (PKCS #8, not encrypted): a secret, for the store."""
        return self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")

    def sign(self, claims: bytes) -> bytes:
        """A compact JWS (RFC 7515 §7.1) over JSON claims, with this key's public part in its header."""
        signed = self._head + base64url(claims)
        return signed + b"." + base64url(self._sign(signed))

    def __repr__(self) -> str:
        """The thumbprint is public."""
        return f"DpopKey({self.alg}, {self.thumbprint})"


class DpopKeys:
    """The current key, for new tokens, and earlier keys, for tokens that are still bound to them.

    One object per credential, shared by what requests tokens and by what sends them.
    """

    def __init__(self, key: DpopKey) -> None:
        self._known: LRUCache[str, DpopKey] = LRUCache(_KEPT)
        self.use(key)

    def use(self, key: DpopKey) -> None:
        """Bind new tokens to this key, which the store or another process had instead of ours."""
        self.current = key
        self._known[key.thumbprint] = key

    def has(self, token: Token) -> bool:
        """Whether we have the key that a token is bound to; True if it is bound to none."""
        return token.key_thumbprint is None or token.key_thumbprint in self._known

    def of(self, token: Token) -> DpopKey:
        """The key that a token is bound to; the current one if it names none, or one that we do not have."""
        if token.key_thumbprint in (None, self.current.thumbprint):
            return self.current
        known: DpopKey = self._known.get(token.key_thumbprint, self.current)
        return known


def _algorithm(private: PrivateKey) -> str:
    """Raises ConfigurationError for other curves and for RSA keys that are too short."""
    match private:
        case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
            return "ES256"
        case ec.EllipticCurvePrivateKey(curve=ec.SECP384R1()):
            return "ES384"
        case ed25519.Ed25519PrivateKey():
            return "EdDSA"
        case rsa.RSAPrivateKey(key_size=bits) if bits >= _RSA_BITS:
            return "PS256"
    raise ConfigurationError("dpop.key: a key on P-256, P-384 or Ed25519, or RSA with 2048 bits or more, is needed")


def _signature(private: PrivateKey) -> Callable[[bytes], bytes]:
    """The signing function of a key. ECDSA gives r and s, each as wide as the curve (RFC 7518 §3.4)."""
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        signer = get_default_algorithms()[_algorithm(private)]
        return lambda message: bytes(signer.sign(message, private))
    width = (private.key_size + 7) // 8
    how = ec.ECDSA(hashes.SHA256() if width == _P256_OCTETS else hashes.SHA384())

    return lambda message: r_and_s(private.sign(message, how), width)


def r_and_s(signature: bytes, width: int) -> bytes:
    """Out of the DER form (RFC 3279 §2.2.3) that cryptography makes: SEQUENCE of two INTEGERs, below 128 octets.

    Slices take a third of the time of reading two numbers and writing them again.
    """
    r_ends = 4 + signature[3]
    return _wide(signature[4:r_ends], width) + _wide(signature[r_ends + 2 :], width)


def _wide(integer: bytes, width: int) -> bytes:
    """DER leaves leading zeros out, and puts one in front where a number would look negative."""
    return integer[-width:].rjust(width, b"\0")


def thumbprint(jwk: dict[str, Any]) -> str:
    """RFC 7638 with SHA-256, in base64url, of a public or private key."""
    return base64url(hashlib.sha256(_compact(_required(jwk))).digest()).decode("ascii")


def _required(jwk: dict[str, Any]) -> dict[str, str]:
    return {name: jwk[name] for name in sorted(_REQUIRED_MEMBERS & jwk.keys())}


def base64url(octets: bytes) -> bytes:
    """RFC 7515 §2: without padding."""
    return binascii.b2a_base64(octets, newline=False).translate(_URL_SAFE, b"=")


def _compact(members: dict[str, Any]) -> bytes:
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
