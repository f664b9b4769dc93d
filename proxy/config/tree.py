"""Every value of a configuration with its path, for rules that hold wherever something stands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from msgspec import Struct

from proxy.config.parse_context import KeyPath


class Value(NamedTuple):
    """`owner` is the struct, list or mapping that holds the value."""

    path: KeyPath
    value: Any
    owner: Any


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
        for name in owner.__struct_fields__:  # the file's keys too
            yield Value((*path, name), getattr(owner, name), owner)
    else:
        for key, part in owner.items() if isinstance(owner, dict) else enumerate(owner):
            yield Value((*path, key), part, owner)
