"""The access tokens at hand: a bounded cache in memory in which every token ends at its own moment.

An accelerator, never the only place where a token is: what is evicted is looked up again where it is held. Time is that
of `Clock.elapsed`, which goes on while the machine is suspended; the wall clock is asked as well, and whichever
says first that a token has ended is believed.
"""

from __future__ import annotations

import math

from cachetools import TLRUCache

from proxy.clock import Clock
from proxy.model import Token

_Item = tuple[Token, float, float]
"""The token; until when it may be handed out, on the wall clock and on the elapsed clock."""


def _ends(_key: object, item: _Item, _now: float) -> float:
    return item[2]


class TokenCache:
    """One for all credentials of the program. Keys are whatever the owners choose, unique among them."""

    def __init__(self, clock: Clock, maxsize: int = 20_000) -> None:
        self._items: TLRUCache[object, _Item] = TLRUCache(maxsize, _ends, timer=clock.elapsed)
        self._wall = clock.wall

    def __len__(self) -> int:
        """How many tokens are held."""
        return len(self._items)

    def put(self, key: object, token: Token, *, usable: float) -> None:
        """Keep a token until `usable` seconds after it was asked for, on both clocks; an unstated end keeps it."""
        if token.expires_wall is None or token.expires_elapsed is None:
            self._items[key] = (token, math.inf, math.inf)
        else:
            early = token.lifetime - usable
            self._items[key] = (token, token.expires_wall - early, token.expires_elapsed - early)

    def get(self, key: object) -> Token | None:
        """The token, or None if there is none that may be handed out. The hot path."""
        try:
            token, ends, _ = self._items[key]
        except KeyError:
            return None
        return token if self._wall() < ends else None

    def drop(self, key: object) -> None:
        """Forget a token."""
        self._items.pop(key, None)
