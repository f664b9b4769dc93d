"""What came before in the same octets, and what was made of it: a small memory for heads that repeat themselves.

An app sends nearly the same fields with every request, and many an API answers with the very same head within a second.
Only what has come a second time is kept, so that heads of which each is its own (a request id, a trace) cost no more
than a look.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

_MOST_KEPT = 256
_LARGEST_KEPT = 2048
_MOST_GLIMPSED = 4096
_PER_NOTE = 200
"""Octets that a note costs besides its own: its object, its key, its place."""


class Repeats(Generic[T]):
    """Readings by the octets that they were made of; bounded, and emptied as a whole when full."""

    def __init__(self) -> None:
        self._kept: dict[bytes, T] = {}
        self._glimpsed: set[int] = set()
        self.get = self._kept.get
        self.clear = self._kept.clear

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def offer(self, octets: bytes, reading: T) -> bool:
        """Keep the reading if these octets have come before. Whether it is kept."""
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
    """Octets that are made of readings, one note on each reading for everybody who asks, bounded over all of them.

    The bound is in octets, because readings times routes may be many; all notes are dropped when it is reached.
    """

    def __init__(self, most: int = 4 * 1024 * 1024) -> None:
        self._most = most
        self._on: list[dict[object, bytes]] = []
        self.size = 0

    def keep(self, notes: dict[object, bytes], who: object, octets: bytes) -> None:
        """Put them among the notes on one reading."""
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
