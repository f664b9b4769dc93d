"""Times as servers spell them: how long, and until when. Pure.

A lifetime is a number of seconds ("3600", 3600.0), a number with a unit ("8s", "1h", "3600 seconds") or ISO 8601's
"PT1H". A moment is a number of seconds or milliseconds since 1970, or a date: RFC 3339, the same with a blank or
without its offset (UTC is meant then), an HTTP date (RFC 9110 §5.6.7), .NET's "/Date(1795269306000)/", or month, day
and year with slashes, as Azure's App Service writes them.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import math
import re
from typing import Any

_MILLISECONDS_FROM = 1e11
"""As seconds this would be the year 5138; as milliseconds, 1973."""

_UNITS = {
    **dict.fromkeys(("ms", "msec", "millis", "milliseconds", "millisecond"), 0.001),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), 3600.0),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
_WITH_UNIT = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?([A-Za-z]{1,12})")
_ISO = re.compile(r"P(?:(\d{1,9})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?", re.ASCII)
_ISO_UNITS = (86400.0, 3600.0, 60.0, 1.0)

_DOTNET = re.compile(r"/Date\((-?[0-9]{1,15})(?:[+-][0-9]{4})?\)/")
_SLASHES = re.compile(
    r"([0-9]{1,2})/([0-9]{1,2})/([0-9]{4}) ([0-9]{1,2}):([0-9]{2}):([0-9]{2})"
    r"(?: ([AP])M)?(?: ?([+-][0-9]{2}:?[0-9]{2}|Z|UTC|GMT))?"
)
_NAMED_MONTH = re.compile(
    r"(?:[A-Za-z]{3,9}, ?)?[0-9]{1,2}[ -][A-Za-z]{3}[ -][0-9]{2,4} [0-9:]{5,8}(?: ?[A-Za-z0-9+-]{1,5})?"
)
_ZONE_WORD = re.compile(r" ?(?:UTC|GMT)\Z")
_NOON = 12


def number(value: Any) -> float | None:
    """Read 3600, 3600.0, "3600" or "3600.0"; None for anything else (null, "", true, "soon")."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None


def duration(value: Any, *, unit: float = 1.0) -> float | None:
    """Read a lifetime, in seconds; None for what is none. `unit`: seconds that a bare number counts."""
    bare = number(value)
    if bare is not None:
        return bare * unit
    if not isinstance(value, str):
        return None
    text = value.strip()
    if (found := _WITH_UNIT.fullmatch(text)) and found[2].lower() in _UNITS:
        return float(found[1]) * _UNITS[found[2].lower()]
    if (found := _ISO.fullmatch(text)) and any(found.groups()):
        return sum(float(part or 0) * seconds for part, seconds in zip(found.groups(), _ISO_UNITS, strict=True))
    return None


def instant(value: Any) -> float | None:
    """Read a moment, in seconds since 1970; None for what is none."""
    moment = number(value)
    if moment is not None:
        return moment / 1000 if moment >= _MILLISECONDS_FROM else moment
    if not isinstance(value, str):
        return None
    text = value.strip()
    if found := _DOTNET.fullmatch(text):
        return int(found[1]) / 1000
    try:
        date = _date(text)
        return (date if date.tzinfo is not None else date.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _date(text: str) -> dt.datetime:
    """Raises ValueError, TypeError or OverflowError."""
    if found := _SLASHES.fullmatch(text):
        month, day, year, hour, minute, second = map(int, found.groups()[:6])
        if found[7] is not None:
            hour = hour % _NOON + (_NOON if found[7] == "P" and hour else 0)  # "00:00:00 PM" is written, too
        offset = found[8] if found[8] and found[8][0] in "+-" else "+00:00"
        return dt.datetime.fromisoformat(f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{offset}")
    if _NAMED_MONTH.fullmatch(text):
        return email.utils.parsedate_to_datetime(text)
    return dt.datetime.fromisoformat(_ZONE_WORD.sub("+00:00", text))
