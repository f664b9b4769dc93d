"""The line of the file that a problem is about, with everything masked that is not known to be harmless.

A scalar is shown only if it is a known key or the value of a key whose type cannot hold a secret. Comments are
left out.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from proxy.config.document import Span, YamlScalar

MASK = "***"
_WIDTH = 110
_NEAR = 1000  # words further off would be cut away anyhow
_INDENT = re.compile(r"[ \t]*(?:- +)*")
_KEY = re.compile(r"([A-Za-z0-9_]+) *:(?= |$)")
_STRUCTURE = re.compile(r"[][{},:?|> \t'\"-]+")


def excerpt(lines: list[str], span: Span, words: Iterable[YamlScalar], known: Collection[str]) -> tuple[str, int]:
    """The line where `span` starts, and the column of its caret.

    `words`: all scalars of the file; `known`: texts that are harmless everywhere, the names of keys.
    """
    if span.line >= len(lines):
        return "", 0
    text = lines[span.line]
    shown = _Line(span.column)
    crossing = [word for word in words if word.span.line <= span.line <= word.span.end_line]
    visible = {word.span for word in crossing if word.visible}
    here = sorted(word.span for word in crossing)
    near = [word for word in here if word.line < span.line or abs(word.column - span.column) < _NEAR]
    position = near[0].column if near and near[0] is not here[0] and near[0].line == span.line else 0
    for word in near:
        start = word.column if word.line == span.line else 0
        end = word.end_column if word.end_line == span.line else len(text)
        if start < position or end <= start:
            continue
        if not _gap(shown, text, position, start):
            return shown.windowed()
        piece = text[start:end]
        _take(shown, piece if word in visible or piece in known else MASK, start, end)
        position = end
    _gap(shown, text, position, len(text) if len(near) == len(here) else position)
    return shown.windowed()


def masked_line(lines: list[str], span: Span, keys: Collection[str]) -> tuple[str, int]:
    """The line of a text that could not be parsed: a known key at its start is shown, all else is masked."""
    if span.line >= len(lines):
        return "", 0
    text = lines[span.line]
    indent = _INDENT.match(text)
    kept = indent[0] if indent else ""
    if (key := _KEY.match(text, len(kept))) and key[1] in keys:
        kept += key[0]
    shown = _Line(span.column)
    _take(shown, kept, 0, len(kept))
    if text[len(kept) :].strip():
        _take(shown, f" {MASK}" if kept.endswith(":") else MASK, len(kept), len(text))
    return shown.windowed()


class _Line:
    """The shown line while it is built. `caret`: the position in it of the column that the problem is at."""

    def __init__(self, column: int) -> None:
        self.text = ""
        self.column = column
        self.caret: int | None = None

    def windowed(self) -> tuple[str, int]:
        """The line without indentation, cut around the caret if it is long, and the caret's position."""
        caret = len(self.text) if self.caret is None else self.caret
        text = re.sub(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\ufefe]", " ", self.text)
        indent = min(len(text) - len(text.lstrip()), caret)
        text, caret = text[indent:].rstrip(), caret - indent
        if caret > _WIDTH - 20:
            cut = caret - 40
            text, caret = "…" + text[cut:], caret - cut + 1
        if len(text) > _WIDTH:
            text = text[: _WIDTH - 1] + "…"
        return text, caret


def _take(shown: _Line, piece: str, start: int, end: int) -> None:
    if shown.caret is None and start <= shown.column < max(end, start + 1):
        inside = shown.column - start if len(piece) == end - start else 0
        shown.caret = len(shown.text) + inside
    shown.text += piece


def _gap(shown: _Line, text: str, start: int, end: int) -> bool:
    """Add what stands between two scalars: punctuation as it is, anchors and the like masked. False at a comment."""
    position = start
    while position < end:
        if text[position] == "#" and (position == 0 or text[position - 1] in " \t"):
            return False
        found = _STRUCTURE.match(text, position, end)
        if found:
            _take(shown, found[0], position, found.end())
            position = found.end()
            continue
        stop = position + 1
        while stop < end and not _STRUCTURE.match(text, stop, end):
            stop += 1
        _take(shown, MASK, position, stop)
        position = stop
    return True
