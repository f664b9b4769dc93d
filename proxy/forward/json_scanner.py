"""Where the strings at given JSON pointers stand in a text: what is passed over is neither read nor made into objects.

A text of 1 MiB may hold half a million values, and the event loop waits while it is searched. So whole values are
passed over by compiled patterns, in one pass for all pointers; the interpreter is busy only with the members that
pointers name. Every quantifier is possessive: no octet is looked at twice, whatever the text holds.

Valid JSON is found right (RFC 8259). What is none, is nested more deeply than `DEEPEST` in what is passed over, or
repeats the names that pointers hold more than `MOST_STOPS` times, is given up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache

from proxy.config.json_pointer import index_of, parts_of

DEEPEST = 32
MOST_STOPS = 4096
LONGEST = 1024 * 1024
"""Octets of a text; no array in one has as many elements."""

Span = tuple[int, int]
"""Where a string's literal begins and ends, quotation marks included."""

_WS = rb"[ \t\r\n]*+"
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_PLAIN = rb'[^\[\]{}"]*+'


def _container(deepest: int) -> bytes:
    """A value in brackets or braces. One that is nested too deeply takes the rest of the text, so that no end fits."""
    inner = rb"[\[{].*"
    for _ in range(deepest):
        inner = rb"[\[{]" + _PLAIN + rb"(?:(?:" + _STRING + rb"|" + inner + rb")" + _PLAIN + rb")*+[\]}]"
    return inner


_VALUE = rb"(?:" + _STRING + rb"|" + _container(DEEPEST) + rb'|[^\[\]{}",:\s]++)'
_BEHIND = {closing: _WS + rb"(?:," + _WS + rb"|(?=" + re.escape(closing) + rb"))" for closing in (b"}", b"]")}


@lru_cache(maxsize=256)
def _compiled(pattern: bytes) -> re.Pattern[bytes]:
    """Compiled once it is needed: a pattern that knows whole values takes some milliseconds."""
    return re.compile(pattern, re.DOTALL)


_A_STRING = _compiled(_STRING)
_SPACE = _compiled(_WS)
_COLON = _compiled(_WS + rb":" + _WS)
_NEXT_MEMBER, _NEXT_ELEMENT = _compiled(_BEHIND[b"}"]), _compiled(_BEHIND[b"]"])


class _GivenUpError(Exception):
    """No JSON, or too much of it."""


class JsonScanner:
    """Finds the strings at some pointers (RFC 6901); in objects that repeat a name, at each of its members."""

    def __init__(self, pointers: Iterable[str]) -> None:
        self._root = _Node()
        for pointer in pointers:
            node = self._root
            for part in parts_of(pointer):
                node = node.members.setdefault(part, _Node())
            node.wanted = True
        self._root.prepare()

    def strings(self, text: bytes) -> list[Span]:
        """Where they stand, in their order; none where the text is no JSON or is given up."""
        scan = _Scan(text)
        try:
            scan.value(scan.behind(_SPACE, 3 if text.startswith(b"\xef\xbb\xbf") else 0), self._root)
        except (_GivenUpError, IndexError, RecursionError):
            return []
        return scan.found


class _Node:
    """A place that pointers lead to (`wanted`) or through (`members`).

    `others`: members of an object up to the next that has, or may have, a name that is asked for. `gaps`: the elements
    of an array before each one that is asked for, and that one's node; `rest`: all others to its end.
    """

    __slots__ = ("gaps", "members", "others", "rest", "wanted")

    def __init__(self) -> None:
        self.wanted = False
        self.members: dict[str, _Node] = {}
        self.others: re.Pattern[bytes]
        self.rest: re.Pattern[bytes]
        self.gaps: list[tuple[re.Pattern[bytes], _Node]] = []

    def prepare(self) -> None:
        """Compile what passes over everything that no pointer names."""
        if not self.members:
            return
        names = [re.escape(name.encode("utf-8", "surrogatepass")) for name in sorted(self.members)]
        asked_for = rb'"(?:(?:' + b"|".join(names) + rb')"|[^"\\]*+\\)'  # a name with an escape in it may be any
        member = rb"(?!" + asked_for + rb")" + _STRING + _WS + rb":" + _WS + _VALUE + _BEHIND[b"}"]
        self.others = _compiled(rb"(?:" + member + rb")*+")
        element, done = _VALUE + _BEHIND[b"]"], 0
        self.rest = _compiled(rb"(?:" + element + rb")*+\]")
        indexes = sorted((index, name) for name in self.members if (index := index_of(name)) is not None)
        for index, name in indexes:
            if index < LONGEST:
                between = index - done - 1  # and one more, which tells that there are as many
                gap = rb"(?:" + element + rb"){0,%d}+(?P<last>" % between + element + rb")?" if between >= 0 else b""
                self.gaps.append((_compiled(gap), self.members[name]))
                done = index + 1
        for node in self.members.values():
            node.prepare()


class _Scan:
    """One text on its way."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._stops = 0
        self.found: list[Span] = []

    def behind(self, pattern: re.Pattern[bytes], at: int) -> int:
        """Where what the pattern takes ends. Raises _GivenUpError where it does not stand here."""
        match = pattern.match(self._text, at)
        if match is None:
            raise _GivenUpError
        return match.end()

    def value(self, at: int, node: _Node | None) -> int:
        """Where the value ends that begins here."""
        first = self._text[at : at + 1]
        if node is not None and node.members and first == b"{":
            return self._object(at, node)
        if node is not None and node.gaps and first == b"[":
            return self._array(at, node)
        end = self.behind(_compiled(_VALUE), at)
        if node is not None and node.wanted and first == b'"':
            self.found.append((at, end))
        return end

    def _object(self, at: int, node: _Node) -> int:
        text = self._text
        at = self.behind(_SPACE, at + 1)
        while True:
            at = self.behind(node.others, at)
            if text[at : at + 1] == b"}":
                return at + 1
            end = self.behind(_A_STRING, at)
            name = string_of(text[at:end])
            member = node.members.get(name) if name is not None else None
            self._stops += 1
            if self._stops > MOST_STOPS or (member is None and b"\\" not in text[at:end]):
                raise _GivenUpError
            at = self.value(self.behind(_COLON, end), member)
            at = self.behind(_NEXT_MEMBER, at)

    def _array(self, at: int, node: _Node) -> int:
        text = self._text
        at = self.behind(_SPACE, at + 1)
        for gap, element in node.gaps:
            match = gap.match(text, at)
            at = match.end() if match is not None else at
            if text[at : at + 1] == b"]":
                return at + 1
            if match is None or (gap.groups and match["last"] is None):
                raise _GivenUpError
            at = self.behind(_NEXT_ELEMENT, self.value(at, element))
        return self.behind(node.rest, at)


def string_of(literal: bytes) -> str | None:
    """What a string's literal says; None where it is none."""
    try:
        value = json.loads(literal.decode("utf-8"))
    except ValueError:
        return None
    return value if isinstance(value, str) else None
