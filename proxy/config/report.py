"""Problems as text and as JSON.

    config.yaml:7:5: unknown key `token_endpont` in credentials.crm
        token_endpont: https://login.example/token
        ^
      did you mean `token_endpoint`?

No part of a problem holds a secret: excerpts are masked before they come here (`excerpt.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct

from proxy.errors import ConfigurationError


class Problem(Struct, frozen=True, kw_only=True):
    """One mistake, or one doubt. `line` and `column` count from 1; `path` is the key's, `credentials.crm.scope`.

    `excerpt` is the offending line with secrets masked; `caret` counts its columns from 0.
    """

    file: str
    line: int
    column: int
    path: str
    message: str
    hint: str | None = None
    severity: Literal["error", "warning"] = "error"
    excerpt: str = ""
    caret: int = 0


class InvalidConfigurationError(ConfigurationError):
    """The file holds errors: `problems`, warnings included. `str()` is the whole report."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(render(self.problems))


def render(problems: Iterable[Problem]) -> str:
    """The report for people; no line break at its end."""
    return "\n".join(_render_one(problem) for problem in problems)


def to_json(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """The report for programs: JSON objects with file, line, column, path, message, hint, severity."""
    keys = ("file", "line", "column", "path", "message", "hint", "severity")
    return [{key: getattr(problem, key) for key in keys} for problem in problems]


def _render_one(problem: Problem) -> str:
    kind = "warning: " if problem.severity == "warning" else ""
    lines = [f"{problem.file}:{problem.line}:{problem.column}: {kind}{problem.message}"]
    if problem.excerpt.strip():
        lines += [f"    {problem.excerpt}", f"    {' ' * problem.caret}^"]
    if problem.hint:
        lines.append(f"  {problem.hint}")
    return "\n".join(lines)
