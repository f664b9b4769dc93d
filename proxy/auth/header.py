"""A value in a header field: API keys, and what every scheme has in common that sends one constant field.

The hot path: the fields of the last token are kept ready-made, so that signing is one comparison.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from proxy.auth.challenge import ON_UNAUTHORIZED, refused
from proxy.errors import ConfigurationError, CredentialRefused
from proxy.model import Answer, Field, Moment, Request, Token, Verdict

_FIELD_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
"""RFC 9110 §5.5, and nothing that could end the field early."""


def field_name(name: str) -> bytes:
    """A configured field name as it goes on the wire. Raises ConfigurationError for what no field can be called."""
    if not _FIELD_NAME.fullmatch(name):
        raise ConfigurationError(f"{name!r} is not a header field name")
    return name.encode("ascii")


def checked(field: Field) -> Field:
    """The field itself. Raises CredentialRefused where its value would break the head; the message does not hold it."""
    name, value = field
    if _FORBIDDEN.search(value):
        raise CredentialRefused(f"The value for {name.decode('latin-1')} contains control characters")
    return field


class HeaderScheme:
    """`name: prefix token`. `prefix` includes its space, as in `"Bearer "`."""

    parameter: bytes | None = None
    wants_body: Literal["none", "form", "all"] = "none"
    learns: bool = False
    constant: bool = True

    def __init__(self, name: str, prefix: str = "") -> None:
        self._name = field_name(name)
        self._prefix = prefix.encode()
        checked((self._name, self._prefix))
        self._challenge = next(iter(prefix.lower().split()), None)
        self.writes: tuple[bytes, ...] = (self._name.lower(),)
        self._token: Token | None = None
        self._fields: list[Field] = []

    def place(self, target: bytes, token: Token) -> bytes:  # noqa: ARG002 - the interface
        """Nothing in the query."""
        return target

    def sign(self, request: Request, token: Token, moment: Moment) -> list[Field]:  # noqa: ARG002 - the interface
        """The same fields for the same token object. Raises CredentialRefused for control characters in it."""
        if token is not self._token:
            self._fields = [checked(field) for field in self._ready(token)]
            self._token = token
        return self._fields

    def _ready(self, token: Token) -> Sequence[Field]:
        return ((self._name, self._prefix + token.access_token.encode()),)

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:  # noqa: ARG002 - the interface
        """RENEW where the credential was refused: its source knows whether there is a newer one."""
        return Verdict.RENEW if refused(answer, ON_UNAUTHORIZED, self._challenge) else Verdict.PASS
