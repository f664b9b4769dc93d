"""How long to wait after failures in a row: exponential backoff, the same for all that try again. Pure.

What waits how long says `policy.py`. Seconds throughout; moments are those of `Clock.elapsed`.
"""

from __future__ import annotations

import math

from msgspec import Struct

_SHORTEST = 0.1
_MOST_DOUBLINGS = 16
"""2^16 s is beyond every cap; larger powers would only overflow."""


class Exponential(Struct, frozen=True):
    """`base` after the first failure, twice as long after each further one, up to `cap`.

    `honours`: up to how much longer the one that fails may ask for (Retry-After).
    """

    base: float
    cap: float
    honours: float = 0.0


class Backoff(Struct, frozen=True):
    """`failures`: how many in a row. `until`: when the next attempt may be made."""

    failures: int = 0
    until: float = -math.inf

    def after(self, wait: Exponential, now: float, chance: float = 0.0, *, requested: float = 0.0) -> Backoff:
        """The state after one more failure. `chance`: from [0, 1), which makes the wait shorter (full jitter)."""
        failures = self.failures + 1
        seconds = min(wait.cap, wait.base * 2.0 ** min(failures - 1, _MOST_DOUBLINGS)) * (1 - chance)
        return Backoff(failures, now + max(_SHORTEST, seconds, min(requested, wait.honours)))

    def holds(self, now: float) -> bool:
        """Whether to wait."""
        return now < self.until


NO_FAILURES = Backoff()
