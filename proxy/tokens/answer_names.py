"""What an answer has where a JSON pointer finds nothing: the names of its members, for the log. Pure.

Never a value. A name that does not look like one that programmers give (a token, an address, a text) is only counted.
"""

from __future__ import annotations

import re
from typing import Any

from proxy.config.json_pointer import follow, parts_of

_GIVEN = re.compile(r"[@#]?[A-Za-z_][A-Za-z_.:-]{0,29}[0-9]{0,2}")
_MOST = 20


def names_at(value: Any, pointer: str) -> str:
    """What there is as far as the pointer leads: `at /data: expires, token`."""
    parts = parts_of(pointer)
    for length in range(len(parts), -1, -1):
        way = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts[:length])
        try:
            found = follow(value, way)
        except LookupError:
            continue
        return f"at {way or 'its root'}: {_described(found)}"
    raise AssertionError("the whole value is always there")


def _described(found: Any) -> str:
    if isinstance(found, dict):
        names = sorted(name for name in found if _GIVEN.fullmatch(name))[:_MOST]
        others = len(found) - len(names)
        told = [*names, *([f"{others} other{'s' if others > 1 else ''}"] if others else [])]
        return ", ".join(told) or "an empty object"
    if isinstance(found, list):
        return f"a list of {len(found)}"
    if isinstance(found, bool) or found is None:
        return "true, false or null"
    return "a string" if isinstance(found, str) else "a number"
