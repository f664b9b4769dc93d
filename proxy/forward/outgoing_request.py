"""One request on its way out, attempt by attempt: with which token, what it has had so far, and what its answers mean.

No connection and no exchange is known here.
"""

from __future__ import annotations

import logging
from collections.abc import Coroutine
from typing import Any, cast

from msgspec import Struct

from proxy.clock import Clock
from proxy.defects import tell
from proxy.forward.live_route import AuthorizationAction, LiveRoute, teaches
from proxy.forward.outbound import (
    NOTHING_SENT,
    Outbound,
    as_request,
    fate_of_authorization,
    is_idempotent,
    render,
    tokens_of,
    upgraded,
)  # fmt: skip
from proxy.forward.pool import Pool
from proxy.forward.renewal_hold import Renewal
from proxy.forward.request_body import RequestBody
from proxy.forward.retry_policy import UNSPENT, Budget, HeldResponse, Step, decide
from proxy.forward.router import RouteMatch
from proxy.http1.answer import AnswerHead
from proxy.http1.fields import pairs
from proxy.http1.request import RequestHead
from proxy.model import Answer, Request, Token, Verdict
from proxy.tokens.credential import Tokens

_PROXY_DENIED = 407
"""Of a request that was sent to an egress proxy: not the API's answer, but the proxy's."""

_log = logging.getLogger("auth_sidecar.forward")


