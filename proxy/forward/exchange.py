"""One request, there and back: the straight line.

    start       the credential: at hand, or waited for                    asking.py
    _connect    a warm connection, or waited for
    go          hygiene, signature, out                                   outbound.py
    answered    accepted, or held while the credential is mended          here
    _judge      and the request sent again                                judging.py
    _relay      back to the app                                           answering.py
    _finish     counted; both connections are free                        here

Each favour (a new signature, the predecessor of a very young token, a new token) is granted at most once, so no request
is sent more than `retry.max_attempts` times, plus once for a nonce. A kept connection that dies under a request is no
attempt: it is made again over a new one.
"""

from __future__ import annotations

from typing import cast

from proxy.errors import (
    AnswerTimeout,
    ClientError,
    CredentialUnavailable,
    MalformedAnswer,
    ProxyError,
    RequestTimeout,
    UpstreamError,
)
from proxy.forward import private
from proxy.forward.directory_errors import ShuttingDown
from proxy.forward.flow_control import HELD, UPSTREAM_FULL
from proxy.forward.held_response import HeldResponse
from proxy.forward.judging import Judging
from proxy.forward.live_route import teaches
from proxy.forward.socket_probe import arrived
from proxy.forward.upgrade import agreed, hijacked
from proxy.forward.upstream import Upstream
from proxy.http1.answer import AnswerHead
from proxy.http1.fields import pairs
from proxy.model import Answer
from proxy.problem import proxy_status_of_upstream

_UNAUTHORIZED = 401
_CLIENT_GONE = 499
"""The status in the counters when the app hung up first (nginx's convention); never sent."""

_PROXY_DENIED = 407
"""Of a request that was sent to an egress proxy: not the API's answer, but the proxy's."""


