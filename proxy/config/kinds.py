"""The types of the schema: which YAML nodes a type takes, and what it is called in messages."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec.inspect as types

from proxy.config.document import YamlMapping, YamlNode, YamlScalar, YamlSequence
from proxy.config.scalars import is_null, other_kind
from proxy.config.schema import Duration, Rate, Secret, Size
from proxy.config.secrets import looks_like_reference
from proxy.config.spelling import listed

_NOTHING: dict[type, Any] = {
    types.StrType: "",
    types.VarTupleType: (),
    types.DictType: {},
    types.IntType: 0,
    types.FloatType: 0.0,
    types.BoolType: False,
}


class Marks(NamedTuple):
    """The annotations of a field (`schema.OFF` and the others there)."""

    off: bool = False
    masked: bool = False
    path: bool = False
    address: bool = False
    verbatim: bool = False
    one_or_many: bool = False
    zero: bool = False
    secrets: bool = False


def unwrap(kind: types.Type, marks: Marks) -> tuple[types.Type, Marks]:
    """A type without its annotations, and the annotations."""
    while isinstance(kind, types.Metadata):
        marks = marks._replace(**dict.fromkeys(kind.extra or (), True))
        kind = kind.type
    return kind, marks


def alternatives(kind: types.Type) -> tuple[types.Type, ...]:
    """The members of a union; any other type as the only member."""
    return kind.types if isinstance(kind, types.UnionType) else (kind,)


def placeholder(kind: types.Type) -> Any:
    """A neutral value of the type, for a value that could not be read."""
    kind, _ = unwrap(kind, Marks())
    match kind:
        case types.UnionType():
            return None if any(isinstance(t, types.NoneType) for t in kind.types) else placeholder(kind.types[0])
        case types.StructType():
            return kind.cls(**{f.name: placeholder(f.type) for f in kind.fields if f.required})
        case types.LiteralType():
            return kind.values[0]
        case types.CustomType():
            return kind.cls(0)
    return _NOTHING.get(type(kind))


def fits(node: YamlNode, kind: types.Type, marks: Marks) -> bool:
    """Whether a node has the shape that a type needs: mapping, list or scalar. Its content is checked later."""
    match kind:
        case types.AnyType():
            return True
        case types.StructType():
            return isinstance(node, YamlMapping) or (
                isinstance(node, YamlScalar) and bool(getattr(kind.cls, "shorthand", None))
            )
        case types.DictType():
            return isinstance(node, YamlMapping)
        case types.VarTupleType():
            return isinstance(node, YamlSequence) or marks.one_or_many
    return isinstance(node, YamlScalar)


def holds_secret(kinds: tuple[types.Type, ...]) -> bool:
    """Whether a secret reference may stand here."""
    return any(isinstance(kind, types.StructType) and issubclass(kind.cls, Secret) for kind in kinds)


def is_reference(node: YamlMapping) -> bool:
    """Whether a mapping, where anything may stand, was meant as a secret reference."""
    return looks_like_reference([key.text for key, _ in node.entries if isinstance(key, YamlScalar)])


_WORDS: dict[type, str] = {
    types.StrType: "a string",
    types.BoolType: "true or false",
    types.IntType: "a whole number",
    types.FloatType: "a number",
    types.DictType: "a mapping",
    types.StructType: "a mapping",
    types.VarTupleType: "a list",
}
_UNITS = {Duration: "a duration", Size: "a size", Rate: "a rate"}


def described(kind: types.Type) -> str:
    """What a type is called in messages."""
    if isinstance(kind, types.LiteralType):
        return listed(str(value) for value in kind.values)
    if isinstance(kind, types.CustomType):
        return _UNITS[kind.cls]
    return _WORDS[type(kind)]


def found(node: YamlNode) -> str:
    """What a node is called in messages, without its text."""
    match node:
        case YamlMapping():
            return "a mapping"
        case YamlSequence():
            return "a list"
    return (node.plain and not is_null(node.text) and other_kind(node.text)) or ("a string" if node.text else "nothing")


def unit_hint(text: str, cls: type, *, off: bool) -> str | None:
    """A hint for an amount that cannot be read: what was probably meant."""
    if off and text.lower() in ("off", "no", "none", "false", "never"):
        return "write off"
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text) and not re.match("0[0-9]", text):
        units = {Duration: ("s", "ms"), Size: ("KiB", "B"), Rate: ("/s", "/m")}[cls]
        return f"with a unit: {text}{units[0]} or {text}{units[1]}"
    spaced = re.fullmatch(r"([0-9.]+) +([A-Za-z/]+)", text)
    return f"without the blank: {spaced[1]}{spaced[2]}" if spaced else None


def all_keys(kind: types.Type) -> set[str]:
    """All keys that can occur anywhere in a value of this type."""
    kind, _ = unwrap(kind, Marks())
    match kind:
        case types.UnionType():
            return set().union(*map(all_keys, kind.types))
        case types.StructType():
            return {f.encode_name for f in kind.fields}.union(
                {kind.tag_field or "type"}, *(all_keys(f.type) for f in kind.fields)
            )
        case types.VarTupleType():
            return all_keys(kind.item_type)
        case types.DictType():
            return all_keys(kind.value_type)
    return set()
