"""Tokens that we date ourselves, sent in any way: a refusal tells what time the API thinks it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.auth.scheme import Scheme
from proxy.auth.skew import ServerTime
from proxy.model import Answer, Field, Request, Verdict


class DatedScheme:
    """`scheme`, and `time` as it is learned from what refuses its tokens: the next one is dated by that.

    `wall`: our clock. A token may be minutes old when it is refused.
    """

    def __init__(self, scheme: Scheme, time: ServerTime, wall: Callable[[], float]) -> None:
        self.writes = scheme.writes
        self.places = scheme.places
        self.parameters = scheme.parameters
        self.wants_body = scheme.wants_body
        self.learns = scheme.learns
        self.constant = scheme.constant
        self.place = scheme.place
        self.sign = scheme.sign
        self._judge = scheme.judge
        self._time = time
        self._wall = wall

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:
        """As `scheme` does."""
        verdict = self._judge(request, answer, signed)
        if verdict is Verdict.RENEW:
            self._time.follow(answer, self._wall())
        return verdict
