"""Text to nodes, each with its place. Nothing is interpreted here: a scalar is its text and whether it was quoted.

Composed from PyYAML's events by a loop rather than by its recursive composer, so that deep nesting, alias bombs and
aliases that contain themselves end in a message. Bounds: 1 MiB of text, 64 levels, 100,000 nodes once aliases are
expanded. Anchors, aliases and merge keys are good; tags are refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import yaml
from msgspec import Struct

MAX_OCTETS = 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000

_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")  # what YAML 1.1 counts as the end of a line
_UNPRINTABLE = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"  # YAML 1.1 §5.1


class Span(Struct, frozen=True, order=True, gc=False):
    """A stretch of the text: lines and columns from 0, the end excluded."""

    line: int
    column: int
    end_line: int
    end_column: int


class YamlScalar(Struct, gc=False):
    """A scalar; `plain` if neither quoted nor a block. `visible`: it may be shown in messages."""

    weight: ClassVar[int] = 1

    text: str
    plain: bool
    span: Span
    visible: bool = False


class YamlSequence(Struct, frozen=True, gc=False):
    """A list."""

    items: tuple[YamlNode, ...]
    span: Span
    weight: int


class YamlMapping(Struct, frozen=True, gc=False):
    """`children`: key, value, key, value …, duplicates too. `inherited`: what `<<` merged in without the own keys."""

    children: tuple[YamlNode, ...]
    inherited: tuple[Pair, ...]
    span: Span
    weight: int

    @property
    def pairs(self) -> list[Pair]:
        """The mapping's own keys and values."""
        return list(zip(self.children[::2], self.children[1::2], strict=True))

    @property
    def entries(self) -> list[Pair]:
        """The own keys and values, and the inherited ones."""
        return [*self.pairs, *self.inherited]


YamlNode = YamlScalar | YamlSequence | YamlMapping
Pair = tuple[YamlNode, YamlNode]
"""A key and its value."""


class DocumentError(Exception):
    """The text is no YAML document of ours. `str()` is a sentence without any text of the file; `span` is the place."""

    def __init__(self, message: str, span: Span, hint: str | None = None) -> None:
        super().__init__(message)
        self.span = span
        self.hint = hint


class Document(NamedTuple):
    """`root` is None for an empty file; `scalars` are all scalars of the document."""

    root: YamlNode | None
    text: str
    scalars: list[YamlScalar]


def decode(octets: bytes) -> str:
    """UTF-8 to text, a byte order mark dropped. Raises DocumentError."""
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError as error:
        before = octets[: error.start].decode("utf-8", "replace")
        raise DocumentError("this is not UTF-8", _end_of(before), "save the file as UTF-8") from None
    return text.removeprefix("\ufeff")


def split_lines(text: str) -> list[str]:
    """Lines, with the line breaks of YAML 1.1."""
    return _LINE_BREAK.split(text)


def compose(text: str) -> Document:
    """Raises DocumentError."""
    if len(text) > MAX_OCTETS:
        raise DocumentError("the file is larger than 1 MiB", Span(0, 0, 0, 0))
    composer = _Composer()
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            composer.take(event)
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error) from None
    except yaml.YAMLError:  # from the reader, which takes printable characters only
        raise _unprintable(text) from None
    return Document(composer.root, text, composer.scalars)


def _unprintable(text: str) -> DocumentError:
    odd = re.search(_UNPRINTABLE, text)
    if odd is None:
        return DocumentError("this is not YAML", Span(0, 0, 0, 0))
    name = "NUL" if odd[0] == "\0" else f"U+{ord(odd[0]):04X}"
    return DocumentError(f"a {name} character cannot stand in YAML", _end_of(text[: odd.start()]))


def _end_of(text: str) -> Span:
    lines = split_lines(text)
    return Span(len(lines) - 1, len(lines[-1]), len(lines) - 1, len(lines[-1]))


