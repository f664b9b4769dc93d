"""Placeholders in configured strings: `{name}`, and what may stand between the braces. Pure.

Braces around anything but a word stay as they are, so that JSON and URL templates need no escaping; `{{word}}` stands
for a literal `{word}`, and one behind a `$` is none. The time may be moved and spelled:
`{now+7d:%Y-%m-%d}`.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

_NAME = r"now(?:[+-][0-9]{1,9}[smhd])?:[^{}]+|[A-Za-z_][A-Za-z0-9_-]*(?:[+-][0-9]{1,9}[smhd])?"
PLACE = re.compile(rf"\{{\{{({_NAME})\}}\}}|(?<!\$)\{{({_NAME})\}}")
"""Group 1: the name in a literal one; group 2: the name in one to be filled in."""
SECRET_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")

PREVIOUS = frozenset({"access_token", "refresh_token"})
"""Of the token that is renewed."""
PER = "per"
MADE = ("uuid", "timestamp", "timestamp_ms")
"""Made anew for each request."""
RESERVED = frozenset({*PREVIOUS, PER, *MADE, "now", "credential"})

_NOW = re.compile(r"now(?:([+-])([0-9]{1,9})([smhd]))?(?::(.*))?", re.DOTALL)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_ISO = "%Y-%m-%dT%H:%M:%SZ"


def places(value: Any) -> set[str]:
    """The names in all placeholders within a JSON value, names of members excepted."""
    if isinstance(value, str):
        return {place[2] for place in PLACE.finditer(value) if place[2] is not None}
    members = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return set[str]().union(*(places(member) for member in members))


def is_now(name: str) -> bool:
    """Whether a name asks for the time: `now`, moved (`now+7d`), spelled (`now:%H`), or both."""
    return _NOW.fullmatch(name) is not None


def now(name: str, wall: float) -> str:
    """The time that a name asks for, in UTC; `wall`: seconds since 1970. ISO 8601 unless it says how.

    Raises ValueError where there is no such time.
    """
    found = _NOW.fullmatch(name)
    if found is None:
        raise ValueError("this is no time")
    sign, amount, unit, spelled = found.groups()
    moved = int(f"{sign}{amount}") * _SECONDS[unit] if sign else 0
    try:
        return dt.datetime.fromtimestamp(wall + moved, dt.UTC).strftime(spelled or _ISO)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError("there is no such time") from error
