"""The DPoP nonces that servers asked for (RFC 9449 §8, §9): the latest of each origin, in memory only.

The authorization server and the resource servers have one object each: a nonce of one is refused by the other, even
where they share an origin.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_MOST_ORIGINS = 100
_NONCE = re.compile(rb"[\x21\x23-\x5b\x5d-\x7e]{1,1024}")
"""RFC 9449 §8.1: NQCHAR. The bound is ours; the nonce goes into a header field of every request."""


class Nonces:
    """The latest nonce of each origin. When full, the origin silent for longest is forgotten, and will ask again."""

    def __init__(self, most_origins: int = _MOST_ORIGINS) -> None:
        self._most_origins = most_origins
        self._latest: dict[str, str] = {}

    def of(self, origin: str) -> str | None:
        """The nonce for the next proof for this origin, or None."""
        return self._latest.get(origin)

    def learn(self, origin: str, fields: Iterable[tuple[bytes, bytes]]) -> bool:
        """Take the `DPoP-Nonce` of any answer, good or bad. True if it is new."""
        for name, value in fields:
            if len(name) == len(b"dpop-nonce") and name.lower() == b"dpop-nonce" and _NONCE.fullmatch(value):
                nonce = value.decode("ascii")
                before = self._latest.pop(origin, None)
                if len(self._latest) == self._most_origins:
                    del self._latest[next(iter(self._latest))]
                self._latest[origin] = nonce
                return nonce != before
        return False
