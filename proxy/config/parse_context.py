"""The state of reading one file: its problems, the places of its keys, what may be shown of it.

One mistake is reported once: a key that cannot be read, is misspelt or is missing is remembered in `broken`, and rules
that depend on it report nothing.
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
"""The path of a value: names of keys, positions in lists."""

MAX_PROBLEMS = 200
_ENOUGH = 1000


def spelled(path: KeyPath) -> str:
    """A path as messages have it: `routes[0].upstream`."""
    text = ""
    for part in path:
        name = f"[{part}]" if isinstance(part, int) else word(part)
        text += f".{name}" if text and isinstance(part, str) else name
    return text


class ParseContext:
    """The state of reading one file. `name` is what the file is called in messages."""

    def __init__(self, name: str, document: Document, directory: Path, environ: Mapping[str, str]) -> None:
        self.name = name
        self.directory = directory
        self.environ = environ
        self.known: AbstractSet[str] = frozenset()  # the keys of the schema: they may be shown anywhere
        self.broken: set[KeyPath] = set()
        self.written: dict[KeyPath, str] = {}  # strings as the file has them, where loading changes them
        self._document = document
        self._places = Places(document.root)
        self._problems: dict[tuple[Span, str], tuple[KeyPath, str | None, Literal["error", "warning"]]] = {}

    # ---- what is reported ------------------------------------------------------------------------------------------

    def error(self, span: Span, path: KeyPath, message: str, hint: str | None = None) -> None:
        """Report an error at a place. The value at `path` counts as broken from now on."""
        self._problems.setdefault((span, message), (path, hint, "error"))
        self.broken.add(path)

    def refuse(self, path: KeyPath, message: str, hint: str | None = None, *, needs: Iterable[KeyPath] = ()) -> None:
        """Report an error in the value at `path`, unless that value or one of `needs` is broken."""
        if self.sound(path) and all(map(self.sound, needs)):
            self._problems.setdefault((self.place(path).value, message), (path, hint, "error"))

    def warn(self, path: KeyPath, message: str, hint: str | None = None) -> None:
        """Report a warning about the value at `path`, unless that value is broken."""
        if self.sound(path):
            self._problems.setdefault((self.place(path).value, message), (path, hint, "warning"))

    # ---- what is asked --------------------------------------------------------------------------------------------

    def sound(self, path: KeyPath) -> bool:
        """Whether the value at `path` and everything around it could be read."""
        return not any(path[:length] in self.broken for length in range(len(path) + 1))

    def given(self, path: KeyPath) -> bool:
        """Whether the file has this key, readable or not."""
        return path in self._places or path in self.broken

    def place(self, path: KeyPath) -> SourcePosition:
        """The position of a value, or of the nearest key around it."""
        return self._places.nearest(path)

    @property
    def hopeless(self) -> bool:
        """Whether there are so many problems that suggestions would cost too much time."""
        return len(self._problems) > _ENOUGH

    # ---- what comes out --------------------------------------------------------------------------------------------

    def problems(self) -> list[Problem]:
        """The first `MAX_PROBLEMS` problems in the order of the file, errors first, with masked excerpts."""
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