_LOADER = getattr(yaml, "CLoader", yaml.SafeLoader)
"""Only its event parser is used. The one in Python reads the same language."""


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read yet."""

    event: yaml.CollectionStartEvent
    children: list[YamlNode]


class _Composer:
    """Builds the nodes of one document from events."""

    def __init__(self) -> None:
        self.root: YamlNode | None = None
        self.scalars: list[YamlScalar] = []
        self._texts: dict[str, str] = {}
        self._line = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, YamlNode | None] = {}  # None: not finished
        self._documents = 0

    def take(self, event: yaml.Event) -> None:
        """Add the next event. Raises DocumentError."""
        span = self._span(event)
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise DocumentError("a second document starts here; the configuration is one", span, "remove the `---`")
        elif isinstance(event, yaml.AliasEvent):
            self._add(self._resolve(event.anchor, span), span)
        elif isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent):
            self._begin(event, span)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close(span)

    def _begin(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, span: Span) -> None:
        if event.tag is not None:
            raise DocumentError("YAML tags (`!…`) are not used here", span, "remove the tag, or quote the value")
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            text = self._texts.setdefault(event.value, event.value)  # the names of keys stand in every credential
            scalar = YamlScalar(text, event.style in (None, ""), span)
            self.scalars.append(scalar)
            self._finish(scalar, event.anchor)
            return
        if len(self._open) >= MAX_DEPTH:
            raise DocumentError(f"nested more than {MAX_DEPTH} levels deep", span)
        self._open.append(_Open(event, []))

    def _close(self, end: Span) -> None:
        opened = self._open.pop()
        start = self._span(opened.event)
        span = Span(start.line, start.column, end.end_line, end.end_column)
        weight = 1 + sum(child.weight for child in opened.children)
        children = tuple(opened.children)
        node: YamlNode
        if isinstance(opened.event, yaml.SequenceStartEvent):
            node = YamlSequence(children, span, weight)
        else:
            node = _merged(YamlMapping(children, (), span, weight))
        if node.weight > MAX_NODES:
            raise DocumentError("too large once its aliases are expanded", start)
        self._finish(node, opened.event.anchor)

    def _finish(self, node: YamlNode, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        self._add(node, node.span)

    def _add(self, node: YamlNode, place: Span) -> None:
        if not self._open:
            self.root = node
            return
        children = self._open[-1].children
        children.append(node)
        if len(children) > MAX_NODES:
            raise DocumentError("too many entries", place)

    def _span(self, event: yaml.Event) -> Span:
        start, end = event.start_mark, event.end_mark
        if start is None or end is None:
            return Span(0, 0, 0, 0)
        if start.line != self._line:  # one number for all words of a line: the memory that reading takes is kept
            self._line = start.line
        return Span(self._line, start.column, self._line if end.line == self._line else end.line, end.column)

    def _resolve(self, anchor: str | None, span: Span) -> YamlNode:
        if anchor not in self._anchors:
            raise DocumentError("this alias (`*…`) names no anchor", span, "quote it if the `*` belongs to a value")
        node = self._anchors[anchor]
        if node is None:
            raise DocumentError("this alias (`*…`) stands inside what it stands for", span)
        return node


def _merged(node: YamlMapping) -> YamlMapping:
    """Merge keys (`<<`) resolved: a key of the mapping's own wins, then the earlier of the merged ones."""
    own: list[YamlNode] = []
    merged: list[YamlMapping] = []
    for key, value in node.pairs:
        if isinstance(key, YamlScalar) and key.plain and key.text == "<<":
            for source in value.items if isinstance(value, YamlSequence) else [value]:
                if not isinstance(source, YamlMapping):
                    raise DocumentError("`<<` takes a mapping, or a list of mappings", key.span)
                merged.append(source)
        else:
            own += key, value
    if not merged:
        return node
    taken = {key.text for key in own[::2] if isinstance(key, YamlScalar)}
    inherited: list[Pair] = []
    for source in merged:
        fresh = [pair for pair in source.entries if getattr(pair[0], "text", None) not in taken]
        taken.update(key.text for key, _ in fresh if isinstance(key, YamlScalar))
        inherited += fresh
    return YamlMapping(tuple(own), tuple(inherited), node.span, node.weight)


_SYNTAX = (
    ("unexpected end of stream", "this quote is never closed", None),
    ("mapping values are not allowed", "a `key:` cannot stand here", "check the indentation, or quote the value"),
    ("cannot start any token", "no value can start like this", "quote it; indent with spaces, not tabs"),
    ("did not find expected ',' or", "`,` or the closing bracket is missing", None),
    ("expected ',' or", "`,` or the closing bracket is missing", None),
    ("escape", "this is no escape sequence within double quotes", "use single quotes, or write \\\\ for a backslash"),
    ("expected key", "this does not fit the lines above", "check the indentation and the quotes"),
    ("block end", "this does not fit the lines above", "check the indentation and the quotes"),
    ("indicator", "this does not fit the lines above", "check the indentation and the quotes"),
)


def _syntax_error(error: yaml.MarkedYAMLError) -> DocumentError:
    """PyYAML's message in our words: its own may quote the file, and a secret with it."""
    problem = error.problem or ""
    mark = error.problem_mark or error.context_mark
    message, hint = next(
        ((known, advice) for sign, known, advice in _SYNTAX if sign in problem),
        ("this is not YAML", "check the indentation and the quotes"),
    )
    if "end of stream" in problem:
        mark = error.context_mark or mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    return DocumentError(message, Span(line, column, line, column), hint)
