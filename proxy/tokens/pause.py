"""How long to leave an issuer alone after a failure, and what ends that early: a push, a word, a changed secret."""

from __future__ import annotations

import math
from collections.abc import Callable

from proxy.clock import Clock
from proxy.errors import CredentialFault, CredentialUnavailable
from proxy.tokens import policy
from proxy.tokens.arrival import again

_LOOK = 5.0
"""Seconds between two looks whether a secret has changed."""


class Pause:
    """`until`: when it ends, on the elapsed clock. `inputs` counts changes of the secrets that the source reads."""

    __slots__ = ("_clock", "_failures", "_fault", "_inputs", "_refusals", "_seen", "until")

    def __init__(self, clock: Clock, inputs: Callable[[], int]) -> None:
        self.until = -math.inf
        self._clock = clock
        self._inputs = inputs
        self._seen = 0
        self._failures = 0
        self._refusals = 0
        self._fault: CredentialFault | None = None

    def begin(self, fault: CredentialFault, *, slowly: bool) -> float:
        """Wait after one more failure in a row; for how many seconds. `slowly`: every attempt may do harm."""
        self._failures += 1
        unavailable = isinstance(fault, CredentialUnavailable)
        self._refusals = 0 if unavailable else self._refusals + 1
        if slowly:
            seconds = policy.hold(self._failures)
        elif isinstance(fault, CredentialUnavailable):
            seconds = policy.back_off(self._failures, self._clock.chance(), fault.requested)
        else:
            seconds = policy.hold(self._refusals)
        self.until = self._clock.elapsed() + seconds
        self._seen = self._inputs()
        self._fault = fault
        return seconds

    def lift(self) -> None:
        """Let the next attempt be made at once."""
        self.until = -math.inf

    def end(self) -> None:
        """All is well again."""
        self.lift()
        self._failures = self._refusals = 0
        self._fault = None

    @property
    def fault(self) -> CredentialFault | None:
        """Why the last attempt failed; None if it did not."""
        return self._fault

    def holds(self) -> bool:
        """Whether to wait."""
        return self._clock.elapsed() < self.until and self._inputs() == self._seen

    def check(self) -> None:
        """Fail fast while waiting. Raises the CredentialFault that began it."""
        if self._fault is not None and self.holds():
            raise again(self._fault, self.until - self._clock.elapsed())

    def next_look(self, due: float) -> float:
        """When to look whether something that is `due` then may be done."""
        when = max(due, self.until)
        return min(when, self._clock.elapsed() + _LOOK) if self._refusals else when
