"""The difference between our clock and a server's, learned from its `Date` when it refuses our time.

The correction is a number that is added to our wall clock, so it becomes wrong if that clock is stepped. Each refusal
therefore checks it: if the refused time agrees with the server's `Date`, the correction is dropped, else it is learned
anew. A wrong `Date` or a stepped clock costs one repeated request at most.
"""

from __future__ import annotations

from email.utils import mktime_tz, parsedate_tz

from proxy.model import Answer

_AGREES = 5.0
"""Seconds of difference that network delay and rounding explain."""

_EARLIEST, _LATEST = 1_000_000_000, 9_999_999_999
"""Verifiers want ten digits. A `Date` outside is not the time."""


class ServerTime:
    """The timestamps of one credential's signatures. They never decrease unless the correction changes."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._wall = 0.0
        self._last = 0

    def stamp(self, wall: float) -> int:
        """The time to write into a signature made at `wall`, seconds since the epoch."""
        self._wall = wall
        self._last = max(self._last, int(wall + self.offset))
        return self._last

    def mend(self, answer: Answer, stamped: int | None) -> bool:
        """Whether a refusal of an attempt with the timestamp `stamped` (None: the last one) was about our clock.

        If so, later stamps follow the server's clock; the request is worth one more attempt.
        """
        date = _date(answer)
        if date is None:
            return False
        if abs(date - (self._last if stamped is None else stamped)) <= _AGREES:
            self._correct(0.0)
            return False
        self._correct(date - self._wall)
        if self._last > date + _AGREES:
            self._last = 0  # it came from a wall clock that has been stepped back since
        return True

    def follow(self, answer: Answer, wall: float) -> None:
        """Learn from a refusal at `wall` of a token that may be old, so that it tells less about our clock."""
        date = _date(answer)
        if date is None:
            return
        if abs(date - (wall + self.offset)) > _AGREES:
            self._correct(date - wall)
        elif abs(wall - self._wall) <= _AGREES:
            self._correct(0.0)
        if self._last > date + _AGREES:
            self._last = 0

    def _correct(self, offset: float) -> None:
        if abs(offset - self.offset) > _AGREES:
            self.offset = offset
            self._last = 0


def _date(answer: Answer) -> float | None:
    """The answer's `Date` (RFC 9110 §6.6.1), in any of the three formats; None if it is missing or implausible."""
    for name, value in answer.fields:
        if name.lower() == b"date":
            parsed = parsedate_tz(value[:64].decode("latin-1"))
            try:
                date = float(mktime_tz(parsed)) if parsed else 0.0
            except (ValueError, OverflowError):
                return None
            return date if _EARLIEST <= date <= _LATEST else None
    return None
