"""Refused? Then the answer is held while the credential is mended, and the request is sent again, or the app gets it.

What mends it, each at most once for a request: the same token signed anew (a nonce), the predecessor of a token that is
so young that the API may not know of it yet, and a renewal.
"""

from __future__ import annotations

import logging
from abc import abstractmethod

from proxy.defects import tell
from proxy.errors import ProxyError
from proxy.forward.answering import Answering
from proxy.forward.flow_control import BODY_WAITS, HELD
from proxy.forward.held_response import HeldResponse
from proxy.http1.fields import pairs
from proxy.model import Answer, Token, Verdict
from proxy.tokens.credential import Tokens

_log = logging.getLogger("auth_sidecar.forward")


class Judging(Answering):
    """From a suspicious answer to the next attempt, or to the app."""

    @abstractmethod
    def broken(self, error: ProxyError) -> None:
        """The upstream connection failed."""

    @abstractmethod
    def _leave(self, *, whole: bool) -> None:
        """Free the upstream connection."""

    # ---- refused? ----------------------------------------------------------------------------------------------------

    def _judge(self, *, at_last: bool = False) -> None:
        """Decide as soon as enough is known (`at_last`: now); hold the answer while a token is renewed."""
        held, route, token, tokens = self.held, self.route, self.token, self._tokens
        if held is None or token is None or tokens is None:
            return
        if held.head.status in route.readings and not (held.done or held.full or at_last):
            return
        held.judged = True
        try:
            self._decide(held, tokens, token)
        except Exception as error:  # noqa: BLE001 - the answer is the app's, whatever we make of it
            tell(_log, "while judging an answer", error)
            self._let_go()

    def _decide(self, held: HeldResponse, tokens: Tokens, token: Token) -> None:
        route = self.route
        answer = Answer(held.head.status, pairs(held.head.lines), held.body())
        verdict = route.judge(self._asked(), answer, self._outbound.signed)
        if verdict is Verdict.RENEW:
            self._refused(tokens, token)
        elif verdict is Verdict.RESIGN and not self._resigned and self._repeatable:
            self._resigned = True
            self._sends -= 1  # a nonce costs none of `max_attempts`
            self._send_again("nonce")
        else:
            if route.renewal_hold.watching:
                route.renewal_hold.answered(route.owner(tokens), token, held.head.status)
            self._let_go()

    def _refused(self, tokens: Tokens, token: Token) -> None:
        """The token was refused: repeat with its predecessor if it is very young, else with its successor, or not."""
        route, retry, now = self.route, self.route.config.retry, self.context.clock.elapsed()
        repeats = retry.on_unauthorized and self._repeatable and self._sends < retry.max_attempts
        predecessor = tokens.predecessor(token) if self._young is None else None
        if predecessor is not None:
            if repeats:
                self._young = token
                self.token = predecessor
                self._send_again("predecessor")
            else:
                self._let_go()
            return
        owner = route.owner(tokens)
        refused = token if self._renewed else self._young or token
        if self._renewed:
            route.renewal_hold.refused_again(owner, refused, now)
            self._let_go()
        elif not route.renewal_hold.of(owner).allowed(refused, now):
            self._let_go()
        elif repeats:
            self._renewed = True
            if self.upload is not None and not self.upload.complete:
                self._withheld = True  # what comes now is for the next attempt
                self.app.flow.shut(BODY_WAITS)
            self._wait_for(tokens.renew(refused), self._renewal_came)
        else:
            clock = self.context.clock
            self.context.in_background(
                tokens.renew(refused), lambda token: route.renewal_hold.brought(owner, token, clock.elapsed())
            )
            self._let_go()

    @property
    def _repeatable(self) -> bool:
        return not self.relaying and (self.upload is None or self.upload.whole)

    def _renewal_came(self, token: Token) -> None:
        self.route.renewal_hold.brought(self.route.owner(self._tokens), token, self.context.clock.elapsed())
        self.token = token
        self._send_again("unauthorized")

    def _send_again(self, reason: str) -> None:
        """The answer so far is nobody's: free its connection, or end it, and ask anew."""
        self.route.stats.retried(reason)
        done = self.held is not None and self.held.done
        self.held = None
        self._leave(whole=done)
        self._connect()

    def _let_go(self, extra: bytes = b"") -> None:
        """The held answer goes to the app after all."""
        held = self.held
        self.held = None
        if held is None:
            return
        self.app.flow.open(BODY_WAITS)
        if held.error is not None:
            self.broken(held.error)
            return
        if self.up is not None:
            self.up.flow.open(HELD)
        self._relay(held.head, held.pieces, done=held.done, extra=extra)
