"""How often a guard may refuse: ten times a minute per address and credential. A right guard never comes here."""

from __future__ import annotations

from cachetools import TTLCache

from proxy.clock import Clock

LIMIT = 10
WINDOW = 60.0
"""Seconds."""

_REMEMBERED = 4096
"""Pairs of address and credential; the ones that were quiet longest are forgotten first."""

_Times = TTLCache[tuple[str, str | None], tuple[float, ...]]


class Throttle:
    """Remembers refusals, in bounded memory."""

    def __init__(self, clock: Clock) -> None:
        self._elapsed = clock.elapsed
        self._refusals: _Times = TTLCache(_REMEMBERED, WINDOW, self._elapsed)

    def refuse(self, address: str, credential: str | None) -> float | None:
        """Note one more refusal. None while they are few; else how many seconds until the next one counts as few.

        `credential`: None for all names that do not exist, so that inventing names makes no new room.
        """
        now = self._elapsed()
        key = (address, credential)
        times = tuple(time for time in self._refusals.get(key, ()) if now - time < WINDOW)
        if len(times) == LIMIT:
            return WINDOW - (now - times[0])
        self._refusals[key] = (*times, now)
        return None
