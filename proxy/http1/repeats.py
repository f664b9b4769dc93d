"""A small cache of parsed heads, by their octets.

An app sends nearly the same fields with every request, and many APIs answer with the same head within a second. A head
is kept when it comes the second time, so that heads which never repeat (a request id, a trace) cost one look-up only.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

_MOST_KEPT = 256
_LARGEST_KEPT = 2048
_MOST_GLIMPSED = 4096
_PER_NOTE = 200
"""Octets that a piece costs beside its content: the object, its key, its entry."""


class Repeats(Generic[T]):
    """Parsed heads by their octets; bounded, and emptied as a whole when full."""

    def __init__(self) -> None:
        self._kept: dict[bytes, T] = {}
        self._glimpsed: set[int] = set()
        self.get = self._kept.get
        self.clear = self._kept.clear

    def __len__(self) -> int:
        """The number of heads kept."""
        return len(self._kept)

    def offer(self, octets: bytes, reading: T) -> bool:
        """Keep a parsed head if these octets have come before. Returns whether it is kept."""
        key = hash(octets)
        if key not in self._glimpsed:
            if len(self._glimpsed) >= _MOST_GLIMPSED:
                self._glimpsed.clear()
            self._glimpsed.add(key)
        elif len(octets) <= _LARGEST_KEPT:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[octets] = reading
            return True
        return False


class Notes:
    """Octets derived from parsed heads: for each head one piece per route that asks, bounded over all heads.

    The bound is in octets, because there may be many heads and routes; all pieces are dropped when it is reached.
    """

    def __init__(self, most: int = 4 * 1024 * 1024) -> None:
        self._most = most
        self._on: list[dict[object, bytes]] = []
        self.size = 0

    def keep(self, notes: dict[object, bytes], who: object, octets: bytes) -> None:
        """Keep a piece of one head."""
        size = len(octets) + _PER_NOTE
        if self.size + size > self._most:
            self.clear()
        if not notes:
            self._on.append(notes)
        notes[who] = octets
        self.size += size

    def clear(self) -> None:
        """Drop them all."""
        for notes in self._on:
            notes.clear()
        self._on.clear()
        self.size = 0
