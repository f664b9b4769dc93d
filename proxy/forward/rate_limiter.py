"""How many requests a second a route takes: the generic cell rate algorithm, one number of state, no timer."""

from __future__ import annotations

from proxy.errors import LimitReached

_ROUNDING = 1e-6
"""Seconds; the clock's figures are large, and their differences are not exact."""


class RateLimiter:
    """`per_second` on average; a second's worth (at least one) may come at once. Times are seconds of one clock."""

    __slots__ = ("_due", "_interval", "_tolerance")

    def __init__(self, per_second: float) -> None:
        self._interval = 1.0 / per_second
        self._tolerance = max(0.0, 1.0 - self._interval) + _ROUNDING
        self._due = 0.0

    def admit(self, now: float) -> None:
        """Count one request. Raises LimitReached with the time until the next may come."""
        due = max(self._due, now)
        if due - now > self._tolerance:
            raise LimitReached("This route's rate is reached", retry_after=due - now - self._tolerance)
        self._due = due + self._interval
