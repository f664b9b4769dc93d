"""What a token endpoint's answer means: a token, or an error that says why there is none. Pure.

Lenient where servers are known to differ (types, spellings, encodings), strict where leniency would hurt: an
`error` in a 200, an empty or unprintable token, a token type that we cannot apply are failures. Nothing that
the server wrote is quoted anywhere; only registered error codes (error_codes.py) are named.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from msgspec import Struct

from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens import error_codes
from proxy.tokens.body import members, salvaged
from proxy.tokens.issuer_errors import GrantRefused, ReplyUnreadable
from proxy.tokens.lifetime import Asked, dated, life
from proxy.tokens.policy import requested_pause
from proxy.tokens.spelled_time import duration
from proxy.tokens.token_response import TokenResponse

_PASSING_STATUSES = {407, 408, 425, 429}
"""4xx of whoever stands in between, or for now: they say nothing of what was sent."""

NOT_A_TOKEN = re.compile(r"[^\x21-\x7e]")
"""What RFC 6750 §2.1 and a header field can carry, and a little more; never white space or controls."""

_WORD_BEFORE = re.compile(r"\A(?i:bearer) +(?=[^ ]+\Z)")
"""Some answer with the whole field value."""

_REPLACED = re.compile("[\ud800-\udfff\ufffd]")
OTHER = "other"
"""Stands for all token types that nobody has registered: what a server made up is not repeated."""

_MORE_THAN_A_WORD = {"dpop", "mac", "pop"}
"""Token types that want a proof or a signature with each request."""

_NO_MOMENT = 1e9
"""Seconds: as a moment this would be in 2001, as a lifetime 31 years."""

_UNREADABLE = "The token endpoint's answer cannot be read"
_NO_TOKEN = "The {giver}'s answer holds no token"  # noqa: S105 - a sentence

_NAMES = {
    "access_token": ("access_token", "accessToken", "token"),
    "refresh_token": ("refresh_token", "refreshToken"),
    "token_type": ("token_type", "tokenType"),
    "expires_in": ("expires_in", "expiresIn"),
    "expires_at": ("expires_at", "expires_on", "expiresAt", "expiresOn"),
}


class Expected(Struct, frozen=True):
    """What one request may be answered with.

    `kind`: the token type that we can apply. `exchange`: N_A is fine (RFC 8693 §2.2.1). `keeps_refresh_token`: whether
    one in the answer is kept: a client that can always ask anew has no use for it (RFC 6749 §4.4.3). `assumed`: the
    lifetime, in seconds, of a token whose issuer states none. `giver`: the name that errors give to whoever answered.
    """

    kind: Literal["Bearer", "DPoP"] = "Bearer"
    exchange: bool = False
    keeps_refresh_token: bool = True
    assumed: float = 300.0
    giver: str = "token endpoint"


def read(
    status: int,
    body: bytes,
    asked: Asked,
    expected: Expected,
    *,
    retry_later: str | None = None,
    content_type: str | None = None,
    whole: bool = True,
) -> TokenResponse:
    """The tokens of an answer. `retry_later`, `content_type`: its fields; `whole`: False where it broke off.

    Raises CredentialUnavailable, CredentialRefused or GrantRefused, with a new refresh token where the answer holds
    one; ReplyUnreadable where the issuer agreed, and nobody can tell to what: what was sent for this answer may be
    spent.
    """
    said = members(body, content_type, whole=whole)
    if said is None:
        return unreadable(status, salvaged(body, content_type, whole=whole), asked, expected, retry_later=retry_later)
    try:
        return told(status, said, asked, expected, retry_later=retry_later)
    except ReplyUnreadable as lost:
        if lost.rotated is None and expected.keeps_refresh_token:
            lost.rotated = salvaged(body, content_type, whole=whole)  # deeper than where it should be
        raise


def told(
    status: int, said: dict[str, Any], asked: Asked, expected: Expected, *, retry_later: str | None = None
) -> TokenResponse:
    """The tokens in the members of an answer. Raises as `read` does."""
    requested = requested_pause(retry_later, asked.wall)
    refusal = _refusal(status, said.get("error"), requested, exchange=expected.exchange)
    try:
        if refusal is not None:
            raise refusal
        if member(said, "access_token") is None and said.get("access_token") is None:
            raise ReplyUnreadable(_NO_TOKEN.format(giver=expected.giver))
        return token(said, asked, expected)
    except CredentialError as useless:
        useless.rotated = _refresh_token(said, expected) if _agrees(status) else None
        if isinstance(useless, CredentialUnavailable):
            useless.requested = requested or 0.0
        raise


def unreadable(
    status: int, refresh_token: str | None, asked: Asked, expected: Expected, *, retry_later: str | None = None
) -> TokenResponse:
    """Raise what an answer means that has no members; `refresh_token` is what was found in it all the same."""
    requested = requested_pause(retry_later, asked.wall)
    refusal = _refusal(status, None, requested, exchange=expected.exchange)
    if refusal is not None:
        raise refusal
    lost = ReplyUnreadable(_UNREADABLE, retry_after=requested or 0.0)
    lost.rotated = refresh_token if expected.keeps_refresh_token else None
    raise lost


def refusal(status: int, body: bytes, content_type: str | None = None) -> tuple[bool, str | None]:
    """Whether an answer refuses what was sent, and its error code, if that is a registered one."""
    error = (members(body, content_type) or {}).get("error")
    refuses = bool(error) if _agrees(status) else _refuses(status)
    return refuses, error_codes.registered(error)


def token(said: dict[str, Any], asked: Asked, expected: Expected) -> TokenResponse:
    """The tokens in an answer's members. Raises CredentialUnavailable or CredentialRefused."""
    access_token = member(said, "access_token")
    if not isinstance(access_token, str) or not access_token.strip():
        raise CredentialUnavailable(_NO_TOKEN.format(giver=expected.giver))
    access_token = _WORD_BEFORE.sub("", access_token)
    if NOT_A_TOKEN.search(access_token):
        raise CredentialUnavailable(f"The {expected.giver}'s token holds white space, control or non-ASCII characters")
    expires_in, expires_at = stated(said)
    lived = life(asked, access_token, expires_in=expires_in, expires_at=expires_at, assumed=expected.assumed)
    if lived.stated and lived.seconds <= 0:
        raise CredentialUnavailable(f"The {expected.giver}'s token has expired already")
    kind = token_type(member(said, "token_type"), expected)
    fresh = dated(Token(access_token=access_token, token_type=kind), asked, lived)
    return TokenResponse(fresh, _refresh_token(said, expected))


