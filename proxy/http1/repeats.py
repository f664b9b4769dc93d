"""What came before in the same octets: a small memory for heads that repeat themselves.

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

    def offer(self, octets: bytes, reading: T) -> None:
        """Keep the reading if these octets have come before."""
        key = hash(octets)
        if key not in self._glimpsed:
            if len(self._glimpsed) >= _MOST_GLIMPSED:
                self._glimpsed.clear()
            self._glimpsed.add(key)
        elif len(octets) <= _LARGEST_KEPT:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[octets] = reading
