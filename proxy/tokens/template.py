"""Fill `{access_token}`, `{refresh_token}` and `{per}` into configured strings. Pure.

One pass: what is filled in is never read as a template again. Other braces stay as they are, so that JSON and URL
templates need no escaping.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_PLACE = re.compile(r"\{(access_token|refresh_token|per)\}")


class MissingPartError(Exception):
    """The template asks for a part that there is not (yet). `str()` is its name."""


def fill(value: Any, parts: Mapping[str, str | None], escape: Callable[[str], str] = str) -> Any:
    """The same JSON value with every string in it filled in, names of members excepted; other values as they are.

    `escape` is applied to each part (percent-encoding within a URL). Raises MissingPartError for a part that is None.
    """
    if isinstance(value, str):
        return _PLACE.sub(lambda place: escape(_part(parts, place[1])), value)
    if isinstance(value, Mapping):
        return {name: fill(member, parts, escape) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [fill(member, parts, escape) for member in value]
    return value


def places(value: Any) -> set[str]:
    """The names of the parts that `value` asks for."""
    if isinstance(value, str):
        return set(_PLACE.findall(value))
    members = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return set[str]().union(*(places(member) for member in members))


def _part(parts: Mapping[str, str | None], name: str) -> str:
    part = parts.get(name)
    if part is None:
        raise MissingPartError(name)
    return part
