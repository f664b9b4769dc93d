"""A scheme for tokens that we sign and date ourselves: a refusal tells the API's time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from proxy.auth.scheme import Scheme
from proxy.auth.skew import ServerTime
from proxy.model import Answer, Field, Request, Verdict


class DatedScheme:
    """Sends tokens by `scheme`, and corrects `time`, which dates the next token, when one is refused.

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
        """Judge as `scheme` does, and learn the time."""
        verdict = self._judge(request, answer, signed)
        if verdict is Verdict.RENEW:
            self._time.follow(answer, self._wall())
        return verdict
