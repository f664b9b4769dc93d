"""What a pushed document means: a token, or an error. Pure: the time is an argument.

Two shapes are understood: a token response (RFC 6749 §5.1), and the one that chatbot platforms push,
`{"token": {…}, "timestamp": …, "endpointSecret": "…"}` with the token response within. Nothing that was sent is quoted.
"""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

from proxy.admin.admin_errors import Malformed, Stale, Unusable
from proxy.errors import CredentialError
from proxy.model import Token
from proxy.tokens.lifetime import Asked, dated, dated_ahead, life
from proxy.tokens.reply import NOT_A_TOKEN, Expected, member, token_type
from proxy.tokens.spelled_time import instant, number
from proxy.tokens.token_response import TokenResponse

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ACCESS_TOKEN = ("access_token", "accessToken")
"""Not `token`, which some issuers use: in a push it holds a whole token response."""

Document = dict[str, Any]


class Push(Struct, frozen=True, kw_only=True):
    """One token as pushed. `timestamp`: when it was issued, in epoch seconds, if the push says so."""

    access_token: str
    token_type: str
    refresh_token: str | None
    timestamp: float | None
    expires_in: Any
    expires_at: Any

    def __repr__(self) -> str:
        """A push cannot be printed."""
        return f"Push(timestamp={self.timestamp})"


def document(body: bytes) -> Document | None:
    """The JSON object in a body; None where there is none."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return said if isinstance(said, dict) else None


def inner_secret(said: Document | None) -> str:
    """The guard's secret as a document gives it; the empty string if it does not."""
    secret = said.get("endpointSecret") if said else None
    return secret if isinstance(secret, str) else ""


def read(said: Document | None, kind: Literal["Bearer", "DPoP"] = "Bearer") -> Push:
    """The push in a document. `kind`: the token type that can be applied. Raises Malformed."""
    if said is None:
        raise Malformed("The body is not a JSON object.")
    inner = said.get("token")
    response = inner if isinstance(inner, dict) else said
    if response.get("error"):
        raise Malformed("The body tells of an error and holds no token.")
    return Push(
        access_token=_access_token(response),
        token_type=_type(response, kind),
        refresh_token=_refresh_token(response),
        timestamp=_moment(said, "timestamp"),
        expires_in=_lifetime(response),
        expires_at=member(response, "expires_at"),
    )


def refuse_stale(push: Push, *, wall: float, max_age: float | None, held: Token | None) -> None:
    """Refuse a push whose `timestamp` is too old, in the future, or older than the held token. Raises Stale."""
    if push.timestamp is None:
        return
    if dated_ahead(push.timestamp, wall):
        raise Stale("The timestamp lies in the future.")
    if max_age is not None and push.timestamp < wall - max_age:
        raise Stale("The timestamp is older than this credential accepts.")
    if held is not None:
        refuse_older(push, held, wall=wall)


def refuse_older(push: Push, held: Token, *, wall: float) -> None:
    """Compare the named time with what is held. Raises Stale.

    A time in whole seconds was cut off there: it is older only than what was issued in a later second. What is held
    and dated ahead of the clock was dated by a wrong one: it says nothing of what is older.
    """
    if push.timestamp is None or dated_ahead(held.issued_wall, wall):
        return
    issued = math.floor(held.issued_wall) if push.timestamp.is_integer() else held.issued_wall
    if push.timestamp < issued:
        raise Stale("A newer token is held.")


def token(push: Push, *, wall: float, elapsed: float, assumed: float) -> TokenResponse:
    """What to hold. The token ends `expires_in` after the named time, or after now where that comes first.

    `wall`, `elapsed`: now, on both clocks. `assumed`: the lifetime in seconds where none is stated. Raises Unusable.
    """
    issued = wall if push.timestamp is None else min(push.timestamp, wall)
    asked = Asked(issued, elapsed - (wall - issued))
    lived = life(asked, push.access_token, expires_in=push.expires_in, expires_at=push.expires_at, assumed=assumed)
    if lived.stated and asked.wall + lived.seconds <= wall:
        raise Unusable("The token has expired already.")
    bare = Token(access_token=push.access_token, token_type=push.token_type)
    fresh = structs.replace(dated(bare, asked, lived), issued_wall=wall if push.timestamp is None else push.timestamp)
    return TokenResponse(fresh, push.refresh_token)


def _access_token(response: Document) -> str:
    access_token = next((response[name] for name in _ACCESS_TOKEN if response.get(name) is not None), None)
    if not isinstance(access_token, str):
        raise Malformed("The body holds no token.")
    if not access_token or NOT_A_TOKEN.search(access_token):
        raise Malformed("The token is empty or holds white space, control or non-ASCII characters.")
    return access_token


def _refresh_token(response: Document) -> str | None:
    refresh_token = member(response, "refresh_token")
    if refresh_token is None:
        return None
    if not isinstance(refresh_token, str) or _CONTROL.search(refresh_token):
        raise Malformed("The refresh token is no text or holds control characters.")
    return refresh_token


def _type(response: Document, kind: Literal["Bearer", "DPoP"]) -> str:
    try:
        return token_type(member(response, "token_type"), Expected(kind=kind))
    except CredentialError as error:
        raise Malformed("The token's type cannot be applied by this credential.") from error


def _lifetime(response: Document) -> Any:
    said = member(response, "expires_in")
    seconds = number(said)
    if said is not None and seconds is None:
        raise Malformed("The lifetime is not a number.")
    if seconds is not None and seconds < 0:
        raise Malformed("The lifetime is negative.")
    return seconds


def _moment(said: Document, name: str) -> float | None:
    value = said.get(name)
    moment = instant(value)
    if value is not None and (moment is None or moment <= 0):
        raise Malformed("The timestamp is not a time.")
    return moment
