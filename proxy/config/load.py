"""The entry point of this package: from a file to structs, or to one report of all its mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.config.document import MAX_OCTETS, DocumentError, YamlScalar, compose, decode, split_lines
from proxy.config.effective import completed
from proxy.config.excerpt import masked_line
from proxy.config.parse_context import KeyPath, ParseContext, spelled
from proxy.config.redacted import redacted
from proxy.config.report import InvalidConfigurationError, Problem
from proxy.config.rules import judge
from proxy.config.schema import Config
from proxy.config.walker import KEYS, read
from proxy.errors import ConfigurationError


@dataclass(frozen=True)
class Loaded:
    """A configuration that can be used.

    `shown`: the effective configuration as JSON values for people: defaults filled in, `${NAME}` as written, secrets
    masked. `directory`: what relative paths of the file were resolved against. `written`: strings as the file has them,
    where loading changes them, by path.
    """

    config: Config
    warnings: tuple[Problem, ...]
    directory: Path
    written: Mapping[KeyPath, str] = field(repr=False)

    @property
    def shown(self) -> dict[str, Any]:
        """Made when somebody asks: the file may hold thousands of credentials, and people rarely look."""
        return redacted(self.config, self.written)


def load(path: Path, environ: Mapping[str, str]) -> Loaded:
    """The configuration in a file.

    Raises ConfigurationError (`InvalidConfigurationError`, with `problems`): whatever is wrong with it, the file not
    being there included.
    """
    return load_text(_text(path), name=str(path), directory=path.absolute().parent, environ=environ)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "no such path").lower()
        raise InvalidConfigurationError([_unplaced(str(path), f"cannot be read: {reason}")]) from None
    if len(octets) > MAX_OCTETS:
        raise InvalidConfigurationError([_unplaced(str(path), "the file is larger than 1 MiB")])
    try:
        return decode(octets)
    except DocumentError as error:
        raise _undocumented(str(path), octets.decode("utf-8", "replace"), error) from None


def load_text(
    text: str,
    *,
    name: str,
    directory: Path,
    environ: Mapping[str, str],
) -> Loaded:
    """The configuration in a text. `name` is what messages call it; `directory` is absolute.

    Raises ConfigurationError (`InvalidConfigurationError`, with `problems`).
    """
    try:
        document = compose(text)
    except DocumentError as error:
        raise _undocumented(name, text, error) from None
    if document.root is None or (isinstance(document.root, YamlScalar) and not document.root.text):
        raise InvalidConfigurationError(
            [_unplaced(name, "the file is empty", "start with `routes:` and `credentials:`")]
        )
    context = ParseContext(name, document, directory, environ)
    config = completed(read(document.root, context), context)
    judge(config, context)
    problems = context.problems()
    if any(problem.severity == "error" for problem in problems):
        raise InvalidConfigurationError(problems)
    return Loaded(config, tuple(problems), directory, context.written)


def located(path: Path, environ: Mapping[str, str], errors: Iterable[ConfigurationError]) -> InvalidConfigurationError:
    """Errors that were found when the runtime was built, as a report with places like that of the loader.

    The file is read again for that: the places of valid values are not kept.
    """
    try:
        document = compose(_text(path)) if path.is_file() else None  # reading a pipe could block for ever
    except (ConfigurationError, DocumentError):
        document = None
    if document is None or document.root is None:
        told = (f"{spelled(error.at)}: {error}" if error.at else str(error) for error in errors)
        return InvalidConfigurationError([_unplaced(str(path), message) for message in told])
    context = ParseContext(str(path), document, path.absolute().parent, environ)
    read(document.root, context)
    for error in errors:
        context.error(context.place(error.at).key, error.at, str(error))
    return InvalidConfigurationError(context.problems())


def _undocumented(name: str, text: str, error: DocumentError) -> InvalidConfigurationError:
    line, caret = masked_line(split_lines(text), error.span, KEYS)
    problem = Problem(
        file=name,
        line=error.span.line + 1,
        column=error.span.column + 1,
        path="",
        message=str(error),
        hint=error.hint,
        excerpt=line,
        caret=caret,
    )
    return InvalidConfigurationError([problem])


def _unplaced(name: str, message: str, hint: str | None = None) -> Problem:
    return Problem(file=name, line=1, column=1, path="", message=message, hint=hint)
