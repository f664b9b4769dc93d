"""Scalars that are no strings: numbers, booleans, amounts with a unit, one of a list of words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec.inspect as types

from proxy.config.document import YamlScalar
from proxy.config.kinds import Marks, unit_hint
from proxy.config.scalars import other_kind, parse_duration, parse_rate, parse_size, to_bool, to_float, to_int
from proxy.config.schema import Duration, Rate, Size
from proxy.config.spelling import listed, suggestion

_UNITS: dict[type, Callable[[str], float]] = {Duration: parse_duration, Size: parse_size, Rate: parse_rate}


class WordError(ValueError):
    """The scalar has no value of this type. `str()` is a sentence with `{}` for the key."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def read_word(word: YamlScalar, kind: types.Type, marks: Marks) -> Any:
    """The value of a scalar. Raises WordError."""
    match kind:
        case types.LiteralType():
            return _literal(word, kind, marks)
        case types.CustomType():
            return _amount(word, kind, marks)
        case types.BoolType():
            return _bool(word)
    return _number(word, kind, marks)


def _literal(word: YamlScalar, kind: types.LiteralType, marks: Marks) -> Any:
    for value in kind.values:
        if word.text == str(value) and (isinstance(value, str) or word.plain):
            if isinstance(value, str) and word.plain and (other := other_kind(word.text)):
                raise WordError(f"{{}}: YAML may read this as {other}", f'quote it: "{value}"')
            return value
    words = [str(value) for value in kind.values] + (["off"] if marks.off else [])
    raise WordError(f"{{}} must be {listed(words)}", suggestion(word.text, words))


def _amount(word: YamlScalar, kind: types.CustomType, marks: Marks) -> float:
    try:
        amount = _UNITS[kind.cls](word.text)
    except ValueError as error:
        raise WordError(f"{{}}: {error}", unit_hint(word.text, kind.cls, off=marks.off)) from None
    return _in_bounds(amount, marks)


def _bool(word: YamlScalar) -> bool:
    flag = to_bool(word.text) if word.plain else None
    if flag is None:
        raise WordError("{} must be true or false", None if word.plain else "without quotes")
    return flag


def _number(word: YamlScalar, kind: types.Type, marks: Marks) -> float:
    whole = isinstance(kind, types.IntType)
    number = None if not word.plain else to_int(word.text) if whole else to_float(word.text)
    if number is None:
        wanted = "a whole number" if whole else "a number"
        raise WordError(f"{{}} must be {wanted} in plain decimal digits", None if word.plain else "without quotes")
    return _in_bounds(number, marks)


def _in_bounds(number: float, marks: Marks) -> float:
    if number < 0 or (number == 0 and not marks.zero):
        least = "0 or more" if marks.zero else "more than 0"
        raise WordError(f"{{}} must be {least}", "to switch it off, write off" if marks.off else None)
    return number
