"""Tokens that we date ourselves, sent in any way: a refusal tells what time the API thinks it is."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.auth.scheme import Scheme
from proxy.auth.skew import ServerTime
from proxy.model import Answer, Field, Request, Verdict


class DatedScheme:
    """`scheme`, and `time` as it is learned from what refuses its tokens: the next one is dated by that."""

    def __init__(self, scheme: Scheme, time: ServerTime) -> None:
        self.writes = scheme.writes
        self.parameter = scheme.parameter
        self.wants_body = scheme.wants_body
        self.learns = scheme.learns
        self.constant = scheme.constant
        self.place = scheme.place
        self.sign = scheme.sign
        self._judge = scheme.judge
        self._time = time

    def judge(self, request: Request, answer: Answer, signed: Sequence[Field] = ()) -> Verdict:
        """As `scheme` does."""
        verdict = self._judge(request, answer, signed)
        if verdict is Verdict.RENEW:
            self._time.mend(answer, None)
        return verdict
