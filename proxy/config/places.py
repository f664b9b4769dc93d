"""The position of the value at a path. It is looked up in the nodes on demand: only problems need it."""

from __future__ import annotations

from typing import NamedTuple

from proxy.config.document import Pair, Span, YamlMapping, YamlNode, YamlScalar, YamlSequence

_LARGE = 64
_NOWHERE = YamlScalar("", plain=True, span=Span(0, 0, 0, 0))


class SourcePosition(NamedTuple):
    """The positions of a key and its value; for an item of a list both are the item's."""

    key: Span
    value: Span


class Places:
    """The positions of all values of a document. `root`: None for an empty one."""

    def __init__(self, root: YamlNode | None) -> None:
        self._root = root or _NOWHERE
        self._indexes: dict[int, dict[str, Pair]] = {}  # of large mappings, by id()

    def __contains__(self, path: tuple[str | int, ...]) -> bool:
        """Whether the document has a value at this path."""
        return self._follow(path)[1] == len(path)

    def nearest(self, path: tuple[str | int, ...]) -> SourcePosition:
        """The position of a value, or of the nearest key around it."""
        (key, value), _ = self._follow(path)
        return SourcePosition(key.span, value.span)

    def _follow(self, path: tuple[str | int, ...]) -> tuple[Pair, int]:
        """The last entry on the path that exists, and the number of steps to it."""
        entry: Pair = (self._root, self._root)
        for steps, part in enumerate(path):
            further = self._step(entry[1], part)
            if further is None:
                return entry, steps
            entry = further
        return entry, len(path)

    def _step(self, node: YamlNode, part: str | int) -> Pair | None:
        if isinstance(part, int):
            items = node.items if isinstance(node, YamlSequence) else (node,)
            return (items[part], items[part]) if part < len(items) else None
        if not isinstance(node, YamlMapping):
            return None
        if len(node.children) < _LARGE:
            return _index(node).get(part)
        if id(node) not in self._indexes:
            self._indexes[id(node)] = _index(node)
        return self._indexes[id(node)].get(part)


def _index(node: YamlMapping) -> dict[str, Pair]:
    """Entries by name; the first of duplicates."""
    entries: dict[str, Pair] = {}
    for key, value in node.entries:
        if isinstance(key, YamlScalar):
            entries.setdefault(key.text, (key, value))
    return entries
