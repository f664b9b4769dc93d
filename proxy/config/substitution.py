"""`${NAME}` and `${NAME:-default}` in ordinary strings.

Done after parsing, so that a value cannot change the structure of the file.
`$${` stands for a literal `${`; any other `$` is a `$`. Defaults are literal and hold no `}`. `NAME` set but empty
counts as set without a default and as unset with one, as in a shell.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|\$\{")


class SubstitutionError(ValueError):
    """`str()` is a sentence; `name` is the variable that is not set, or None for a malformed reference."""

    def __init__(self, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.name = name


def has_reference(text: str) -> bool:
    """Whether substitution would change or refuse the text."""
    return "${" in text


def substitute(text: str, environ: Mapping[str, str]) -> str:
    """Raises SubstitutionError."""

    def value(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        name, default = found[1], found[2]
        if name is None:
            raise SubstitutionError(
                "this `${` is no reference: write ${NAME}, ${NAME:-default}, or $${ for a literal ${"
            )
        if default is not None:
            return environ.get(name) or default
        if name not in environ:
            raise SubstitutionError(f"the environment variable {name} is not set", name)
        return environ[name]

    return _REFERENCE.sub(value, text) if has_reference(text) else text


def masked_path(written: str, environ: Mapping[str, str], mask: str) -> str:
    """A URL whose path shows no value of a variable: what came from one is `mask` there.

    Scheme and host are what they are: they say where requests go. Raises SubstitutionError.
    """
    text, marks, at = "", [], 0
    for found in _REFERENCE.finditer(written):
        text += written[at : found.start()]
        value = substitute(found[0], environ)
        if found[0] != "$${":
            marks.append((len(text), len(text) + len(value)))
        text, at = text + value, found.end()
    text += written[at:]
    path = text.find("/", text.find("://") + 3) + 1
    for start, end in reversed(marks) if path else ():
        if end > (begin := max(start, path)):
            text = text[:begin] + mask + text[end:]
    return text
