"""A value in a header field: for API keys, and the base of all schemes that send one constant field.

The hot path: the fields of the last token are kept ready-made, so that signing is one comparison.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from proxy.auth.challenge import ON_UNAUTHORIZED, refused
from proxy.errors import ConfigurationError, CredentialRefused
from proxy.http1.fields import HOP_BY_HOP
from proxy.model import Answer, Field, Moment, Request, Token, Verdict, WantsBody

_FIELD_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""RFC 9110 §5.5, and nothing that could end the field early."""
_STEERING = HOP_BY_HOP | {b"content-length", b"expect", b"host", b"trailer"}
"""Fields that frame the message or control the connection. A credential cannot be sent in them."""


def field_name(name: str) -> bytes:
    """A configured field name, ready for the wire. Raises ConfigurationError where it cannot hold a credential."""
    octets = name.encode()
    if not may_be_named(octets):
        raise ConfigurationError(f"{name!r} is not the name of a header field for credentials")
    return octets


def field_prefix(prefix: str) -> bytes:
    """A configured prefix, its space included, as it goes on the wire. Raises ConfigurationError for controls in it."""
    octets = prefix.encode()
    if not may_be_valued(octets):
        raise ConfigurationError("a prefix cannot contain control characters")
    return octets


def checked(field: Field) -> Field:
    """The field itself. Raises CredentialRefused, without its value, if it would break the head."""
    name, value = field
    if not may_be_named(name):
        raise CredentialRefused("The credential has a field that cannot hold one")
    if not may_be_valued(value):
        raise CredentialRefused(f"The value for {name.decode('ascii')} contains control characters")
    return field


def may_be_named(name: bytes) -> bool:
    """Whether a field of this name can hold a credential."""
    return _FIELD_NAME.fullmatch(name) is not None and name.lower() not in _STEERING


def may_be_valued(value: bytes) -> bool:
    """Whether a field can have this value."""
    return _FORBIDDEN.search(value) is None


@lru_cache
def _written(name: str) -> tuple[bytes, tuple[bytes, ...]]:
    """The field as it is sent, and the names that it replaces; cached, to share the octets."""
    octets = field_name(name)
    return octets, (octets.lower(),)


@lru_cache
def _preceded(prefix: str) -> tuple[bytes, str | None]:
    """The prefix as it is sent, and the authentication scheme that it belongs to."""
    return field_prefix(prefix), next(iter(prefix.lower().split()), None)


_NO_FIELDS: list[Field] = []


class HeaderScheme:
    """`name: prefix token`. `prefix` includes its space, as in `"Bearer "`."""

    __slots__ = ("_challenge", "_fields", "_name", "_prefix", "_token", "writes")

    places: bool = False
    parameters: tuple[bytes, ...] = ()
    wants_body: WantsBody = "none"
    learns: bool = False
    constant: bool = True

    def __init__(self, name: str, prefix: str = "") -> None:
        self._name, self.writes = _written(name)
        self._prefix, self._challenge = _preceded(prefix)
        self._token: Token | None = None
        self._fields = _NO_FIELDS

    def place(self, request: Request, token: Token, moment: Moment) -> Request:  # noqa: ARG002 - the interface
        """The request itself: all stands in the head."""
        return request

    def sign(self, request: Request, token: Token, moment: Moment) -> list[Field]:  # noqa: ARG002 - the interface
        """The same fields for the same token object. Raises CredentialRefused for control characters in it."""
        if token is not self._token:
            self._fields = [checked(field) for field in self._ready(token)]
            self._token = token
        return self._fields

    def _ready(self, token: Token) -> Sequence[Field]:
        return ((self._name, self._prefix + token.access_token.encode()),)

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:  # noqa: ARG002 - the interface
        """RENEW if the credential was refused: its source knows whether there is a newer one."""
        return Verdict.RENEW if refused(answer, ON_UNAUTHORIZED, self._challenge) else Verdict.PASS
