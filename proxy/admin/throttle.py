"""Bounds how often a guard may refuse: ten times a minute per address and credential. Right guards never count."""

from __future__ import annotations

from cachetools import TTLCache

from proxy.clock import Clock

LIMIT = 10
WINDOW = 60.0
"""Seconds."""

_REMEMBERED = 4096
"""Pairs of address and name, of names that exist and of others; those quiet longest are forgotten first."""

_Times = TTLCache[tuple[str, str | int], tuple[float, ...]]


class Throttle:
    """Remembers refusals, in bounded memory."""

    def __init__(self, clock: Clock) -> None:
        self._elapsed = clock.elapsed
        self._known: _Times = TTLCache(_REMEMBERED, WINDOW, self._elapsed)
        self._invented: _Times = TTLCache(_REMEMBERED, WINDOW, self._elapsed)

    def refuse(self, address: str, name: str, *, exists: bool) -> float | None:
        """Note one more refusal. None while they are few; else how many seconds until the next one counts as few.

        Each name has its own count, or a count that others had used up would tell that a name does not exist. Inventing
        names displaces no count of one that does; of an invented name, which may be long, a hash is remembered.
        """
        now = self._elapsed()
        refusals = self._known if exists else self._invented
        key = (address, name if exists else hash(name))
        times = tuple(time for time in refusals.get(key, ()) if now - time < WINDOW)
        if len(times) == LIMIT:
            return WINDOW - (now - times[0])
        refusals[key] = (*times, now)
        return None
