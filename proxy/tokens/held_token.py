"""The token in hand: whether it may be sent, until when, and when its renewal is due.

A token ends as soon as one of two clocks says so. The elapsed clock also counts while the machine is suspended; the
wall clock also shows when an operator has corrected the time.
"""

from __future__ import annotations

import math

from proxy.clock import Clock
from proxy.config.schema import Refresh
from proxy.model import Token
from proxy.tokens import policy
from proxy.tokens.cache import TokenCache, ends
from proxy.tokens.lifetime import dated_ahead

_NEVER = -math.inf
_ROUNDING = 1.0
_ROUNDING_SHARE = 0.1
"""Seconds, and a share of its lifetime, by which issuers round: a token that ends no later than that gains nothing."""
_QUARANTINE = 1.0
"""Seconds for which a refused token is not sent, so that requests wait for its renewal; after that it is sent again."""


class HeldToken:
    """`token`: the last one known, usable or not. `before`: the one that it took the place of, while that matters.

    `due`: when to renew, on the elapsed clock. `_ends_wall` and `_ends_elapsed`: until when the token may be sent, as
    long as it is in the cache; in the past as soon as it is not.
    """

    __slots__ = (
        "_cache", "_clock", "_ends_elapsed", "_ends_wall", "_quarantined_until", "_refresh", "_refused", "_wall",
        "_young_until", "before", "due", "token",
    )  # fmt: skip

    def __init__(self, clock: Clock, cache: TokenCache, refresh: Refresh) -> None:
        self.token: Token | None = None
        self.due = math.inf
        self._clock = clock
        self._wall = clock.wall
        self._cache = cache
        self._ends_wall = self._ends_elapsed = _NEVER
        self._refresh = refresh
        self._quarantined_until = _NEVER
        self.before: Token | None = None
        self._young_until = _NEVER
        self._refused = False

    def ready(self, now: float) -> Token | None:
        """The token, if it may be sent and nobody has just refused it. `now`: on the elapsed clock. The hot path."""
        if now < self._ends_elapsed and self._wall() < self._ends_wall:
            return self.token
        token = self._cache.get(self)
        if token is None and now >= self._quarantined_until:
            token = self.usable()
            if token is not None:
                self._ends_wall, self._ends_elapsed = self._cache.put(self, token)
        return token

    def usable(self) -> Token | None:
        """The token, if it may be sent."""
        return self.token if self.token is not None and self.serves(self.token) else None

    def serves(self, token: Token) -> bool:
        """Whether it may be sent, by both clocks."""
        ends_wall, ends_elapsed = ends(token)
        return self._clock.elapsed() < ends_elapsed and self._clock.wall() < ends_wall

    def helps(self, token: Token | None, refused: Token | None) -> bool:
        """Whether a token that came from elsewhere makes asking for one needless."""
        return (
            token is not None and (refused is None or token.access_token != refused.access_token) and self.serves(token)
        )

    def is_due(self, now: float) -> bool:
        """Whether to renew: because it is time, or because there is nothing to send."""
        return now >= self.due or self.usable() is None

    def take(self, token: Token | None, *, asked: bool = False, to_its_end: bool = False) -> None:
        """Hold this token from now on.

        `asked`: it came because we asked, or another process did: if it lives no longer than the one before, the next
        is not asked for at once. `to_its_end`: use it up before renewing.
        """
        before, self.token = self.token, token
        self.due = now = self._clock.elapsed()
        self.drop()  # until it is asked for: most tokens of many are not
        if token is None:
            return
        if before is None or before.access_token != token.access_token:
            self.release()
            self.before, self._refused = None if self._refused else before, False
            self._young_until = policy.YOUNG + (now if asked else min(now, token.issued_elapsed))
        elif before.generation == token.generation:
            self.token = token = before
        due = token.issued_elapsed + policy.due_after(token.lifetime, self._refresh, self._clock.chance())
        if asked and before is not None and token.expires_elapsed is not None and _no_more_life(before, token):
            due = max(due, now + policy.repeat_after(token.expires_elapsed - now))
        self.due = self.end() if to_its_end else min(due, self.end())
        if asked and before is None and dated_ahead(token.issued_wall, self._clock.wall()):
            self._doubt()

    def _doubt(self) -> None:
        """Renew at once, and do not send this token meanwhile: a wrong clock dated it, and it may have ended."""
        self.due = min(self.due, self._clock.elapsed())
        self.quarantine()

    def end(self) -> float:
        """When it is used up, on the elapsed clock; where nobody stated that, when it should be."""
        token = self.token
        if token is None:
            return self._clock.elapsed()
        return token.issued_elapsed + token.lifetime if token.expires_elapsed is None else ends(token)[1]

    def predecessor(self, young: Token) -> Token | None:
        """The token before this one, if this is the one in hand, and so new that an API may not know of it yet."""
        token, before = self.token, self.before
        if token is None or before is None or token.access_token != young.access_token:
            return None
        if self._clock.elapsed() >= self._young_until or not self.serves(before):
            return None
        return before

    def forget(self, before: Token) -> None:
        """Let go of a predecessor that nobody will ask for any more."""
        if self.before is before:
            self.before = None

    def refused(self, token: Token) -> None:
        """An API has refused this token: `predecessor` must not offer it later."""
        if self.token is not None and self.token.access_token == token.access_token:
            self._refused = True
        elif self.before is not None and self.before.access_token == token.access_token:
            self.before = None

    def quarantine(self) -> None:
        """An API has refused the token: do not send it for `_QUARANTINE` seconds, while it is renewed."""
        now = self._clock.elapsed()
        if now >= self._quarantined_until:
            self._quarantined_until = now + _QUARANTINE
            self.drop()

    def quarantine_left(self) -> float:
        """For how many more seconds the token is not sent."""
        return self._quarantined_until - self._clock.elapsed()

    def release(self) -> None:
        """End the suspicion: the token may be sent again."""
        self._quarantined_until = _NEVER

    def drop(self) -> None:
        """Leave the cache."""
        self._ends_wall = self._ends_elapsed = _NEVER
        self._cache.drop(self)


def _no_more_life(before: Token, token: Token) -> bool:
    return (
        before.generation != token.generation
        and before.expires_elapsed is not None
        and token.expires_elapsed is not None
        and token.expires_elapsed <= before.expires_elapsed + min(_ROUNDING, _ROUNDING_SHARE * token.lifetime)
    )
