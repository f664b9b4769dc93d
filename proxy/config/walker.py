"""Nodes and types to structs, collecting every mistake.

Driven by what `msgspec.inspect` says of the structs of `schema.py`. A neutral placeholder replaces a value that
cannot be read, and its path is marked broken: the rest of the file is still checked, and one mistake is reported once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec.inspect as types

from proxy.config.document import Span, YamlMapping, YamlNode, YamlScalar, YamlSequence
from proxy.config.kinds import (
    Marks,
    all_keys,
    alternatives,
    described,
    fits,
    found,
    holds_secret,
    is_reference,
    placeholder,
    unwrap,
)
from proxy.config.parse_context import KeyPath, ParseContext, spelled
from proxy.config.scalars import is_null, other_kind, to_bool, to_float, to_int
from proxy.config.schema import Config, Secret
from proxy.config.spelling import meant, suggestion, word
from proxy.config.substitution import SubstitutionError, has_reference, substitute
from proxy.config.words import WordError, read_word

_SECRET: types.StructType = types.type_info(Secret)  # type: ignore[assignment]  # the same
CONFIG: types.StructType = types.type_info(Config)  # type: ignore[assignment]  # a struct is asked about
KEYS = frozenset(all_keys(CONFIG))
_SECRET_IN_URL = re.compile(r"//[^/]*@|\?.*=")
_DOLLAR = "write ${NAME} for a variable that is set, ${NAME:-default}, or $${ for a literal ${"
_JSON_OBJECT = types.DictType(types.StrType(), types.AnyType())
_JSON_ARRAY = types.VarTupleType(types.AnyType())


class _UnreadableError(Exception):
    """The value cannot be read; it has been reported."""


def read(node: YamlNode, context: ParseContext) -> Config:
    """The whole file. Mistakes are in `context`."""
    context.known = KEYS
    try:
        config = _Walker(context).value(node, CONFIG, (), Marks())
    except _UnreadableError:
        config = placeholder(CONFIG)
    return config  # type: ignore[no-any-return]


class _Walker:
    def __init__(self, context: ParseContext) -> None:
        self.context = context

    def value(self, node: YamlNode, kind: types.Type, path: KeyPath, marks: Marks) -> Any:
        """Raises _UnreadableError after having reported why."""
        kind, marks = unwrap(kind, marks)
        kinds = alternatives(kind)
        if isinstance(node, YamlScalar) and marks.off and node.text == "off":
            node.visible = True
            return None
        null = isinstance(node, YamlScalar) and node.plain and is_null(node.text)
        if null and not isinstance(kinds[0], types.AnyType):
            if any(isinstance(k, types.NoneType) for k in kinds) and not marks.off and not holds_secret(kinds):
                return None
            raise self._refused(node.span, path, f"`{_last(path)}` is empty", "give it a value, or leave the key out")
        kinds = tuple(k for k in kinds if not isinstance(k, types.NoneType))
        chosen = self._choose(node, kinds, path, marks)
        return self._read(node, chosen, path, marks)

    # ---- which type of a union is meant ----------------------------------------------------------------------------

    def _choose(self, node: YamlNode, kinds: tuple[types.Type, ...], path: KeyPath, marks: Marks) -> types.Type:
        if len(kinds) > 1 and all(isinstance(k, types.StructType) and k.tag is not None for k in kinds):
            return self._tagged(node, kinds, path)
        for kind in kinds:
            if fits(node, kind, marks):
                return kind
        wanted = " or ".join(dict.fromkeys(described(k) for k in kinds)) + (" or off" if marks.off else "")
        hint = None
        if holds_secret(kinds) and isinstance(node, YamlScalar):
            wanted = "a secret by reference: {env: NAME} or {file: path}"
            hint = "a secret in the file itself is written {value: …}, and draws a warning"
        if isinstance(node, YamlMapping) and is_reference(node) and marks.masked:
            hint = "secrets: {name: {…}} on the credential, and {name} here"
        if isinstance(node, YamlScalar) and node.plain and isinstance(kinds[0], types.VarTupleType):
            hint = "a list of one is written [value]"
        raise self._refused(node.span, path, f"`{_last(path)}` must be {wanted}, not {found(node)}", hint)

    def _tagged(self, node: YamlNode, kinds: tuple[types.Type, ...], path: KeyPath) -> types.StructType:
        """The member that `type:` names."""
        structs = {str(k.tag): k for k in kinds if isinstance(k, types.StructType)}
        if not isinstance(node, YamlMapping):
            raise self._refused(node.span, path, f"`{_last(path)}` must be a mapping, not {found(node)}")
        known = ", ".join(structs)
        for key, value in node.entries:
            if isinstance(key, YamlScalar) and key.text == "type":
                key.visible = True
                if not isinstance(value, YamlScalar) or is_null(value.text):
                    raise self._refused(value.span, (*path, "type"), f"`type` must be one of: {known}")
                value.visible = True
                if value.text in structs:
                    return structs[value.text]
                hint = None if self.context.hopeless else suggestion(value.text, structs)
                raise self._refused(
                    value.span, (*path, "type"), f"unknown type `{word(value.text)}`: one of {known}", hint
                )
        for key, _ in node.entries:
            if isinstance(key, YamlScalar) and meant(key.text, ["type"]):
                key.visible = True
                message = f"unknown key `{word(key.text)}` in {spelled(path)}"
                raise self._refused(key.span, path, message, "did you mean `type`?")
        place = self.context.place(path).key
        raise self._refused(place, path, f"{spelled(path)} needs a `type`", f"one of: {known}")

    def _read(self, node: YamlNode, kind: types.Type, path: KeyPath, marks: Marks) -> Any:
        match kind:
            case types.StructType():
                return (
                    self._struct(node, kind, path) if isinstance(node, YamlMapping) else self._short(node, kind, path)
                )
            case types.DictType():
                return self._dict(node, kind, path, marks)
            case types.VarTupleType():
                return self._tuple(node.items if isinstance(node, YamlSequence) else (node,), kind, path, marks)
            case types.AnyType() if marks.secrets and isinstance(node, YamlMapping) and is_reference(node):
                return self._struct(node, _SECRET, path)
            case types.AnyType():
                return self._json(node, path, marks)
        return self._word(node, kind, path, marks)

    def _short(self, node: YamlNode, kind: types.StructType, path: KeyPath) -> Any:
        """A plain string instead of a mapping with one key."""
        name = str(getattr(kind.cls, "shorthand", None))
        field = next(f for f in kind.fields if f.name == name)
        return kind.cls(**{name: self.value(node, field.type, (*path, name), Marks())})

    def _word(self, node: YamlNode, kind: types.Type, path: KeyPath, marks: Marks) -> Any:
        assert isinstance(node, YamlScalar)  # noqa: S101 - `fits` has seen to it
        if not marks.masked and not _SECRET_IN_URL.search(node.text):
            node.visible = True
        if isinstance(kind, types.StrType):
            return self._string(node, path, marks)
        try:
            return read_word(node, kind, marks)
        except WordError as error:
            raise self._refused(node.span, path, str(error).format(f"`{_last(path)}`"), error.hint) from None

    def _struct(self, node: YamlMapping, kind: types.StructType, path: KeyPath) -> Any:
        fields = {f.encode_name: f for f in kind.fields}
        names = [*fields, *([kind.tag_field] if kind.tag_field else [])]
        values: dict[str, Any] = {}
        missing = {f.encode_name for f in kind.fields if f.required}
        secret = issubclass(kind.cls, Secret)
        for name, value in self._entries(node, path, dict.fromkeys(names), secret=secret):
            missing.discard(name)
            if name not in fields:  # the tag
                continue
            try:
                if secret and isinstance(value, YamlScalar) and value.plain and is_null(value.text):
                    raise self._refused(value.span, (*path, name), f"`{name}` is empty", "give it a value")
                values[fields[name].name] = self.value(value, fields[name].type, (*path, name), Marks())
            except _UnreadableError:
                self.context.broken.add((*path, name))
        for name in sorted(name for name in missing if (*path, name) not in self.context.broken):
            place = self.context.place(path).key if path else Span(0, 0, 0, 0)
            where = spelled(path) or "the configuration"
            self.context.error(place, (*path, name), f"{where} needs `{name}`")
        for field in kind.fields:
            if field.required and field.name not in values:
                values[field.name] = placeholder(field.type)
        return kind.cls(**values)

    def _entries(
        self, node: YamlMapping, path: KeyPath, known: dict[str, None] | None, *, secret: bool = False
    ) -> Iterator[tuple[str, YamlNode]]:
        """Keys and values. Reports duplicates, and unknown keys if `known` (all keys of a struct) is given."""
        seen: dict[str, Span] = {}
        for key, value in node.entries:
            if not isinstance(key, YamlScalar):
                self.context.error(key.span, (*path, ""), "a key must be a plain word")
                continue
            name = key.text
            if key.plain and (known is None or name not in known) and (kind := other_kind(name)):
                if not secret:
                    key.visible = True
                self.context.error(key.span, (*path, name), f"a key that YAML may read as {kind}", "quote it")
                continue
            if known is not None and name not in known:
                self._unknown(key, path, known, secret=secret)
                continue
            key.visible = True
            if name in seen:
                first = seen[name].line + 1
                self.context.error(key.span, (*path, name), f"`{word(name)}` is given twice: first in line {first}")
                continue
            seen[name] = key.span
            yield name, value

    def _unknown(self, key: YamlScalar, path: KeyPath, known: dict[str, None], *, secret: bool) -> None:
        where = f" in {spelled(path)}" if path else ""
        hint = None if self.context.hopeless else suggestion(key.text, known)
        if secret and not hint:
            self.context.error(key.span, path, f"unknown key{where}", f"known: {', '.join(known)}")
            return
        key.visible = True
        self.context.error(
            key.span, (*path, key.text), f"unknown key `{word(key.text)}`{where}", hint or f"known: {', '.join(known)}"
        )
        intended = meant(key.text, known) if hint else None
        if intended:
            self.context.broken.add((*path, intended))

    def _dict(self, node: YamlNode, kind: types.DictType, path: KeyPath, marks: Marks) -> dict[str, Any]:
        assert isinstance(node, YamlMapping)  # noqa: S101 - `fits` has seen to it
        values: dict[str, Any] = {}
        deeper = Marks(masked=marks.masked, secrets=marks.secrets)
        for name, value in self._entries(node, path, None):
            try:
                values[name] = self.value(value, kind.value_type, (*path, name), deeper)
            except _UnreadableError:
                self.context.broken.add((*path, name))
        return values

    def _tuple(
        self, items: Iterable[YamlNode], kind: types.VarTupleType, path: KeyPath, marks: Marks
    ) -> tuple[Any, ...]:
        values = []
        for index, item in enumerate(items):
            try:
                values.append(self.value(item, kind.item_type, (*path, index), marks._replace(one_or_many=False)))
            except _UnreadableError:
                self.context.broken.add((*path, index))
                values.append(placeholder(kind.item_type))
        return tuple(values)

    def _json(self, node: YamlNode, path: KeyPath, marks: Marks) -> Any:
        """Any JSON value."""
        match node:
            case YamlMapping():
                return self._dict(node, _JSON_OBJECT, path, marks)
            case YamlSequence():
                return list(self._tuple(node.items, _JSON_ARRAY, path, marks))
        if not node.plain:
            return self._text(node, path, marks)
        if is_null(node.text):
            return None
        for reader in (to_bool, to_int, to_float):
            if (number := reader(node.text)) is not None:
                return number
        return self._text(node, path, marks)

    def _string(self, node: YamlScalar, path: KeyPath, marks: Marks) -> str:
        text = self._text(node, path, marks)
        if marks.address and text.startswith("unix:"):
            place, colon, rest = text.removeprefix("unix:").partition(":/")
            return "unix:" + self._absolute(place, node, path) + colon + rest
        return self._absolute(text, node, path) if marks.path else text

    def _text(self, node: YamlScalar, path: KeyPath, marks: Marks) -> str:
        if node.plain and (kind := other_kind(node.text)):
            message = f"`{_last(path)}` is a string, but YAML may read this as {kind}"
            raise self._refused(node.span, path, message, "quote it")
        if not has_reference(node.text) or marks.verbatim:
            return node.text
        self.context.written[path] = node.text
        try:
            return substitute(node.text, self.context.environ)
        except SubstitutionError as error:
            if error.name is None or marks.masked:
                raise self._refused(node.span, path, "a `${NAME}` in this value cannot be resolved", _DOLLAR) from None
            hint = f"set it, or give a default: ${{{error.name}:-…}}"
            raise self._refused(node.span, path, f"the environment variable {error.name} is not set", hint) from None

    def _absolute(self, text: str, node: YamlScalar, path: KeyPath) -> str:
        if not text or "\0" in text:
            raise self._refused(node.span, path, f"`{_last(path)}` is no path")
        absolute = os.path.normpath(self.context.directory / text)
        if absolute != node.text:
            self.context.written.setdefault(path, node.text)
        return absolute

    def _refused(self, span: Span, path: KeyPath, message: str, hint: str | None = None) -> _UnreadableError:
        self.context.error(span, path, message, hint)
        return _UnreadableError()


def _last(path: KeyPath) -> str:
    """The last key of a path, without positions in lists."""
    return word(next((part for part in reversed(path) if isinstance(part, str)), "the configuration"))
