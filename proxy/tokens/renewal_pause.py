"""How long to leave an issuer alone after a failure, and what ends that early: a push, a word, a changed secret. Pure.

A pause is a value: of thousands of credentials all but a few have the same, NONE.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from msgspec import Struct, structs

from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.tokens import policy
from proxy.tokens.backoff import NO_FAILURES, Backoff
from proxy.tokens.shared_result import again

NEVER = -math.inf
_LOOK = 5.0
"""Seconds between two looks whether a secret has changed."""


class RenewalPause(Struct, frozen=True):
    """`until`: when it ends, on the elapsed clock, as is every `now`. `error`: why the last attempt failed.

    `wanted`: when it ends for a request that cannot be served without a token. `failures`, `refusals`: in a row.
    `seen`: how often the secrets that the source reads had changed when it began; `changes` counts that now.
    `by_hand`: somebody asked for the next attempt, whatever stands in the way.
    """

    until: float = NEVER
    wanted: float = NEVER
    error: CredentialError | None = None
    failures: Backoff = NO_FAILURES
    refusals: Backoff = NO_FAILURES
    seen: int = 0
    by_hand: bool = False

    def after(self, error: CredentialError, now: float, chance: float, seen: int, *, slowly: bool) -> RenewalPause:
        """The pause after one more failure in a row. `slowly`: every attempt may do harm."""
        passing = isinstance(error, CredentialUnavailable) or (isinstance(error, CredentialRefused) and error.passing)
        refusals = NO_FAILURES if passing else self.refusals.after(policy.REFUSAL, now)
        if slowly:
            failures = self.failures.after(policy.RISK, now)
        else:
            requested = error.requested if isinstance(error, CredentialUnavailable) else 0.0
            failures = self.failures.after(policy.FAILURE, now, chance, requested=requested)
        until = wanted = failures.until if slowly or passing else refusals.until
        if passing and not slowly:
            wanted = min(until, now + policy.LONGEST_WANTED)
        return RenewalPause(until, wanted, error, failures, refusals, seen)

    def lifted(self) -> RenewalPause:
        """The same, but the next attempt may be made at once: somebody asks for it."""
        return structs.replace(self, until=NEVER, wanted=NEVER, by_hand=True)

    def holds(self, now: float, changes: Callable[[], int]) -> bool:
        """Whether to wait."""
        return now < self.until and changes() == self.seen

    def check(self, now: float, changes: Callable[[], int]) -> None:
        """Fail a request fast while waiting. Raises the CredentialError that began it."""
        if self.error is not None and now < self.wanted and changes() == self.seen:
            raise again(self.error, self.wanted - now)

    def next_look(self, due: float, now: float) -> float:
        """When to look whether something that is `due` then may be done."""
        when = max(due, self.until)
        return min(when, now + _LOOK) if self.refusals.failures else when


NONE = RenewalPause()
