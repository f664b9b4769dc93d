"""The access tokens at hand: a bounded cache in memory in which every token ends at its own moment.

It is never the only place where a token is: what is evicted is looked up again where it is held. Whoever holds one
keeps the two ends of its entry, so that a warm request needs no look-up here. Time is that of `Clock.elapsed`, which
goes on while the machine is suspended; the wall clock is asked as well, and whichever says first that a token has ended
is believed.
"""

from __future__ import annotations

import math

from cachetools import TLRUCache

from proxy.clock import Clock
from proxy.model import Token
from proxy.tokens import policy

_Item = tuple[Token, float, float]
"""The token; until when it may be handed out, on the wall clock and on the elapsed clock."""


def ends(token: Token) -> tuple[float, float]:
    """Until when a token may be handed out, on the wall clock and on the elapsed clock; for ever where nobody said."""
    if token.expires_wall is None or token.expires_elapsed is None:
        return math.inf, math.inf
    early = token.lifetime - policy.usable_for(token.lifetime)
    return token.expires_wall - early, token.expires_elapsed - early


def _time_to_use(_key: object, item: _Item, _now: float) -> float:
    return item[2]


class TokenCache:
    """One for all credentials of the program. Keys are whatever the owners choose, unique among them."""

    def __init__(self, clock: Clock, maxsize: int = 20_000) -> None:
        self._items: TLRUCache[object, _Item] = TLRUCache(maxsize, _time_to_use, timer=clock.elapsed)
        self._wall = clock.wall

    def __len__(self) -> int:
        """How many tokens are held."""
        return len(self._items)

    def put(self, key: object, token: Token) -> tuple[float, float]:
        """Keep a token for as long as it may be handed out; the result is its `ends`."""
        wall, elapsed = ends(token)
        self._items[key] = (token, wall, elapsed)
        return wall, elapsed

    def get(self, key: object) -> Token | None:
        """The token, or None if there is none that may be handed out."""
        try:
            token, ends_wall, _ = self._items[key]
        except KeyError:
            return None
        return token if self._wall() < ends_wall else None

    def drop(self, key: object) -> None:
        """Forget a token."""
        self._items.pop(key, None)
