"""How often one route may ask for a renewal after a refusal.

An API that refuses fresh tokens too (its own key store is down, the audience is wrong) would otherwise turn every
request into a token request. A token that a renewal of this route brought, and that is refused as well, stops the
route's renewals for a while, longer each time, until a request with that token or a newer one is accepted here. It
does not matter whether a request waited for that renewal or it ran in the background.
"""

from __future__ import annotations

import enum
from weakref import WeakKeyDictionary

from proxy.model import Token
from proxy.tokens.backoff import NO_FAILURES
from proxy.tokens.policy import ROUTE_REFUSAL

_ACCEPTED_BELOW = 400
"""Statuses from here on do not tell that the token was accepted: a 503 may come before anybody has looked at it."""


class Renewal(enum.Enum):
    """Whether a refusal may lead to a renewal."""

    ALLOWED = "allowed"
    HELD = "held"
    """The route's renewals are held for now."""
    FUTILE = "futile"
    """A renewal of this route brought this very token: another would bring its like."""


class RenewalHold:
    """What one route knows of its renewals, or of those for one caller. Times are seconds of `Clock.elapsed`."""

    __slots__ = ("__weakref__", "_backoff", "_brought", "_brought_at", "_generation")

    def __init__(self) -> None:
        self._brought: Token | None = None
        self._brought_at = 0.0
        self._generation = 0
        self._backoff = NO_FAILURES

    @property
    def watching(self) -> bool:
        """Whether it matters that a token is accepted."""
        return self._brought is not None or self._backoff.failures > 0

    def renewal(self, refused: Token, now: float) -> Renewal:
        """Whether the refusal of this token may lead to a renewal."""
        if self._backoff.holds(now):
            return Renewal.HELD
        brought = self._brought
        if brought is not None and now < self._brought_at + ROUTE_REFUSAL.cap and _same(brought, refused):
            return Renewal.FUTILE
        return Renewal.ALLOWED

    def brought(self, token: Token, now: float) -> None:
        """A renewal that was asked for here has brought this token; nobody knows yet whether it is accepted."""
        self._brought, self._brought_at = token, now
        self._generation = token.generation

    def refused_again(self, refused: Token, now: float) -> None:
        """The renewed token was refused too. Several requests that saw the same refusal lengthen the hold once."""
        self._brought = None
        self._generation = refused.generation
        if not self._backoff.holds(now):
            self._backoff = self._backoff.after(ROUTE_REFUSAL, now)

    def accepted(self, token: Token) -> bool:
        """A token was accepted: all is well if it is the one in question or a newer one. Whether it is."""
        if token.generation < self._generation:
            return False
        self._brought = None
        self._backoff = NO_FAILURES
        return True


class RouteRenewals:
    """Those of one route: of each caller's tokens apart, so that nobody's refusals cost another.

    `watching`: whether accepted tokens are to be told of. The hot path asks nothing else.
    """

    __slots__ = ("_by_owner", "_own", "watching")

    def __init__(self) -> None:
        self.watching = False
        self._own = RenewalHold()
        self._by_owner: WeakKeyDictionary[object, RenewalHold] = WeakKeyDictionary()

    def of(self, owner: object | None) -> RenewalHold:
        """Of one caller or conversation; None where all requests share a token."""
        return self._own if owner is None else self._by_owner.setdefault(owner, RenewalHold())

    def brought(self, owner: object | None, token: Token, now: float) -> None:
        """See `RenewalHold.brought`."""
        self.of(owner).brought(token, now)
        self.watching = True

    def refused_again(self, owner: object | None, refused: Token, now: float) -> None:
        """See `RenewalHold.refused_again`."""
        self.of(owner).refused_again(refused, now)
        self.watching = True

    def answered(self, owner: object | None, token: Token, status: int) -> None:
        """An answer came that does not refuse the token."""
        if self.watching and status < _ACCEPTED_BELOW and self.of(owner).accepted(token):
            self.watching = self._own.watching or any(one.watching for one in self._by_owner.values())


def _same(one: Token, other: Token) -> bool:
    return one.generation == other.generation and one.access_token == other.access_token and one.fields == other.fields
