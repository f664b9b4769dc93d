"""JSON pointers (RFC 6901). All code that evaluates one uses this file. Pure."""

from __future__ import annotations

import re
from typing import Any

_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


def parts_of(pointer: str) -> list[str]:
    """The member names and indexes on the way, unescaped; none for the whole value."""
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def index_of(part: str) -> int | None:
    """The array index that a part of a pointer is (§4: no sign, no leading zero); None where it is none."""
    return int(part) if _INDEX.fullmatch(part) else None


def follow(value: Any, pointer: str) -> Any:
    """What stands there in a JSON value. Raises LookupError for nothing."""
    for part in parts_of(pointer):
        if isinstance(value, dict):
            value = value[part]
        elif isinstance(value, list) and (index := index_of(part)) is not None:
            value = value[index]
        else:
            raise LookupError
    return value
