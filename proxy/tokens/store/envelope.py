"""What a record looks like outside the process: plain JSON, or AES-256-GCM under the first of the store's keys.

    {"format": 1, "record": {…}}                                     without a key
    {"format": 1, "key": "1f0c33aa", "nonce": "…", "sealed": "…"}    with one (base64; `key` is its id, not the key)

The record's place (the credential's name, or the key in Redis) is authenticated along with it: a record copied to
another place does not open. Where the store itself must tell older from newer, the revision stands outside, too. Once
there is a key, an unsealed record is refused, or whoever can write the store could plant a grant of their own; a line
`plaintext` among the keys admits unsealed ones while a store moves to encryption.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from typing import Any, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.errors import ConfigurationError

_FORMAT = 1
_KEY_OCTETS = 32
_NONCE_OCTETS = 12
"""NIST SP 800-38D §8.2: 96 random bits; far below 2^32 records will ever be sealed under one key."""
_ID_OCTETS = 6
_PLAINTEXT = "plaintext"


class EnvelopeError(Exception):
    """A stored record cannot be opened. `str()` says why and what mends it; it names neither key nor content."""


class Envelope:
    """Seals and opens records. Without keys it writes and reads plain JSON."""

    def __init__(self, keys: tuple[bytes, ...] = (), *, admit_plaintext: bool = False) -> None:
        """Keys are 32 octets each: the first seals, all open; without any, records stay plain."""
        self._ciphers = {key_id(key): AESGCM(key) for key in keys}
        self._first = key_id(keys[0]) if keys else None
        self._admits_plaintext = admit_plaintext or not keys

    @classmethod
    def from_lines(cls, text: str) -> Self:
        """From one key in base64 per line (`openssl rand -base64 32`). Raises ConfigurationError."""
        keys = []
        lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
        for number, line in lines:
            if line != _PLAINTEXT:
                keys.append(_key(line, number))
        if not keys:
            raise ConfigurationError("encryption_key holds no key (make one with: openssl rand -base64 32)")
        return cls(tuple(keys), admit_plaintext=any(line == _PLAINTEXT for _, line in lines))

    @property
    def marks(self) -> tuple[str, ...]:
        """The ids of its keys, the one that seals first, and whether plain records are admitted."""
        return (*self._ciphers, *((_PLAINTEXT,) if self._admits_plaintext else ()))

    def seal(self, record: bytes, name: str, revision: int | None = None) -> bytes:
        """`record` is JSON; so is the result.

        `revision`: to be read without a key, and beside it what makes this very save unlike any other.
        """
        head: dict[str, object] = {"format": _FORMAT}
        if revision is not None:
            head |= {"revision": revision, "save": os.urandom(_ID_OCTETS).hex()}
        if self._first is None:
            return msgspec.json.encode({**head, "record": msgspec.Raw(record)})
        nonce = os.urandom(_NONCE_OCTETS)
        sealed = self._ciphers[self._first].encrypt(nonce, record, _bound_to(name))
        return msgspec.json.encode({**head, "key": self._first, "nonce": nonce, "sealed": sealed})

    def open(self, stored: bytes, name: str) -> bytes:
        """The record's JSON. Raises EnvelopeError."""
        outer = _parsed(stored)
        if bytes(outer.record):
            if not self._admits_plaintext:
                raise EnvelopeError(
                    "it is not encrypted, but the store has an encryption_key; add a line `plaintext` to the keys "
                    "to let it in, it is encrypted when it is next saved"
                )
            return bytes(outer.record)
        if outer.key is None or outer.nonce is None or outer.sealed is None:
            raise EnvelopeError("it is damaged; restore it from a copy, or delete it to start from the configured seed")
        if not self._ciphers:
            raise EnvelopeError(f"it is encrypted with key {outer.key!r:.20}; give the store its encryption_key")
        cipher = self._ciphers.get(outer.key)
        if cipher is None:
            raise EnvelopeError(
                f"it is encrypted with key {outer.key!r:.20}, which encryption_key does not hold; add that key, or "
                "delete it to start from the configured seed"
            )
        try:
            return cipher.decrypt(outer.nonce, outer.sealed, _bound_to(name))
        except (InvalidTag, ValueError):
            raise EnvelopeError(
                "it was changed, damaged, or belongs to another credential; restore it from a copy, or delete it to "
                "start from the configured seed"
            ) from None


class _Outer(msgspec.Struct, frozen=True):
    format: int
    revision: int | None = None
    record: msgspec.Raw = msgspec.Raw()
    key: str | None = None
    nonce: bytes | None = None
    sealed: bytes | None = None


def revision_outside(stored: bytes) -> int | None:
    """The revision that can be read without a key, None where there is none. Raises EnvelopeError."""
    return _parsed(stored).revision


def key_id(key: bytes) -> str:
    """Eight hex digits that tell keys apart and give nothing away."""
    return hashlib.sha256(b"auth-sidecar key id\0" + key).hexdigest()[:8]


def _key(line: str, number: int) -> bytes:
    try:
        key = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_OCTETS:
        raise ConfigurationError(
            f"encryption_key, line {number}: not {_KEY_OCTETS} bytes in base64 (make one with: openssl rand -base64 32)"
        )
    return key


def _parsed(stored: bytes) -> _Outer:
    try:
        outer: Any = msgspec.json.decode(stored, type=_Outer)
    except (ValueError, RecursionError):
        raise EnvelopeError(
            "it is no record of ours or damaged; restore it from a copy, or delete it to start from the configured seed"
        ) from None
    if outer.format != _FORMAT:
        raise EnvelopeError(f"its format {outer.format} is unknown to this version; use the version that wrote it")
    return outer  # type: ignore[no-any-return]


def _bound_to(name: str) -> bytes:
    return f"auth-sidecar record {_FORMAT}\0{name}".encode()
