"""What the contract names and this version does not do yet: refused with its place, never ignored.

One line per feature; building a feature means deleting its line. A line is a path, `*` standing for any one part, that
must not be given a value other than its default; or, with `=`, a value (`*` and `?` as in file names) that must not
stand there. `<secret>` stands for every secret reference.
"""

from __future__ import annotations

from collections import defaultdict
from fnmatch import fnmatchcase
from typing import NamedTuple

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.schema import Config, Secret
from proxy.config.tree import Value, every

NOT_IMPLEMENTED: tuple[str, ...] = (
    # what `login` will need
    "credentials.*.authorization_endpoint",
    "credentials.*.device_authorization_endpoint",
    "credentials.*.redirect_port",
)


class _Pattern(NamedTuple):
    """A line of `NOT_IMPLEMENTED`, taken apart."""

    parts: tuple[str, ...]
    value: str | None

    def matches(self, found: Value) -> bool:
        """Whether this is a value that must not stand there."""
        if self.parts[0] == "<secret>":
            if not isinstance(found.owner, Secret):
                return False
        elif len(found.path) != len(self.parts) or not all(map(_same, found.path, self.parts)):
            return False
        if self.value is None:
            return bool(found.value != found.default)
        return fnmatchcase(str(found.value), self.value)


def refuse_not_implemented(config: Config, context: ParseContext, later: tuple[str, ...]) -> None:
    """Reports whatever of the file this version does not do."""
    patterns: dict[str, list[_Pattern]] = defaultdict(list)
    for line in later:
        path, equals, value = line.partition("=")
        parts = tuple(path.split("."))
        patterns[parts[-1]].append(_Pattern(parts, value if equals else None))
    for found in every(config):
        for pattern in patterns.get(str(found.path[-1]), ()):
            if pattern.matches(found):
                _refuse(context, found.path, pattern)


def _refuse(context: ParseContext, path: KeyPath, pattern: _Pattern) -> None:
    what = f"`{path[-1]}`" if isinstance(path[-1], str) else "a second one"
    if pattern.value is not None:
        what += f" {pattern.value.removesuffix('*')}" if pattern.value.endswith("*") else f": {pattern.value}"
    context.refuse(path, f"{what} is not built yet", "this version does not have it; see CHANGELOG.md")


def _same(part: str | int, pattern: str) -> bool:
    return pattern in ("*", str(part))
