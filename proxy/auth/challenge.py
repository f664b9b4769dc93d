"""Reads what a refused answer says about the credential.

`WWW-Authenticate` holds several challenges in one line, or several lines, or both; commas separate challenges and also
the parameters within one (RFC 9110 §11.6.1). Reading never raises and
never takes long, whatever a server sends.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from proxy.config.schema import RefreshRule
from proxy.model import Answer

_LONGEST = 8192
"""Octets of all `WWW-Authenticate` lines together that are read; a challenge beyond is ignored."""

_LONGEST_BODY = 64 * 1024
_GZIP_OR_ZLIB = 47
"""zlib's `wbits` for either format, detected from the data, with the largest window."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 - RFC 9110 §5.6.2, no secret
_SEPARATORS = re.compile(r"[ \t,]*")
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)(?:"|\\?\Z)|({_TOKEN}))', re.DOTALL)
_SCHEME = re.compile(rf"({_TOKEN})(?:[ \t]+([A-Za-z0-9\-._~+/]+=*)(?=[ \t]*(?:,|\Z)))?")
_GARBAGE = re.compile(r"[^,]+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

_INVALID_TOKEN = "invalid_token"  # noqa: S105 - an error's name
_NOT_THE_TOKEN = frozenset(
    {
        "invalid_request",  # RFC 6750 §3.1
        "insufficient_scope",
        "invalid_dpop_proof",  # RFC 9449 §12.2
        "use_dpop_nonce",
        "insufficient_user_authentication",  # RFC 9470 §3
    }
)
"""Registered errors that a new token does not mend. Any other value is unknown, so the token is renewed."""

ON_UNAUTHORIZED = (RefreshRule(status=401),)
"""`refresh_on` of a route that does not give it."""


class Challenge(Struct, frozen=True):
    """One challenge. `scheme` and the names of `parameters` are in lower case; a repeated parameter counts once."""

    scheme: str
    token68: str | None
    parameters: dict[str, str]


def challenges(answer: Answer) -> list[Challenge]:
    """Every challenge of every `WWW-Authenticate` line, in order; what does not parse is skipped."""
    found: list[Challenge] = []
    room = _LONGEST
    for name, value in answer.fields:
        if name.lower() == b"www-authenticate":
            found.extend(_read(value[:room].decode("latin-1")))
            room = max(0, room - len(value))
    return found


def _read(line: str) -> Iterator[Challenge]:
    """RFC 9110 §11.2: `token =` opens a parameter of the challenge before it, any other token a new challenge."""
    current: Challenge | None = None
    at = _SEPARATORS.match(line).end()  # type: ignore[union-attr]  # matches the empty string too
    while at < len(line):
        if match := _PARAMETER.match(line, at):
            name, quoted, plain = match.groups()
            if current is not None:
                current.parameters.setdefault(name.lower(), plain or _ESCAPED.sub(r"\1", quoted or ""))
        elif match := _SCHEME.match(line, at):
            current = Challenge(match[1].lower(), match[2], {})
            yield current
        else:
            match = _GARBAGE.match(line, at)
        at = _SEPARATORS.match(line, match.end()).end()  # type: ignore[union-attr]  # each of the three takes something


def errors(answer: Answer, scheme: str | None = None) -> list[str]:
    """The `error` of each challenge of that authentication scheme, or of all challenges if none is of that scheme."""
    every = challenges(answer)
    own = [challenge for challenge in every if challenge.scheme == scheme] or every
    return [error for challenge in own if (error := challenge.parameters.get("error"))]


def refused(answer: Answer, rules: Sequence[RefreshRule] = ON_UNAUTHORIZED, scheme: str | None = None) -> bool:
    """Whether the answer means that the token was refused, so that a new one may help.

    `rules` are a route's `refresh_on`. A rule with `body_contains` is the operator's own knowledge of this API and
    decides alone; a rule with a status only gives way to a registered error other than `invalid_token` in challenges of
    `scheme` (`bearer`, `dpop`; None: of any): such an error says nothing against the token.
    """
    bare = False
    for rule in rules:
        if rule.status == answer.status:
            if rule.body_contains is None:
                bare = True
            elif rule.body_contains.encode() in _plain(answer.body):
                return True
    return bare and _blames_the_token(errors(answer, scheme))


def _plain(body: bytes) -> bytes:
    """The body, decompressed if it is gzip or zlib: servers send these even if they were not asked for."""
    if not body.startswith((b"\x1f\x8b", b"\x78")):
        return body
    try:
        return zlib.decompressobj(_GZIP_OR_ZLIB).decompress(body, _LONGEST_BODY)
    except zlib.error:
        return body


def _blames_the_token(named: Iterable[str]) -> bool:
    """True also where no error is named at all (RFC 6750 §3.1 leaves it out when nothing was sent)."""
    named = list(named)
    return not named or any(error == _INVALID_TOKEN or error not in _NOT_THE_TOKEN for error in named)
