"""What may be told of a token: how it stands, and how its renewals went. No part of the token itself.

Figures are kept in arrays: after 30 attempts they take 0.7 KiB of each credential, where tuples and a list of numbers
take 3.1 KiB (by tracemalloc, 5,000 credentials).
"""

from __future__ import annotations

import hashlib
import math
import os
from array import array
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from proxy.clock import Clock
from proxy.errors import CredentialError, CredentialUnavailable
from proxy.model import Token
from proxy.stats import BOUNDS, Histogram
from proxy.tokens.held_token import HeldToken
from proxy.tokens.lifetime import end

State = Literal["empty", "expired", "failing", "stale", "fresh"]

_RESULTS = ("success", "unavailable", "refused")
_KEPT = 30
_FINGERPRINT_KEY = os.urandom(32)


class TokenReport(Struct, frozen=True, kw_only=True):
    """Moments in epoch seconds. `state`: the first that applies. `attempted`: the first attempt has ended, either way.

    `expires_at`: None where nobody stated an end. `refresh_at`: None where no renewal is planned. `refreshes`: attempts
    by result (`success`, `unavailable`, `refused`). `history`: the last attempts, oldest first: when, and whether it
    succeeded.
    """

    state: State
    expires_at: float | None
    refresh_at: float | None
    generation: int
    last_refresh: float | None
    last_error: str | None
    fingerprint: str | None
    attempted: bool
    refreshes: Mapping[str, int]
    durations: Histogram
    history: Sequence[tuple[float, bool]]


class Attempts:
    """How the attempts to get one credential's tokens went. `any`: one has ended, or there is none to make."""

    __slots__ = ("_durations", "_history", "_results", "_seconds", "any", "last_refresh")

    def __init__(self) -> None:
        self.any = False
        self.last_refresh: float | None = None
        self._seconds = 0.0
        self._results = array("I", (0,) * len(_RESULTS))
        self._durations = array("I", (0,) * (len(BOUNDS) + 1))
        self._history = array("d")  # when; negative: and failed

    def succeeded(self, wall: float, seconds: float) -> None:
        """Count a token that came."""
        self._count("success", seconds, wall)
        self.last_refresh = wall

    def failed(self, error: CredentialError, wall: float, seconds: float) -> None:
        """Count an attempt that brought none."""
        self._count("unavailable" if isinstance(error, CredentialUnavailable) else "refused", seconds, -wall)

    @property
    def refreshes(self) -> Mapping[str, int]:
        """Attempts by result."""
        return dict(zip(_RESULTS, self._results, strict=True))

    @property
    def durations(self) -> Histogram:
        """How long the attempts took."""
        return Histogram(self._durations, self._seconds)

    @property
    def history(self) -> Sequence[tuple[float, bool]]:
        """The last attempts, oldest first: when, and whether they succeeded."""
        return tuple((abs(moment), math.copysign(1, moment) > 0) for moment in self._history)

    def report(
        self, held_token: HeldToken, error: CredentialError | None, clock: Clock, *, due: float, generation: int
    ) -> TokenReport:
        """Tell how it all stands. `error`: why the last attempt failed; `due`: the next one, on the elapsed clock."""
        token, now = held_token.token, clock.elapsed()
        return TokenReport(
            state=_state(
                token, usable=held_token.usable() is not None, failing=error is not None, due=now >= held_token.due
            ),
            expires_at=end(token, clock.wall(), now) if token else None,
            refresh_at=None if math.isinf(due) else clock.wall() + due - now,
            generation=generation,
            last_refresh=self.last_refresh,
            last_error=error.detail if error else None,
            fingerprint=fingerprint(token),
            attempted=self.any,
            refreshes=self.refreshes,
            durations=self.durations,
            history=self.history,
        )

    def _count(self, result: str, seconds: float, moment: float) -> None:
        self.any = True
        self._results[_RESULTS.index(result)] += 1
        self._durations[bisect_left(BOUNDS, seconds)] += 1
        self._seconds += seconds
        self._history.append(moment)
        del self._history[:-_KEPT]


def _state(token: Token | None, *, usable: bool, failing: bool, due: bool) -> State:
    """The first state that applies."""
    if token is None:
        return "empty"
    if not usable:
        return "expired"
    if failing:
        return "failing"
    return "stale" if due else "fresh"


def fingerprint(token: Token | None) -> str | None:
    """Eight hex digits that tell tokens apart; keyed anew in each process, so that they say nothing elsewhere."""
    if token is None or not token.access_token:
        return None
    return hashlib.blake2b(token.access_token.encode(), digest_size=4, key=_FINGERPRINT_KEY).hexdigest()
