"""When to renew, how long to use, how long to wait. Pure: numbers in, numbers out; `chance` is from [0, 1).

    issued                            due        floor  expiry
      |----------- fresh --------------|-- stale --|------|
                                       renewed     not handed out

Renewal is due well before the expiry, spread by chance so that many sidecars do not ask at once; the spread only ever
moves it earlier. Seconds throughout.
"""

from __future__ import annotations

import datetime as dt
import email.utils

from proxy.config.schema import Refresh
from proxy.tokens.backoff import Exponential

_FLOOR = 5.0
_FLOOR_SHARE = 0.1
_LEAST_REPEAT = 30.0
"""A source that keeps giving the same token (a metadata server's cache) must not be asked all the time."""

FAILURE = Exponential(1.0, 60.0, honours=300.0)
"""For an issuer or a directory that fails, and for mistakes of ours."""
REFUSAL = Exponential(5.0, 600.0)
"""For an issuer that refuses. It is asked again for ever, slowly: an operator can mend a refusal there."""
RISK = Exponential(60.0, 600.0)
"""Where each attempt may do harm."""
ROUTE_REFUSAL = Exponential(30.0, 600.0)
"""For the renewals of a route whose renewed tokens are refused."""
LONGEST_WANTED = 10.0
"""How much of a passing pause is kept while requests are refused for want of the token."""
YOUNG = 10.0
"""Seconds for which an API may not have heard yet of a new token."""
SAVE_AGAIN = 5.0
"""Seconds between two attempts to save what the store did not take."""
LOST_FOR = 60.0
"""Seconds until the next attempt after a mistake of ours that nobody expected."""
_FIRST_PUSH = 1.0


def due_after(lifetime: float, refresh: Refresh, chance: float) -> float:
    """How long after it was issued a token's renewal is due; never more than its lifetime."""
    by_share = refresh.at * lifetime
    by_rest = lifetime - min(refresh.before, lifetime / 2)
    return max(0.0, min(by_share, by_rest)) * (1 - refresh.jitter * chance)


def usable_for(lifetime: float) -> float:
    """How long after it was issued a token may be handed out: not in its last moments, it has to travel yet."""
    return max(0.0, lifetime - min(_FLOOR, _FLOOR_SHARE * lifetime))


def repeat_after(left: float) -> float:
    """How long to wait after a renewal that brought no more life; `left`: what the token has left."""
    return max(_LEAST_REPEAT, left / 2)


def push_awaited(total: float, *, before: bool) -> float:
    """How long a request waits for a push: `total` where there was a token `before`; else there is little hope."""
    return total if before else min(total, _FIRST_PUSH)


def retry_after(value: str | None, wall: float) -> float:
    """Seconds from a Retry-After field; 0 for none and for nonsense."""
    return requested_pause(value, wall) or 0.0


def requested_pause(value: str | None, wall: float) -> float | None:
    """Seconds from a Retry-After field (RFC 9110 §10.2.3): a number or an HTTP date; None for none and for nonsense."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        date = email.utils.parsedate_to_datetime(text)
        if date.tzinfo is None:
            date = date.replace(tzinfo=dt.UTC)
        return max(0.0, date.timestamp() - wall)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
