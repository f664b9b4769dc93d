"""One string put into a JSON text where a pointer says (RFC 6901); every other octet of it stays as it is. Pure.

Of members that repeat a name, which JSON leaves to its readers (RFC 8259 §4), each gets the string: whichever of them a
reader takes, it is ours. Objects that are missing on the way are made; elements of arrays must be there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple, NoReturn

from proxy.config.json_pointer import index_of

_BLANKS = " \t\r\n"
_MOST_PLACES = 100


class JsonPlaceError(ValueError):
    """The text is no JSON, or has no place where the pointer leads. `str()` is a sentence without a word of it."""


class _Edit(NamedTuple):
    """What takes the place of the text from `start` to `end`."""

    start: int
    end: int
    text: str


def with_value(body: bytes, parts: Sequence[str], value: str) -> bytes:
    """The text with `value` as a string at the place that `parts` lead to, one at least. Raises JsonPlaceError."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise _no_json() from None
    reader = _Reader(text)
    try:
        start = reader.behind_blanks(1 if text.startswith("\ufeff") else 0)
        end, edits = reader.edits(start, parts, json.dumps(value, ensure_ascii=False))
        if reader.behind_blanks(end) != len(text):
            raise _no_json()
    except (ValueError, IndexError, RecursionError) as error:
        raise error if isinstance(error, JsonPlaceError) else _no_json() from None
    if len(edits) > _MOST_PLACES:
        raise JsonPlaceError("The JSON body repeats the member that the credential stands in")
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text.encode("utf-8")


class _Reader:
    """One text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._whole = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse_constant)

    def edits(self, at: int, parts: Sequence[str], literal: str) -> tuple[int, list[_Edit]]:
        """Where the value ends that begins at `at`, and what is to be changed within it."""
        if not parts:
            end = self._end(at)
            return end, [_Edit(at, end, literal)]
        first = self._text[at]
        if first == "{":
            return self._in_object(at, parts, literal)
        if first == "[" and (index := index_of(parts[0])) is not None:
            return self._in_array(at, index, parts[1:], literal)
        self._end(at)
        raise JsonPlaceError("The JSON body has no place for the credential: something else stands there")

    def _in_object(self, at: int, parts: Sequence[str], literal: str) -> tuple[int, list[_Edit]]:
        edits: list[_Edit] = []
        found = empty = False
        inner = self.behind_blanks(at + 1)
        if self._text[inner] == "}":
            empty, end = True, inner
        else:
            for name, start in (members := _Members(self, inner)):
                if name == parts[0]:
                    found = True
                    members.at, more = self.edits(start, parts[1:], literal)
                    edits += more
                else:
                    members.at = self._end(start)
            end = members.at
        if not found:
            made = f"{json.dumps(parts[0], ensure_ascii=False)}:{_nested(parts[1:], literal)}"
            edits.append(_Edit(end, end, made if empty else "," + made))
        return end + 1, edits

    def _in_array(self, at: int, index: int, parts: Sequence[str], literal: str) -> tuple[int, list[_Edit]]:
        edits: list[_Edit] | None = None
        at, number = self.behind_blanks(at + 1), 0
        while self._text[at] != "]":
            if number == index:
                at, edits = self.edits(at, parts, literal)
            else:
                at = self._end(at)
            at, number = self.separated(at, "]"), number + 1
        if edits is None:
            raise JsonPlaceError("The JSON body has no place for the credential: its array is too short")
        return at + 1, edits

    def separated(self, at: int, closing: str) -> int:
        """Where the next member or element begins, or the bracket stands that closes the list."""
        at = self.behind_blanks(at)
        if self._text[at] == closing:
            return at
        if self._text[at] != ",":
            raise _no_json()
        at = self.behind_blanks(at + 1)
        if self._text[at] == closing:
            raise _no_json()
        return at

    def name(self, at: int) -> tuple[str, int]:
        """A member's name, and where its value begins."""
        if self._text[at] != '"':
            raise _no_json()
        name, at = self._whole.raw_decode(self._text, at)
        at = self.behind_blanks(at)
        if self._text[at] != ":":
            raise _no_json()
        return name, self.behind_blanks(at + 1)

    def ends(self, at: int) -> bool:
        """Whether an object is closed here."""
        return self._text[at] == "}"

    def behind_blanks(self, at: int) -> int:
        """The first place from here on where no white space stands."""
        text = self._text
        while text[at : at + 1] and text[at] in _BLANKS:
            at += 1
        return at

    def _end(self, at: int) -> int:
        return self._whole.raw_decode(self._text, at)[1]


class _Members:
    """The members of an object from `at` on: name, and where the value begins. Who takes one says where it ends."""

    def __init__(self, reader: _Reader, at: int) -> None:
        self.at = at
        self._reader = reader

    def __iter__(self) -> Iterator[tuple[str, int]]:
        while not self._reader.ends(self.at):
            yield self._reader.name(self.at)
            self.at = self._reader.separated(self.at, "}")


def _nested(parts: Sequence[str], literal: str) -> str:
    for part in reversed(parts):
        literal = f"{{{json.dumps(part, ensure_ascii=False)}:{literal}}}"
    return literal


def _refuse_constant(_: str) -> NoReturn:
    """NaN and Infinity, which Python reads and JSON does not know."""
    raise ValueError


def _no_json() -> JsonPlaceError:
    return JsonPlaceError("The credential goes into JSON, and this body is none")