class Exchange(Judging):
    """Between one app connection and, while it has one, an upstream connection."""

    # ---- the answer's head -------------------------------------------------------------------------------------------

    def switched(self, head: AnswerHead, rest: bytes) -> None:
        """101: a tunnel, if it was asked for. Raises MalformedAnswer."""
        upgrade = agreed(self.upgrade, head)
        if upgrade is None:
            raise MalformedAnswer("The upstream switched protocols without being asked")
        if self.upload is not None and not self.upload.complete:
            raise MalformedAnswer("The upstream switched protocols in the middle of the request")
        if self.token is not None:
            route = self.route
            if route.learns:
                route.judge(self._asked(), Answer(head.status, pairs(head.lines)), self._outbound.signed)
            if route.renewal_hold.watching:
                route.renewal_hold.answered(route.owner(self._tokens), self.token, head.status)
        self._tunnel(head, b"Connection: Upgrade\r\nUpgrade: %b\r\n" % upgrade, rest)

    def answered(self, head: AnswerHead, pieces: list[bytes], *, done: bool) -> None:
        """The answer's head: is the credential good? Then on to the app."""
        self._awaits_continue = False
        route = self.route
        if route.forwards is not None and head.status == _PROXY_DENIED:
            self.fail(route.forwards.denied())
            return
        if head.status == _UNAUTHORIZED and route.passes_authorization and private.challenges(head.section):
            private.keep(self.app.private, cast("Upstream", self.up))
        if self.token is not None:
            if head.status in route.suspects or (route.learns and teaches(head)):
                self.held = HeldResponse(head, pieces, done=done)
                self._judge()
                return
            if route.renewal_hold.watching:
                route.renewal_hold.answered(route.owner(self._tokens), self.token, head.status)
        if self.upgrade and not done and hijacked(head) and (self.upload is None or self.upload.complete):
            self._tunnel(head, b"Connection: close\r\n", b"".join(pieces))
            return
        self._relay(head, pieces, done=done)

    def more(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the answer's body."""
        held = self.held
        if held is None:
            self._relay_more(pieces, done=done)
            return
        held.add(pieces, done=done)
        if not held.judged:
            self._judge()
        elif held.full and not done and self.up is not None:
            self.up.flow.shut(HELD)

    # ---- the end -----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The answer is complete: both connections are free."""
        self._leave(whole=True)
        self.app.finished(self, self._status)

    def _leave(self, *, whole: bool) -> None:
        """Free the upstream connection. `whole`: its answer is complete; it is kept if the request is so, too."""
        up, self.up = self.up, None
        if up is None:
            return
        upload = self.upload
        if whole and (upload is None or (upload.complete and not self._withheld)):
            up.release(self.context.now())
            return
        up.abandon()
        self.app.flow.open(UPSTREAM_FULL)

    def broken(self, error: ProxyError) -> None:
        """The upstream connection failed under this exchange."""
        up, self.up = self.up, None
        if self.over:
            return
        held = self.held
        if held is not None and (held.done or held.judged):
            if not held.done:
                held.error = error  # a renewal is under way: its end decides
        elif self.relaying:
            self._cut()
        elif up is not None and up.served and not up.heard:
            self._died(up, error)
        else:
            self.fail(error)

    def _died(self, up: Upstream, error: ProxyError) -> None:
        """A kept connection that died before a byte of the answer says nothing about the request (RFC 9110 §9.2.2).

        It is sent again, once, over a new connection, and that is no attempt: whoever has no kept one makes one less.
        """
        up.owner.shun(self.context.now())
        if not (self.route.config.retry.on_connect_error and self._repeatable and self._idempotent):
            self.fail(error)
            return
        self.route.stats.retried("connection")
        self._sends -= 1
        self._due(None)  # the dialler has its own
        up.owner.wait_for_new(self)

    def fail(self, error: ProxyError) -> None:
        """We answer ourselves, if nothing has been answered yet; else the app must see that the answer is cut short."""
        if self.over:
            return
        if self.held is not None and not isinstance(error, ClientError | UpstreamError):
            remark = proxy_status_of_upstream(self.held.head.status, CredentialUnavailable.details)
            self._let_go(b"Proxy-Status: %b\r\n" % remark)
            return
        if self.relaying:
            self._cut()
            return
        self._drop_upstream()
        self.app.refuse(error, self.head, self.route, self.readers)
        self.app.finished(self, error.status, error)

    def _cut(self) -> None:
        """Never deliver a truncated answer as a complete one (RFC 9112 §8): what has come of it, and no end."""
        up = self.up
        if up is not None:
            receive = up.transport.get_extra_info("receiver") or up.data_received
            for octets in arrived(up.transport):
                if self.up is not up:
                    break
                receive(octets)
        self.abandon()

    def abandon(self) -> None:
        """The app hung up, or is to be told no more."""
        if self.over:
            return
        self._drop_upstream()
        self.truncated = self._until_close
        self.app.closing = True
        self.app.finished(self, self._status or _CLIENT_GONE)

    def token_expired(self) -> None:
        """`on_token_expiry: close`, and this answer is a stream that outlived its token."""
        if self.relaying:
            self._cut()

    def give_up(self) -> None:
        """The program ends: nobody is left waiting without a word."""
        if not self.over and not self.relaying:
            self.fail(ShuttingDown("The sidecar is shutting down"))

    def expire(self) -> None:
        """`app.deadline` has passed."""
        if self.context.now() < self.deadline_at:
            if self._awaits_continue:
                self._continue()
                self._expect_body()
                return
            if self.held is not None and not self.held.judged:
                self._judge(at_last=True)
                return
            if self.relaying and self._reads():
                self._due(self.route.config.timeouts.idle)
                return
        if self.relaying:
            self._cut()
        elif self.upload is not None and not self.upload.complete and not self.app.flow.reasons and not self._task:
            self.fail(RequestTimeout("The request body did not come in time"))
        else:
            self.fail(AnswerTimeout("The upstream did not answer in time"))

    def _drop_upstream(self) -> None:
        up, self.up = self.up, None
        if self._task is not None:
            self._task.cancel()
        if up is not None:
            up.abandon()
        else:
            self.route.pool.forget(self)
