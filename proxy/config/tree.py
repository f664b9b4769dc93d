"""Every value of a configuration with its path, for rules that hold wherever something stands."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from proxy.config.reading import KeyPath


class Value(NamedTuple):
    """`owner` is the struct, list or mapping that holds the value; `default`, NODEFAULT where there is none."""

    path: KeyPath
    value: Any
    owner: Any
    default: Any = NODEFAULT


def every(value: Any, path: KeyPath = ()) -> Iterator[Value]:
    """All values within, outer ones first; the tag of a tagged struct comes as its `type`."""
    if isinstance(value, Struct):
        if value.__struct_config__.tag is not None:
            yield Value((*path, "type"), value.__struct_config__.tag, value)
        for name, default in _fields(type(value)):
            part = getattr(value, name)
            yield Value((*path, name), part, value, default)
            yield from every(part, (*path, name))
    elif isinstance(value, tuple | list | dict):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield Value((*path, key), part, value)
            yield from every(part, (*path, key))


@cache
def _fields(struct: type[Struct]) -> tuple[tuple[str, Any], ...]:
    """Names, which are the file's keys too, and defaults. Cached: msgspec evaluates all annotations each time."""
    return tuple(
        (field.name, field.default if field.default_factory is NODEFAULT else field.default_factory())
        for field in fields(struct)
    )
