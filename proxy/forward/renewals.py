"""How often one route may ask for a renewal after a refusal.

An API that refuses fresh tokens too (its own key store is down, the audience is wrong) would otherwise turn every
request into a token request. A renewed token that is refused as well stops this route's renewals for a while, longer
each time, until one succeeds.
"""

from __future__ import annotations

_FIRST_PAUSE = 30.0
_LONGEST_PAUSE = 600.0


class Renewals:
    """Times are seconds of `Clock.elapsed`."""

    __slots__ = ("_pause", "_until")

    def __init__(self) -> None:
        self._pause = 0.0
        self._until = 0.0

    def allowed(self, now: float) -> bool:
        """Whether a refusal may lead to a renewal now."""
        return now >= self._until

    def refused_again(self, now: float) -> None:
        """The renewed token was refused too. Several requests that saw the same refusal lengthen the pause once."""
        if now < self._until:
            return
        self._pause = min(_LONGEST_PAUSE, self._pause * 2) if self._pause else _FIRST_PAUSE
        self._until = now + self._pause

    def succeeded(self) -> None:
        """A renewed token was accepted."""
        self._pause = self._until = 0.0