class OutgoingRequest(Struct, gc=False):
    """What came in (`admitted`, `head`, `body`), and what becomes of it.

    `target`: the upstream's, once `route` is resolved. `tokens`: where its token comes from, if it has one; `token`:
    that of the present attempt; `refused`: the one that a renewal has to replace; `sent`: the attempt itself.
    `upgrade`: the protocols that the upstream is asked for.
    """

    admitted: RouteMatch
    head: RequestHead
    route: LiveRoute
    body: RequestBody | None
    target: bytes
    action: AuthorizationAction = AuthorizationAction.REPLACE
    tokens: Tokens | None = None
    token: Token | None = None
    sent: Outbound = NOTHING_SENT
    budget: Budget = UNSPENT
    upgrade: bytes = b""
    refused: Token | None = None

    def __repr__(self) -> str:
        """Targets, fields and attempts carry secrets."""
        return f"OutgoingRequest({self.route.name})"

    # ---- there -------------------------------------------------------------------------------------------------------

    def choose(self) -> None:
        """Decide about the upgrade and the credential. Raises RequestDenied, CallerUnknown."""
        head = self.head
        if self.tokens is not None:  # it has been, and waited for its body, by which it may be another one
            if self.route.varies:
                self.tokens = tokens_of(self.route, self.head, self.target, self.body)
            return
        if head.fields.upgrade is not None and not self.upgrade:
            self.route, self.upgrade = upgraded(self.route, head)
        route = self.route
        if route.config.on_client_authorization == "keep":
            self.action = fate_of_authorization(route, head.fields)
        if route.credential is None or self.action is AuthorizationAction.KEEP:
            return
        self.tokens = route.credential.tokens
        if self.tokens is None and (
            not route.unresolved or route.by_token is not None
        ):  # else which one it is may depend on the URL
            self.tokens = tokens_of(route, head, self.target, self.body)

    def resolve(self, pool: Pool, base: bytes) -> bool:
        """Where the route leads is known by now. Whether `choose` may have more to say for that."""
        self.route = self.route.towards(pool, base)
        self.target = self.route.target(self.target)
        return self.route.varies and self.token is None and self.action is AuthorizationAction.REPLACE

    @property
    def gathers(self) -> bool:
        """Whether the body must be whole before it can be sent."""
        return self.tokens is not None and self.body is not None and self.route.gathers(self.head.fields)

    def render(self, clock: Clock) -> Outbound:
        """The next attempt. Raises what the scheme does."""
        self.sent = sent = render(
            self.route, self.head, self.target, self.action, self.token, clock, self.upgrade, self.body
        )
        return sent

    def survives(self, *, will: bool = False) -> bool:
        """Whether it may be sent again if its connection dies before a byte of the answer (RFC 9110 §9.2.2).

        `will`: that is asked before it is sent, about a body of which more may come.
        """
        body = self.body
        if body is not None and not (body.can_come_again if will else body.whole):
            return False
        return self.route.config.retry.on_connect_error and is_idempotent(self.route, self.head, self.action)

    # ---- and back ----------------------------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """Whether the app has sent all of it."""
        return self.body is None or self.body.complete

    @property
    def delivered(self) -> bool:
        """Whether the present upstream connection got all of it."""
        return self.body is None or self.body.delivered

    def asked(self) -> Request:
        """What the upstream was asked, as the credential sees it: as it was signed, if it has been."""
        return self.sent.request or as_request(self.route, self.head, self.target, self.body)

    def suspects(self, head: AnswerHead) -> bool:
        """Whether the answer may refuse the token; if it does not, the token is accepted.

        Raises the egress proxy's refusal, where the answer is its own and not the API's.
        """
        route, token = self.route, self.token
        if route.forwards is not None and head.status == _PROXY_DENIED:
            raise route.forwards.denied()
        if token is None:
            return False
        if head.status in route.suspects or (route.learns and teaches(head)):
            return True
        if route.renewal_hold.watching:
            route.renewal_hold.answered(route.owner(self.tokens), token, head.status)
        return False

    def switched(self, head: AnswerHead) -> None:
        """A 101 came, which refuses nothing; but a credential may learn from it."""
        if self.token is not None:
            if self.route.learns:
                self.route.judge(self.asked(), Answer(head.status, pairs(head.lines)), self.sent.signed)
            self.route.renewal_hold.answered(self.route.owner(self.tokens), self.token, head.status)

    def judge(self, held: HeldResponse, now: float, *, at_last: bool) -> Step | None:
        """What is to be done about an answer; None while that depends on more of its body (`at_last`: waited no more).

        `now`: on the elapsed clock.
        """
        route, token, tokens, status = self.route, self.token, self.tokens, held.head.status
        if status in route.readings and not (held.done or held.full or at_last):
            return None
        if token is None or tokens is None:
            return Step.REFUSED
        try:
            verdict = route.judge(self.asked(), Answer(status, pairs(held.head.lines), held.body()), self.sent.signed)
            predecessor, renewal, owner = None, Renewal.ALLOWED, route.owner(tokens)
            if verdict is Verdict.RENEW:
                self.refused = self.budget.refused(token)
                predecessor = tokens.predecessor(token)
                renewal = route.renewal_hold.of(owner).renewal(self.refused, now)
            step = decide(
                verdict,
                self.budget,
                route.config.retry,
                repeatable=self.body is None or self.body.whole,
                predecessor=predecessor is not None,
                renewal=renewal,
            )
            if step is Step.PASS:
                route.renewal_hold.answered(owner, token, status)
            elif step is Step.HOLD:
                route.renewal_hold.refused_again(owner, self.refused or token, now)
        except Exception as error:  # noqa: BLE001 - the answer is the app's, whatever we make of it
            tell(_log, "while judging an answer", error)
            return Step.REFUSED
        self.budget = self.budget.after(step, token)
        if step is Step.PREDECESSOR:
            self.token = predecessor
        return step

    def renewal(self) -> Coroutine[Any, Any, Token]:
        """Replace the token that was refused last, after `judge` has said so."""
        tokens, refused = cast("tuple[Tokens, Token]", (self.tokens, self.refused))
        return tokens.renew(refused)

    def renewed(self, token: Token, now: float) -> None:
        """A renewal that this request asked for has brought a token. `now`: on the elapsed clock."""
        self.route.renewal_hold.brought(self.route.owner(self.tokens), token, now)
