"""How long a token lives, from whatever its issuer said about that. Pure.

In order: `expires_in`, a point in time, the `exp` of a JWT; else nobody stated a lifetime, and the last known or the
configured one says when to renew, but never when to stop. Counted from when the token was asked for: the
issuer cannot have meant an earlier moment.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec
from msgspec import Struct, structs

from proxy.model import Token
from proxy.tokens.spelled_time import duration, instant

LONGEST = 2.0**31
"""68 years: what claims to live longer lives this long."""

AHEAD = 60.0
"""Seconds by which another clock may be ahead of ours; what is dated later was dated by a wrong one."""

_ROUNDING = 1.0
"""Seconds that the two clocks may be apart about one moment."""


class Asked(Struct, frozen=True):
    """When a token was asked for, on both clocks."""

    wall: float
    elapsed: float


class Life(Struct, frozen=True):
    """`stated`: whether the issuer said so. `seconds` from the moment of asking; may be zero or less."""

    seconds: float
    stated: bool


def dated(token: Token, asked: Asked, life: Life) -> Token:
    """The token with its two ends, both counted from when it was asked for; none where nobody stated a lifetime."""
    return structs.replace(
        token,
        expires_wall=asked.wall + life.seconds if life.stated else None,
        expires_elapsed=asked.elapsed + life.seconds if life.stated else None,
        lifetime=max(0.0, life.seconds),
        issued_wall=asked.wall,
        issued_elapsed=asked.elapsed,
    )


def dated_ahead(issued: float, wall: float) -> bool:
    """Whether a token's time of issue lies in the future: the clock was wrong then, or it is now."""
    return issued > wall + AHEAD


def end(token: Token, wall: float, elapsed: float) -> float | None:
    """When a token ends, on the wall clock as it is now, whichever of the two clocks says so first."""
    if token.expires_wall is None or token.expires_elapsed is None:
        return token.expires_wall
    other = wall + token.expires_elapsed - elapsed
    return token.expires_wall if other > token.expires_wall - _ROUNDING else other


def ended(token: Token, wall: float, elapsed: float) -> bool:
    """Whether a token has ended, by either clock."""
    return (token.expires_wall is not None and wall >= token.expires_wall) or (
        token.expires_elapsed is not None and elapsed >= token.expires_elapsed
    )


class LastStated:
    """Remembers the last lifetime that the issuer of one token stated."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: float | None = None

    def after(self, previous: Token | None, otherwise: float) -> float:
        """What to assume of the token after `previous`, in seconds; `otherwise`, if none was ever stated."""
        if previous is not None and previous.expires_wall is not None:
            self._seconds = previous.lifetime
        return otherwise if self._seconds is None else self._seconds


def life(asked: Asked, access_token: str, *, expires_in: Any = None, expires_at: Any = None, assumed: float) -> Life:
    """Read a lifetime from what an answer says, in any type that was seen there; `assumed` where it says nothing."""
    seconds = duration(expires_in)
    if seconds is None:
        stated = (expires_in, expires_at, jwt_claims(access_token).get("exp"))  # a date may stand in either
        moment = next((moment for value in stated if (moment := instant(value)) is not None), None)
        if moment is None:
            return Life(assumed, stated=False)
        seconds = moment - asked.wall
    return Life(min(seconds, LONGEST), stated=True)


def jwt_claims(token: str) -> dict[str, Any]:
    """Read the claims of a JWT without verifying anything: it is ours to send, not to judge. {} for anything else."""
    parts = token.split(".")
    if len(parts) != 3:  # noqa: PLR2004 - header, claims, signature (RFC 7515 §3.1)
        return {}
    try:
        claims = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}
