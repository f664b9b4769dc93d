"""Every value of a configuration with its path, for rules that hold wherever something stands."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from msgspec import NODEFAULT, Struct
from msgspec.structs import fields

from proxy.config.parse_context import KeyPath


class Value(NamedTuple):
    """`owner` is the struct, list or mapping that holds the value; `default`, NODEFAULT where there is none."""

    path: KeyPath
    value: Any
    owner: Any
    default: Any = NODEFAULT


def every(value: Any) -> Iterator[Value]:
    """All values within, one at a time; the tag of a tagged struct comes as its `type`."""
    waiting: list[tuple[KeyPath, Any]] = [((), value)]
    while waiting:
        path, owner = waiting.pop()
        for inner in _within(path, owner):
            yield inner
            if isinstance(inner.value, Struct | tuple | list | dict):
                waiting.append((inner.path, inner.value))


def _within(path: KeyPath, owner: Any) -> Iterator[Value]:
    if isinstance(owner, Struct):
        if owner.__struct_config__.tag is not None:
            yield Value((*path, "type"), owner.__struct_config__.tag, owner)
        for name, default in _fields(type(owner)):
            yield Value((*path, name), getattr(owner, name), owner, default)
    else:
        for key, part in owner.items() if isinstance(owner, dict) else enumerate(owner):
            yield Value((*path, key), part, owner)


@cache
def _fields(struct: type[Struct]) -> tuple[tuple[str, Any], ...]:
    """Names, which are the file's keys too, and defaults. Cached: msgspec evaluates all annotations each time."""
    return tuple(
        (field.name, field.default if field.default_factory is NODEFAULT else field.default_factory())
        for field in fields(struct)
    )
