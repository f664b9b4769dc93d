"""A refused answer: it is held until it is clear whether the request is sent again or the app gets it.

Three things may mend a refusal, each at most once for a request: the same token signed anew (a nonce), the predecessor
of a token that is so young that the API may not know of it yet, and a renewal. `decide` says which, from what it is
told alone; the exchange does it.
"""

from __future__ import annotations

import enum

from msgspec import Struct
from msgspec.structs import replace

from proxy.config import schema
from proxy.errors import ProxyError
from proxy.forward.renewal_hold import Renewal
from proxy.http1.answer import AnswerHead
from proxy.model import Token, Verdict

MAX_HELD = 64 * 1024
"""Octets of a refused answer's body that are kept; a longer one waits in its connection."""


class Step(enum.Enum):
    """What is done about an answer that may refuse a token. The values of the last three are reasons in the metrics."""

    PASS = "pass"  # noqa: S105 - no password, as below
    """It refuses nothing: the app gets it."""
    REFUSED = "refused"
    """It refuses the token, and nothing more is done: the app gets it."""
    HOLD = "hold"
    """It refuses a renewed token: the app gets it, and the route's renewals are held for a while."""
    RENEW_BEHIND = "renew behind"
    """The app gets it, and the token is renewed in the background, for the next request."""
    RENEW = "unauthorized"
    """It is held while the token is renewed; then the request is sent again."""
    PREDECESSOR = "predecessor"
    """The request is sent again at once, with the token before this one."""
    RESIGN = "nonce"
    """The request is sent again at once, with the same token signed anew."""


class Budget(Struct, frozen=True):
    """What one request has had so far.

    `sends`: attempts, the present one included; a nonce costs none, nor does a kept connection that died. `young`: the
    token that was refused before its predecessor was sent.
    """

    sends: int = 1
    resigned: bool = False
    renewed: bool = False
    young: Token | None = None

    def after(self, step: Step, token: Token) -> Budget:
        """What is left once the step is taken. `token`: the one that was refused."""
        if step is Step.RESIGN:
            return replace(self, resigned=True)
        if step is Step.PREDECESSOR:
            return replace(self, sends=self.sends + 1, young=token)
        return replace(self, sends=self.sends + 1, renewed=True) if step is Step.RENEW else self

    def refused(self, token: Token) -> Token:
        """Which token a renewal must replace: not the predecessor that was sent in its stead."""
        return token if self.renewed or self.young is None else self.young


UNSPENT = Budget()


def decide(
    verdict: Verdict,
    budget: Budget,
    retry: schema.Retry,
    *,
    repeatable: bool,
    predecessor: bool = False,
    renewal: Renewal = Renewal.ALLOWED,
) -> Step:
    """What is done about an answer of which the scheme says `verdict`.

    `repeatable`: the request's body, if it has one, is still here. `predecessor`: there is one that could be sent
    instead; it is given a chance before anything is renewed.
    """
    if verdict is Verdict.RESIGN and repeatable and not budget.resigned:
        return Step.RESIGN
    if verdict is not Verdict.RENEW:
        return Step.PASS
    repeats = retry.on_unauthorized and repeatable and budget.sends < retry.max_attempts
    if predecessor and budget.young is None:
        return Step.PREDECESSOR if repeats else Step.REFUSED
    if budget.renewed or renewal is Renewal.FUTILE:
        return Step.HOLD
    if renewal is Renewal.HELD:
        return Step.REFUSED
    return Step.RENEW if repeats else Step.RENEW_BEHIND


class HeldResponse:
    """An answer that may refuse its token, until it is clear what is done about it.

    `full`: no more should be read for now. `error`: its connection failed before it was complete.
    """

    __slots__ = ("done", "error", "head", "pieces", "size")

    def __init__(self, head: AnswerHead) -> None:
        self.head = head
        self.pieces: list[bytes] = []
        self.size = 0
        self.done = False
        self.error: ProxyError | None = None

    @property
    def full(self) -> bool:
        """Whether as much is held as may be."""
        return self.size >= MAX_HELD

    def add(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the body."""
        self.pieces += pieces
        self.size += sum(map(len, pieces))
        self.done = done

    def body(self) -> bytes:
        """The body so far, up to the bound."""
        return b"".join(self.pieces)[:MAX_HELD]
