"""How often one route may ask for a renewal after a refusal.

An API that refuses fresh tokens too (its own key store is down, the audience is wrong) would otherwise turn every
request into a token request. A renewed token that is refused as well stops this route's renewals for a while, longer
each time, until one succeeds.
"""

from __future__ import annotations

from proxy.tokens.policy import route_hold


class Renewals:
    """Times are seconds of `Clock.elapsed`."""

    __slots__ = ("_refusals", "_until")

    def __init__(self) -> None:
        self._refusals = 0
        self._until = 0.0

    def allowed(self, now: float) -> bool:
        """Whether a refusal may lead to a renewal now."""
        return now >= self._until

    def refused_again(self, now: float) -> None:
        """The renewed token was refused too. Several requests that saw the same refusal lengthen the pause once."""
        if now < self._until:
            return
        self._refusals += 1
        self._until = now + route_hold(self._refusals)

    def succeeded(self) -> None:
        """A renewed token was accepted."""
        self._refusals = 0
        self._until = 0.0
