"""What is known of one file while it is read: its problems, the places of its keys, what may be shown of it.

One mistake is reported once: a key that is broken (or misspelt, or missing) is remembered in `broken`, and whatever
depends on it stays silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Literal

from proxy.config.document import Document, Span, split_lines
from proxy.config.excerpt import excerpt
from proxy.config.places import Places, SourcePosition
from proxy.config.report import Problem
from proxy.config.spelling import word

KeyPath = tuple[str | int, ...]
"""Where a value stands: names of keys, positions in lists."""

MAX_PROBLEMS = 200
_ENOUGH = 1000


def spelled(path: KeyPath) -> str:
    """A path for people: `routes[0].upstream`."""
    text = ""
    for part in path:
        name = f"[{part}]" if isinstance(part, int) else word(part)
        text += f".{name}" if text and isinstance(part, str) else name
    return text


class ParseContext:
    """One file in the course of being read. `name` is what the file is called in messages."""

    def __init__(self, name: str, document: Document, directory: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self.directory = directory
        self.environ = environ
        self.known: AbstractSet[str] = (
            frozenset()
        )  # words that are harmless wherever they stand: the keys of the schema
        self.broken: set[KeyPath] = set()
        self.written: dict[KeyPath, str] = {}  # strings as the file has them, where loading changes them
        self._document = document
        self._places = Places(document.root)
        self._problems: dict[tuple[Span, str], tuple[KeyPath, str | None, Literal["error", "warning"]]] = {}

    # ---- what readers say ------------------------------------------------------------------------------------------

    def error(self, span: Span, path: KeyPath, message: str, hint: str | None = None) -> None:
        """A mistake at a place. The value at `path` is broken from now on."""
        self._problems.setdefault((span, message), (path, hint, "error"))
        self.broken.add(path)

    def refuse(self, path: KeyPath, message: str, hint: str | None = None, *, needs: Iterable[KeyPath] = ()) -> None:
        """A mistake in what the value at `path` says. Silent where it, or anything in `needs`, is broken already."""
        if self.sound(path) and all(map(self.sound, needs)):
            self._problems.setdefault((self.place(path).value, message), (path, hint, "error"))

    def warn(self, path: KeyPath, message: str, hint: str | None = None) -> None:
        """A doubt about the value at `path`."""
        if self.sound(path):
            self._problems.setdefault((self.place(path).value, message), (path, hint, "warning"))

    # ---- what readers ask ------------------------------------------------------------------------------------------

    def sound(self, path: KeyPath) -> bool:
        """Whether the value at `path`, and all that it stands in, could be read."""
        return not any(path[:length] in self.broken for length in range(len(path) + 1))

    def given(self, path: KeyPath) -> bool:
        """Whether the file has this key (however broken)."""
        return path in self._places or path in self.broken

    def place(self, path: KeyPath) -> SourcePosition:
        """Where a value stands, or the nearest key around it."""
        return self._places.nearest(path)

    @property
    def hopeless(self) -> bool:
        """Whether so much is wrong that looking for what was meant costs more than it helps."""
        return len(self._problems) > _ENOUGH

    # ---- what comes out --------------------------------------------------------------------------------------------

    def problems(self) -> list[Problem]:
        """All problems in the order of the file, the first `MAX_PROBLEMS` of them, masked and ready to be printed."""
        found = sorted(self._problems.items(), key=lambda item: (item[1][2] == "warning", item[0]))[:MAX_PROBLEMS]
        reported = {span.line for (span, _), _ in found}
        words = [w for w in self._document.scalars if w.span.line in reported or w.span.end_line > w.span.line]
        lines = split_lines(self._document.text) if found else []
        return [
            self._problem(span, message, *rest, excerpt(lines, span, words, self.known))
            for (span, message), rest in found
        ]

    def _problem(
        self,
        span: Span,
        message: str,
        path: KeyPath,
        hint: str | None,
        severity: Literal["error", "warning"],
        shown: tuple[str, int],
    ) -> Problem:
        text, caret = shown
        return Problem(
            file=self.name,
            line=span.line + 1,
            column=span.column + 1,
            path=spelled(path),
            message=message,
            hint=hint,
            severity=severity,
            excerpt=text,
            caret=caret,
        )
