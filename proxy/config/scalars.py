"""What a plain scalar means, and the scalars that YAML 1.1, YAML 1.2 and people read differently.

A number, a boolean or null is accepted only as JSON and YAML 1.2 write it. What YAML 1.1 or 1.2 would not read as a
string is refused where a string is expected, and other spellings of numbers where a number is expected: `NO`, `1:30`,
`010`, `0x1f`, `1_000`, `2024-01-01`.
"""

from __future__ import annotations

import math
import re

from proxy.config.schema import Duration, Rate, Size

_INT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"-?(?:0|[1-9][0-9]{0,17})?(?:\.[0-9]{1,17})?(?:[eE][-+]?[0-9]{1,2})?")
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})

_KINDS = (
    ("null", re.compile(r"~|null|Null|NULL|")),
    ("a boolean", re.compile(r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF")),
    ("a number in base 60", re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")),
    ("an octal number", re.compile(r"[-+]?0[0-7_]+|[-+]?0o[0-7]+")),
    ("a hexadecimal number", re.compile(r"[-+]?0x[0-9a-fA-F_]+")),
    ("a binary number", re.compile(r"[-+]?0b[01_]+")),
    (
        "a number",
        re.compile(r"[-+]?(?:[0-9][0-9_]*)(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)?|[-+]?\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"),
    ),
    ("a number", re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")),
    ("a date", re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*)?")),
    ("a special word", re.compile(r"=|<<")),
)

_AMOUNT = r"([0-9]{1,15}(?:\.[0-9]{1,9})?)"
_DURATION = re.compile(_AMOUNT + r"(ms|s|m|h|d)")
_SIZE = re.compile(_AMOUNT + r"(B|KiB|MiB|GiB|KB|MB|GB)")
_RATE = re.compile(_AMOUNT + r"/(s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_OCTETS = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "KB": 1000, "MB": 1000**2, "GB": 1000**3}
_LONGEST = 36500 * 86400.0
_LARGEST = 2**53


def other_kind(text: str) -> str | None:
    """What YAML 1.1 or 1.2 reads a plain scalar as, if not as a string; None for a string."""
    return next((kind for kind, pattern in _KINDS if pattern.fullmatch(text)), None)


def is_null(text: str) -> bool:
    """Whether a plain scalar is null."""
    return text in _NULLS


def to_bool(text: str) -> bool | None:
    """A plain scalar as a boolean of YAML 1.2; None if it is none."""
    return _BOOLS.get(text)


def to_int(text: str) -> int | None:
    """A plain scalar as a decimal integer; None if it is none."""
    return int(text) if _INT.fullmatch(text) else None


def to_float(text: str) -> float | None:
    """A plain scalar as a decimal number; None if it is none."""
    if not _FLOAT.fullmatch(text) or not any(c.isdigit() for c in text.lower().partition("e")[0]):
        return None
    return float(text)


def parse_duration(text: str) -> Duration:
    """Raises ValueError: a sentence."""
    found = _DURATION.fullmatch(text)
    if not found:
        raise ValueError("a duration is a number and its unit: 500ms, 30s, 5m, 12h, 7d")
    seconds = float(found[1]) * _SECONDS[found[2]]
    if seconds > _LONGEST:
        raise ValueError("a duration of more than a hundred years")
    return Duration(seconds)


def parse_size(text: str) -> Size:
    """Raises ValueError: a sentence."""
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError("a size is a number and its unit: 512B, 64KiB, 10MiB, 1GiB (or KB, MB, GB)")
    octets = float(found[1]) * _OCTETS[found[2]]
    if octets > _LARGEST:
        raise ValueError("a size beyond all measure")
    if not octets.is_integer():
        raise ValueError("a size must come to whole octets")
    return Size(octets)


def parse_rate(text: str) -> Rate:
    """Raises ValueError: a sentence."""
    found = _RATE.fullmatch(text)
    if not found:
        raise ValueError("a rate is a number of events per s, m or h: 100/s, 30/m")
    per_second = float(found[1]) / _SECONDS[found[2]]
    if per_second <= 0 or math.isinf(per_second):
        raise ValueError("a rate must be more than 0")
    return Rate(per_second)


def format_duration(seconds: float) -> str:
    """The shortest spelling that reads back as the same."""
    for unit in ("d", "h", "m", "s"):
        if seconds and not seconds % _SECONDS[unit]:
            return f"{int(seconds // _SECONDS[unit])}{unit}"
    return f"{round(seconds * 1000, 3):.15g}ms" if seconds else "0s"


def format_size(octets: int) -> str:
    """The shortest spelling that reads back as the same."""
    for unit in ("GiB", "MiB", "KiB"):
        if octets and not octets % _OCTETS[unit]:
            return f"{octets // _OCTETS[unit]}{unit}"
    return f"{octets}B"


def format_rate(per_second: float) -> str:
    """A spelling that reads back as nearly the same."""
    for unit in ("s", "m", "h"):
        amount = round(per_second * _SECONDS[unit], 6)
        if amount.is_integer():
            return f"{int(amount)}/{unit}"
    return f"{per_second:.9f}/s"