def _refresh_token(said: dict[str, Any], expected: Expected) -> str | None:
    """The new one. What stands for octets that did not fit is no part of any (RFC 6749 appendix A.17)."""
    refresh_token = member(said, "refresh_token")
    if not isinstance(refresh_token, str) or not expected.keeps_refresh_token:
        return None
    return None if _REPLACED.search(refresh_token) else refresh_token


def _agrees(status: int) -> bool:
    return 200 <= status < 300  # noqa: PLR2004 - successful (RFC 9110 §15.3)


def _refuses(status: int) -> bool:
    return 400 <= status < 500 and status not in _PASSING_STATUSES  # noqa: PLR2004 - RFC 9110 §15.5


def _breaks(status: int) -> bool:
    return 500 <= status < 600  # noqa: PLR2004 - RFC 9110 §15.6


def _refusal(status: int, error: Any, requested: float | None, *, exchange: bool) -> CredentialError | None:
    """Why there is no token; None where the issuer agreed.

    Permanent is what a registered code says, unless the issuer names a time to come again; all else may pass. But
    invalid_grant is said of the grant also by an issuer that names such a time, or calls it a failure of its own.
    """
    agreed = _agrees(status)
    if agreed and not error:
        return None
    code = error_codes.registered(error)
    answered = f"The token endpoint answered {status}" + (f" {code}" if code else "")
    final = requested is None and (agreed or _refuses(status))
    if final and (code == "invalid_grant" or (exchange and code == "invalid_request")):  # RFC 8693 §2.2.2
        refusal: CredentialError = GrantRefused(answered)
        refusal.code = code
        return refusal
    if final and code in error_codes.PERMANENT:
        refusal = CredentialRefused(answered)
    else:
        refusal = CredentialUnavailable(answered, retry_after=requested or 0.0)
    refusal.code = code
    refusal.refuses_grant = (final and error_codes.concerns_grant(code)) or (
        code == "invalid_grant" and (agreed or _refuses(status) or _breaks(status))
    )
    return refusal


def member(said: dict[str, Any], name: str) -> Any:
    """The first spelling that holds anything."""
    return next((said[spelling] for spelling in _NAMES[name] if said.get(spelling) not in (None, "")), None)


def usual(said: dict[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
    """What is found under the usual names: access token, refresh token, lifetime, time of expiry, token type."""
    access_token = member(said, "access_token")
    if access_token is None:
        access_token = said.get("access_token")  # an empty one is another error than none
    return access_token, member(said, "refresh_token"), *stated(said), member(said, "token_type")


def stated(said: dict[str, Any]) -> tuple[Any, Any]:
    """What an answer says of its token's life: how long, and until when. `expires` is used for either."""
    expires_in, expires_at = member(said, "expires_in"), member(said, "expires_at")
    if expires_in is None and expires_at is None:
        either = said.get("expires")
        seconds = duration(either)
        return (either, None) if seconds is not None and seconds < _NO_MOMENT else (None, either)
    return expires_in, expires_at


def token_type(said: Any, expected: Expected) -> str:
    """The type as it is kept: OTHER where it is none that we know. Absent means Bearer, in practice.

    A token whose type asks for more than a word before it is not used (RFC 6749 §7.1). Any other name is one that its
    server made up for what is a bearer token all the same.
    """
    kind = said.strip().lower() if isinstance(said, str) else ("bearer" if said is None else OTHER)
    if kind == expected.kind.lower() or (expected.exchange and kind == "n_a"):
        return expected.kind
    if expected.kind == "DPoP":
        raise CredentialRefused("The token endpoint's token is not bound to our key, although a proof was sent")
    if kind in _MORE_THAN_A_WORD:
        raise CredentialRefused("The token endpoint's token has a type that cannot be applied")
    return OTHER
