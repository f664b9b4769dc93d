"""What a token endpoint's answer means: a token, or whose fault it is that there is none. Pure.

Lenient where servers are known to differ (types, spellings, encodings), strict where leniency would hurt: an
`error` in a 200, an empty or unprintable token, a token type that we cannot apply are failures. Nothing that
the server wrote is quoted anywhere; only registered error codes are named.
"""

from __future__ import annotations

import re
from typing import Any, Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec import Struct

from proxy.errors import CredentialFault, CredentialRefused, CredentialUnavailable, GrantRefused, ReplyLost
from proxy.model import Token
from proxy.tokens.lifetime import Asked, life
from proxy.tokens.policy import retry_after

MAX_REPLY = 1024 * 1024

_REFUSALS = {
    *("invalid_request", "invalid_client", "invalid_grant", "unauthorized_client"),  # RFC 6749 §5.2
    *("unsupported_grant_type", "invalid_scope", "access_denied"),
    *("authorization_pending", "slow_down", "expired_token"),  # RFC 8628 §3.5
    *("interaction_required", "login_required", "consent_required", "account_selection_required"),  # OpenID Connect
    "unsupported_token_type",  # RFC 7009 §2.2.1
    "invalid_target",  # RFC 8707 §2
    *("invalid_dpop_proof", "use_dpop_nonce"),  # RFC 9449 §5 and §8
}
"""Registered error codes: only these, and the transient ones, are ever named."""

_ALIASES = {"bad_refresh_token": "invalid_grant", "incorrect_client_credentials": "invalid_client"}
"""GitHub's own words."""

_TRANSIENT = {"temporarily_unavailable", "server_error"}
_TRANSIENT_STATUSES = {408, 425, 429}
_REFUSING_STATUSES = {400, 401, 403}

NOT_A_TOKEN = re.compile(r"[^\x21-\x7e]")
"""What RFC 6750 §2.1 and a header field can carry, and a little more; never white space or controls."""

_UNREADABLE = "The token endpoint's answer cannot be read"

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
    lifetime, in seconds, of a token whose issuer states none.
    """

    kind: Literal["Bearer", "DPoP"] = "Bearer"
    exchange: bool = False
    keeps_refresh_token: bool = True
    assumed: float = 300.0


def read(status: int, body: bytes, asked: Asked, expected: Expected, *, retry_later: str | None = None) -> Token:
    """The token of an answer. `retry_later`: its Retry-After field.

    Raises CredentialUnavailable, CredentialRefused or GrantRefused, with a new refresh token where the answer holds
    one; ReplyLost where nobody can tell: what was sent for this answer may be spent.
    """
    said = members(body)
    fault = _fault(status, said, retry_after(retry_later, asked.wall), exchange=expected.exchange)
    if fault is not None:
        raise fault
    if said is None:
        raise ReplyLost(_UNREADABLE)
    try:
        return token(said, asked, expected)
    except CredentialFault as useless:
        useless.rotated = _refresh_token(said, expected)
        raise


def error_code(body: bytes) -> str | None:
    """The error code of an answer, if it is a registered one."""
    return _code((members(body) or {}).get("error"))


def members(body: bytes) -> dict[str, Any] | None:
    """The members of a JSON object (RFC 6749 §5.1) or of a form (what some servers send); None for neither."""
    if len(body) > MAX_REPLY:
        return None
    text = body.removeprefix(b"\xef\xbb\xbf").strip()
    try:
        if text.startswith(b"{"):
            said = msgspec.json.decode(text)
            return said if isinstance(said, dict) else None
        if not text or text.startswith((b"<", b"[", b'"')):
            return None
        return dict(parse_qsl(text.decode("ascii"), strict_parsing=True, max_num_fields=100))
    except (ValueError, RecursionError):
        return None


def token(said: dict[str, Any], asked: Asked, expected: Expected) -> Token:
    """The token in an answer's members. Raises CredentialUnavailable or CredentialRefused."""
    access_token = member(said, "access_token")
    if not isinstance(access_token, str) or not access_token.strip():
        raise CredentialUnavailable("The token endpoint's answer holds no token")
    if NOT_A_TOKEN.search(access_token):
        raise CredentialUnavailable("The token endpoint's token holds white space, control or non-ASCII characters")
    lived = life(
        asked,
        access_token,
        expires_in=member(said, "expires_in"),
        expires_at=member(said, "expires_at"),
        assumed=expected.assumed,
    )
    if lived.stated and lived.seconds <= 0:
        raise CredentialUnavailable("The token endpoint's token has expired already")
    return Token(
        access_token=access_token,
        token_type=token_type(member(said, "token_type"), expected),
        expires_wall=asked.wall + lived.seconds if lived.stated else None,
        expires_elapsed=asked.elapsed + lived.seconds if lived.stated else None,
        lifetime=lived.seconds,
        issued_wall=asked.wall,
        issued_elapsed=asked.elapsed,
        refresh_token=_refresh_token(said, expected),
    )


def _refresh_token(said: dict[str, Any], expected: Expected) -> str | None:
    refresh_token = member(said, "refresh_token")
    return refresh_token if isinstance(refresh_token, str) and expected.keeps_refresh_token else None


def _fault(status: int, said: dict[str, Any] | None, requested: float, *, exchange: bool) -> CredentialFault | None:
    error = (said or {}).get("error")
    if 200 <= status < 300 and not error:  # noqa: PLR2004 - successful (RFC 9110 §15.3)
        return None
    code = _code(error)
    answered = f"The token endpoint answered {status}" + (f" {code}" if code else "")
    grant_refused = code == "invalid_grant" or (exchange and code == "invalid_request")  # RFC 8693 §2.2.2
    if grant_refused and status < 500:  # noqa: PLR2004
        return GrantRefused(answered)
    transient = status >= 500 or status in _TRANSIENT_STATUSES or code in _TRANSIENT  # noqa: PLR2004
    if transient or not (error or status in _REFUSING_STATUSES):
        return CredentialUnavailable(answered, retry_after=requested)
    return CredentialRefused(answered)


def _code(error: Any) -> str | None:
    if not isinstance(error, str):
        return None
    code = _ALIASES.get(error, error)
    return code if code in _REFUSALS or code in _TRANSIENT else None


def member(said: dict[str, Any], name: str) -> Any:
    """The first spelling that holds anything."""
    return next((said[spelling] for spelling in _NAMES[name] if said.get(spelling) not in (None, "")), None)


def token_type(said: Any, expected: Expected) -> str:
    """RFC 6749 §7.1: a token whose type is not understood must not be used. Absent means Bearer, in practice."""
    kind = said.strip().lower() if isinstance(said, str) else ("bearer" if said is None else "")
    if kind == expected.kind.lower() or (expected.exchange and kind == "n_a"):
        return expected.kind
    if expected.kind == "DPoP":
        raise CredentialRefused("The token endpoint's token is not bound to our key, although a proof was sent")
    raise CredentialRefused("The token endpoint's token has a type that cannot be applied")
