"""The JSON Schema (2020-12) that editors use. It accepts what the loader accepts, as far as types and values go.

It is generated from the structs. Written by hand is what a struct cannot express: shorthands, one or many, `off`,
amounts with units, and that a secret has one source. Only the loader checks what must hold between keys, and whether
references resolve.
"""

from __future__ import annotations

from typing import Any

import msgspec.inspect as types

from proxy.config.kinds import Marks, alternatives, unwrap
from proxy.config.schema import Assertion, Duration, EncodedSecret, FieldValue, Rate, Secret, Size, SubjectToken
from proxy.config.walker import CONFIG

_AMOUNT = r"[0-9]{1,15}(\.[0-9]{1,9})?"
_UNITS: dict[type, tuple[str, str]] = {
    Duration: (rf"^{_AMOUNT}(ms|s|m|h|d)$", "A duration with its unit: 500ms, 30s, 5m, 12h, 7d."),
    Size: (rf"^{_AMOUNT}(B|KiB|MiB|GiB|KB|MB|GB)$", "A size with its unit: 512B, 64KiB, 10MiB, 1GiB."),
    Rate: (rf"^{_AMOUNT}/(s|m|h)$", "Events per second, minute or hour: 100/s."),
}
_ZERO = r"^(?!0+(\.0+)?(?![0-9.]))"
_SOURCES = ("env", "file", "exec", "credential", "value")


def json_schema() -> dict[str, Any]:
    """The schema of the whole file."""
    definitions: dict[str, Any] = {}
    root = _Writer(definitions).schema(CONFIG, Marks())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "auth-sidecar",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


class _Writer:
    """Writes schemas; each struct becomes one definition."""

    def __init__(self, definitions: dict[str, Any]) -> None:
        self._definitions = definitions

    def schema(self, kind: types.Type, marks: Marks) -> dict[str, Any]:
        kind, marks = unwrap(kind, marks)
        kinds = alternatives(kind)
        forms = [self._one(one, marks) for one in kinds if not isinstance(one, types.NoneType)]
        if marks.off:
            forms.append({"const": "off"})
        elif len(forms) < len(kinds) and not any(_is_secret(one) for one in kinds):
            forms.append({"type": "null"})
        return forms[0] if len(forms) == 1 else {"anyOf": forms}

    def _one(self, kind: types.Type, marks: Marks) -> dict[str, Any]:
        match kind:
            case types.StructType():
                return self._struct(kind)
            case types.DictType():
                return {
                    "type": "object",
                    "additionalProperties": self.schema(kind.value_type, Marks()),
                }
            case types.VarTupleType():
                item = self.schema(kind.item_type, marks._replace(one_or_many=False, off=False))
                several = {"type": "array", "items": item}
                return {"anyOf": [item, several]} if marks.one_or_many else several
            case types.LiteralType():
                return {"enum": list(kind.values)}
            case types.CustomType():
                pattern, description = _UNITS[kind.cls]
                return {
                    "type": "string",
                    "pattern": pattern if marks.zero else _ZERO + pattern.removeprefix("^"),
                    "description": description,
                }
        return _word(kind, marks)

    def _struct(self, kind: types.StructType) -> dict[str, Any]:
        name = kind.cls.__name__
        reference = {"$ref": f"#/$defs/{name}"}
        if name not in self._definitions:
            self._definitions[name] = {}  # structs do not contain themselves, but may be met again
            self._definitions[name] = self._definition(kind)
        return reference

    def _definition(self, kind: types.StructType) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        if kind.tag_field:
            properties[kind.tag_field] = {"const": kind.tag}
        for field in kind.fields:
            properties[field.encode_name] = self.schema(field.type, Marks())
            if issubclass(kind.cls, Secret):
                properties[field.encode_name] = _without_null(properties[field.encode_name])
        required = [field.encode_name for field in kind.fields if field.required]
        mapping: dict[str, Any] = {
            "type": "object",
            "properties": properties,
            "required": [kind.tag_field, *required] if kind.tag_field else required,
            "additionalProperties": False,
        }
        if issubclass(kind.cls, Secret):
            mapping["oneOf"] = [{"required": [source]} for source in _sources(kind.cls)]
        shorthand = getattr(kind.cls, "shorthand", None)
        if shorthand:
            mapping = {"anyOf": [properties[shorthand], mapping]}
        return {"description": " ".join((kind.cls.__doc__ or "").split()), **mapping}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Without `null`: an empty key within a secret is a mistake."""
    forms = [form for form in schema.get("anyOf", [schema]) if form != {"type": "null"}]
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _sources(cls: type) -> tuple[str, ...]:
    if issubclass(cls, SubjectToken):
        return (*_SOURCES, "request_header")
    if issubclass(cls, FieldValue):
        return (*_SOURCES, "kept")
    if issubclass(cls, EncodedSecret):
        return (*_SOURCES, "base64")
    more = ("request_header", "key", "google_service_account") if issubclass(cls, Assertion) else ()
    return (*_SOURCES, *more)


def _is_secret(kind: types.Type) -> bool:
    return isinstance(kind, types.StructType) and issubclass(kind.cls, Secret)


def _word(kind: types.Type, marks: Marks) -> dict[str, Any]:
    match kind:
        case types.StrType():
            return {"type": "string"}
        case types.BoolType():
            return {"type": "boolean"}
        case types.IntType():
            return {"type": "integer", "minimum": 0} if marks.zero else {"type": "integer", "minimum": 1}
        case types.FloatType():
            return {"type": "number", "minimum": 0} if marks.zero else {"type": "number", "exclusiveMinimum": 0}
    return {}  # any JSON value
