"""What happened, and whether it may have happened. Pure.

Errors are the product's documented ones, and each has its cause: without a mishap at its time it is a defect.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from soak.order import PUSHED, Order

REPEATABLE = 64 * 1024
"""Octets of a body that the sidecar keeps for sending again."""

_WAKES_UP = 3.0
"""Seconds for which a busy sidecar may not have seen that a connection is gone."""
_BACKS_OFF = 30.0
"""Seconds for which an issuer that is back may not be asked yet: a few failures, each doubling the pause."""
_NOTICES = 10.0
"""Seconds until some request has shown the sidecar that its token was revoked."""

_COMES_AGAIN = 5.0
"""Seconds until a token from outside has taken the place of one that was revoked; the program cannot ask for it."""


@dataclass(frozen=True)
class Mishap:
    """Something that the disturber did."""

    kind: str
    began: float
    ended: float


@dataclass(frozen=True)
class Trouble:
    """One request that was not answered as it was ordered."""

    order: Order
    result: str
    detail: str
    began: float
    ended: float

    def __str__(self) -> str:
        order = self.order
        return (
            f"{order.site}/{order.kind} number {order.number}, {order.size} octets: {self.result} {self.detail} "
            f"(began {self.began:.2f}, ended {self.ended:.2f})"
        )


class Journal:
    """Everybody writes into it. `slowest`: the seconds that the slowest request took."""

    def __init__(self) -> None:
        self.served: Counter[tuple[str, str]] = Counter()
        self.results: Counter[str] = Counter()
        self.mishaps: list[Mishap] = []
        self.troubles: list[Trouble] = []
        self.slowest = 0.0

    def note(self, order: Order, result: str, began: float, detail: str = "") -> None:
        """How a request ended. `matched` and `hung up` need no excuse."""
        self.results[result] += 1
        self.slowest = max(self.slowest, time.monotonic() - began)
        if result == "matched":
            self.served[order.site, order.kind] += 1
        elif result != "hung up":
            self.troubles.append(Trouble(order, result, detail, began, time.monotonic()))

    def happened(self, kind: str, began: float | None = None) -> None:
        """A mishap, from `began` until now."""
        now = time.monotonic()
        self.mishaps.append(Mishap(kind, now if began is None else began, now))

    def complaints(self) -> list[str]:
        """Every trouble that nothing excuses."""
        return [str(trouble) for trouble in self.troubles if not self._excused(trouble)]

    def _excused(self, trouble: Trouble) -> bool:
        if trouble.result == "cut":
            return self._near(trouble, "reset", 0.0)
        if trouble.result in ("502 connection_terminated", "502 connection_refused"):  # where it had just been made
            large = trouble.order.kind == "upload" and trouble.order.size > REPEATABLE
            once = large or trouble.order.method == b"POST"  # all others are to be sent again
            left = once and trouble.result == "502 connection_terminated" and self._near(trouble, "leave", _WAKES_UP)
            return left or self._near(trouble, "reset", _WAKES_UP)
        if trouble.order.site == PUSHED and trouble.result == "401 credential_unavailable":
            return any(self._near(trouble, kind, _COMES_AGAIN) for kind in ("revoke", "restart"))
        if trouble.result in ("503 credential_unavailable", "401 credential_unavailable"):
            return self._near(trouble, "restart", _BACKS_OFF)
        if trouble.result == "refused":
            large = trouble.order.kind == "upload" and trouble.order.size > REPEATABLE
            return large and any(self._near(trouble, kind, _NOTICES) for kind in ("revoke", "restart"))
        return False

    def _near(self, trouble: Trouble, kind: str, after: float) -> bool:
        return any(
            mishap.began <= trouble.ended and trouble.began <= mishap.ended + after
            for mishap in self.mishaps
            if mishap.kind == kind
        )

    def report(self) -> str:
        """For who waits at the terminal."""
        results = ", ".join(f"{count} {result}" for result, count in self.results.most_common())
        mishaps = Counter(mishap.kind for mishap in self.mishaps)
        return f"{results}, the slowest in {self.slowest:.1f} s; " + ", ".join(
            f"{count} times {kind}" for kind, count in mishaps.most_common()
        )
