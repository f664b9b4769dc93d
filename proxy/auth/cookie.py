"""A value in a cookie (RFC 6265 §4.2): what session APIs want. The caller's own cookies stay beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import unquote_to_bytes

from msgspec import structs

from proxy.auth.challenge import refused
from proxy.auth.header import may_be_valued
from proxy.errors import ConfigurationError, CredentialRefused
from proxy.http1.fields import lines_named
from proxy.model import Answer, Field, Moment, Request, Token, Verdict, WantsBody

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BREAKS = re.compile(rb"[;\s]")
"""What would end the value, or be cut off it, for every server."""
_BLANKS = b" \t"
_COOKIE = lines_named([b"cookie"], aliases=False)


class CookieScheme:
    """`Cookie: name=token`. Raises ConfigurationError for what is no name of a cookie."""

    writes: tuple[bytes, ...] = ()
    places: bool = True
    parameters: tuple[bytes, ...] = ()
    wants_body: WantsBody = "none"
    learns: bool = False
    constant: bool = True

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        if _NAME.fullmatch(self._name) is None:
            raise ConfigurationError(f"{name!r} is not the name of a cookie")

    def place(self, request: Request, token: Token, moment: Moment) -> Request:  # noqa: ARG002 - the interface
        """The request with the cookie behind the caller's own. Raises CredentialRefused for what no cookie can hold."""
        value = token.access_token.encode()
        if not may_be_valued(value) or _BREAKS.search(value):
            raise CredentialRefused("The value for a cookie contains blanks, semicolons or control characters")
        return structs.replace(request, section=with_cookie(request.section, self._name, value))

    def sign(self, request: Request, token: Token, moment: Moment) -> list[Field]:  # noqa: ARG002 - the interface
        """No line of its own."""
        return []

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:  # noqa: ARG002 - the interface
        """RENEW where the credential was refused."""
        return Verdict.RENEW if refused(answer) else Verdict.PASS


def with_cookie(section: bytes, name: bytes, value: bytes) -> bytes:
    """A header section with one more cookie behind the caller's, of which those of this name are gone.

    All stand in the first `Cookie` line: of several, some servers read one alone. A section without one gets it at its
    end. Names are compared as they stand, and decoded once, because some servers decode them.
    """
    added = name + b"=" + value
    lines = _COOKIE.findall(section)
    if not lines:
        return section + b"Cookie: " + added + b"\r\n"
    first, spelled, said = lines[0]
    pairs = [pair.strip(_BLANKS) for line in lines for pair in line[2].split(b";")]
    kept = [pair for pair in pairs if pair and not _is_called(pair.partition(b"=")[0].rstrip(_BLANKS), name)]
    others = said.rstrip(_BLANKS) if kept == pairs and len(lines) == 1 else b"; ".join(kept)
    before, _, behind = section.partition(first)
    return b"%b\r\n%b: %b%b" % (before, spelled, others + b"; " + added if others else added, _COOKIE.sub(b"", behind))


def _is_called(spelled: bytes, name: bytes) -> bool:
    return name in (spelled, unquote_to_bytes(spelled))
