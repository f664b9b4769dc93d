"""The configuration for people: effective values, strings as the file has them, secrets masked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec.inspect as types
from msgspec import UNSET

from proxy.config.kinds import Marks, alternatives, unwrap
from proxy.config.parse_context import KeyPath
from proxy.config.scalars import format_duration, format_rate, format_size
from proxy.config.schema import Config, Duration, Rate, Secret, Size
from proxy.config.walker import CONFIG

MASK = "***"

_REFERENCES = re.compile(r"(?:\$\{[A-Za-z_][A-Za-z0-9_]*\})+")
"""References without a default, which might be a secret."""
_USER = re.compile(r"//[^/@]*@")
_QUERY = re.compile(r"\?.*")
_FORMATS: dict[type, Callable[[Any], str]] = {Duration: format_duration, Size: format_size, Rate: format_rate}


def redacted(config: Config, written: Mapping[KeyPath, str]) -> dict[str, Any]:
    """The configuration as JSON values. `written`: strings as the file has them, by path."""
    shown: dict[str, Any] = _Redactor(written).show(config, CONFIG, (), Marks())
    return shown


class _Redactor:
    def __init__(self, written: Mapping[KeyPath, str]) -> None:
        self._written = written

    def show(self, value: Any, kind: types.Type, path: KeyPath, marks: Marks) -> Any:
        kind, marks = unwrap(kind, marks)
        if value is None:
            return "off" if marks.off else None
        for one in alternatives(kind):
            match one:
                case types.StructType(cls=cls) if type(value) is cls:
                    return self._struct(value, one, path)
                case types.DictType() if isinstance(value, dict):
                    deeper = Marks(masked=marks.masked)
                    return {k: self.show(v, one.value_type, (*path, k), deeper) for k, v in value.items()}
                case types.VarTupleType() if isinstance(value, tuple):
                    return [self.show(v, one.item_type, (*path, i), marks) for i, v in enumerate(value)]
        return self._masked(path) if marks.masked else self._word(value, path)

    def _masked(self, path: KeyPath) -> str:
        written = self._written.get(path, "")
        return written if _REFERENCES.fullmatch(written) else MASK

    def _word(self, value: Any, path: KeyPath) -> Any:
        if form := _FORMATS.get(type(value)):
            return form(value)
        if not isinstance(value, str):
            return value
        text = self._written.get(path, value)
        return _QUERY.sub("?" + MASK, _USER.sub(f"//{MASK}@", text)) if "//" in text else text

    def _struct(self, value: Any, kind: types.StructType, path: KeyPath) -> dict[str, Any]:
        shown = {kind.tag_field: kind.tag} if kind.tag_field else {}
        for field in kind.fields:
            part = getattr(value, field.name)
            if part is not UNSET and (part is not None or not isinstance(value, Secret)):
                shown[field.encode_name] = self.show(part, field.type, (*path, field.encode_name), Marks())
        return shown
