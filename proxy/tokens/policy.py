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

_FLOOR = 5.0
_FLOOR_SHARE = 0.1
_LEAST_REPEAT = 30.0
"""A source that keeps giving the same token (a metadata server's cache) must not be asked all the time."""

_FIRST_BACK_OFF = 1.0
_LONGEST_BACK_OFF = 60.0
_SHORTEST_PAUSE = 0.1
_LONGEST_REQUESTED = 300.0
_LONGEST_WANTED = 10.0
_FIRST_HOLD = 5.0
_FIRST_RISK = 60.0
_LONGEST_HOLD = 600.0
_FIRST_ROUTE_HOLD = 30.0
LONGEST_ROUTE_HOLD = 600.0
YOUNG = 10.0
"""Seconds for which an API may not have heard yet of a new token."""
SAVE_AGAIN = 5.0
"""Seconds between two attempts to save what the store did not take."""
LOST_FOR = 60.0
"""Seconds until the next attempt after a mistake of ours that nobody expected."""
_FIRST_PUSH = 1.0
_LONGEST_DOUBLING = 16
"""2^16 s is beyond every bound here; larger powers would only overflow."""


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


def back_off(failures: int, chance: float, requested: float = 0.0) -> float:
    """How long to wait after that many failures in a row: 1 s doubling to 60 s, full jitter.

    `requested`: what the issuer asked for in Retry-After, honoured up to five minutes.
    """
    ceiling = _doubled(_FIRST_BACK_OFF, failures, _LONGEST_BACK_OFF)
    return max(_SHORTEST_PAUSE, ceiling * (1 - chance), min(requested, _LONGEST_REQUESTED))


def _doubled(first: float, times: int, longest: float) -> float:
    """`first` seconds after the first of so many failures in a row, twice as many after each further one."""
    return min(longest, first * 2.0 ** min(times - 1, _LONGEST_DOUBLING))


def hold(refusals: int) -> float:
    """How long to leave an issuer alone after that many refusals in a row: 5 s doubling to 10 min.

    It goes on slowly for ever, because an operator can mend a refusal at the issuer.
    """
    return _doubled(_FIRST_HOLD, refusals, _LONGEST_HOLD)


def risk(failures: int) -> float:
    """How long to wait after that many failures in a row where each attempt may do harm: 60 s doubling to 10 min."""
    return _doubled(_FIRST_RISK, failures, _LONGEST_HOLD)


def wanted(pause: float) -> float:
    """How much of a passing pause is kept while requests are refused for want of the token."""
    return min(pause, _LONGEST_WANTED)


def route_hold(refusals: int) -> float:
    """How long a route asks for no renewal after that many renewed tokens were refused: 30 s doubling to 10 min."""
    return _doubled(_FIRST_ROUTE_HOLD, refusals, LONGEST_ROUTE_HOLD)


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
