"""How long to leave an issuer alone after a failure, and what ends that early: a push, a word, a changed secret. Pure.

A pause is a value: of thousands of credentials all but a few have the same, NONE.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from msgspec import Struct, structs

from proxy.errors import CredentialFault, CredentialUnavailable
from proxy.tokens import policy
from proxy.tokens.arrival import again

NEVER = -math.inf
_LOOK = 5.0
"""Seconds between two looks whether a secret has changed."""


class Pause(Struct, frozen=True):
    """`until`: when it ends, on the elapsed clock, as is every `now`. `fault`: why the last attempt failed.

    `failures`, `refusals`: how many in a row. `seen`: how often the secrets that the source reads had changed when it
    began; `changes` counts that now.
    """

    until: float = NEVER
    fault: CredentialFault | None = None
    failures: int = 0
    refusals: int = 0
    seen: int = 0

    def after(self, fault: CredentialFault, now: float, chance: float, seen: int, *, slowly: bool) -> Pause:
        """The pause after one more failure in a row. `slowly`: every attempt may do harm."""
        failures = self.failures + 1
        unavailable = isinstance(fault, CredentialUnavailable)
        refusals = 0 if unavailable else self.refusals + 1
        if slowly:
            seconds = policy.hold(failures)
        elif isinstance(fault, CredentialUnavailable):
            seconds = policy.back_off(failures, chance, fault.requested)
        else:
            seconds = policy.hold(refusals)
        return Pause(now + seconds, fault, failures, refusals, seen)

    def lifted(self) -> Pause:
        """The same, but the next attempt may be made at once."""
        return structs.replace(self, until=NEVER)

    def holds(self, now: float, changes: Callable[[], int]) -> bool:
        """Whether to wait."""
        return now < self.until and changes() == self.seen

    def check(self, now: float, changes: Callable[[], int]) -> None:
        """Fail fast while waiting. Raises the CredentialFault that began it."""
        if self.fault is not None and self.holds(now, changes):
            raise again(self.fault, self.until - now)

    def next_look(self, due: float, now: float) -> float:
        """When to look whether something that is `due` then may be done."""
        when = max(due, self.until)
        return min(when, now + _LOOK) if self.refusals else when


NONE = Pause()
