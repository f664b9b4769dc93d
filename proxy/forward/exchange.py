"""One request, there and back: the state machine. Whatever changes its state is in this file (h11's rule).

    start       the credential: at hand, or waited for         outgoing_request.py
    _connect    a warm connection, or waited for               pool.py
    connected   what may cross, signed, and out                outbound.py, request_body.py
    answered    accepted, or held while it is refused          retry_policy.py
    _answer     back to the app                                relay.py
    _end        counted; both connections are free

A phase names what is waited for. What is at hand is not waited for: a warm request goes from TOKEN, in which each
begins, to RESPONSE at once, and an answer that comes in one piece ends it there.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Coroutine
from operator import attrgetter
from typing import Any

from proxy import errors
from proxy.forward import private
from proxy.forward.app_connection import AppConnection
from proxy.forward.context import Context
from proxy.forward.flow_control import BODY_WAITS, HELD, UPSTREAM_FULL
from proxy.forward.outbound import IDEMPOTENT
from proxy.forward.outgoing_request import OutgoingRequest
from proxy.forward.own_answers import as_answer, unanswered
from proxy.forward.pool import Pool
from proxy.forward.relay import Relay
from proxy.forward.request_body import RequestBody
from proxy.forward.retry_policy import HeldResponse, Step
from proxy.forward.splice import LONG, open_splice, pass_on
from proxy.forward.upgrade import hijacked, switching
from proxy.forward.upstream import Upstream
from proxy.http1.answer import AnswerHead
from proxy.model import Token
from proxy.problem import proxy_status_of_upstream

Patience = Callable[["Exchange"], float | None]  # seconds that a phase may take; None: no end of its own
_idle: Patience = attrgetter("request.route.config.timeouts.idle")
_response_header: Patience = attrgetter("request.route.config.timeouts.response_header")
_body_idle: Patience = attrgetter("context.site.limits.body_idle_timeout")
_upload: Patience = lambda of: _idle(of) if of.app.flow.reasons & UPSTREAM_FULL else _body_idle(of)  # noqa: E731
_a_second: Patience = lambda _: 1.0  # noqa: E731 - the upstream may know nothing of Expect (RFC 9110 §10.1.1)


class Phase(enum.Enum):
    """What is waited for, for how long, what happens when that time is up, and which phases may follow.

    Where no time stands, whoever is waited for has a deadline of its own. `timeouts.total` ends every phase with what
    stands here, and with 408 or 504 where that would go on. Every phase but DONE may become DONE, too.
    """

    TOKEN = "a token", None, "504", "TOKEN BODY CONNECTION CONTINUE UPLOAD RESPONSE"
    BODY = "the whole body, to be signed", _body_idle, "408", "BODY TOKEN CONNECTION UPLOAD RESPONSE"
    CONNECTION = "a connection", None, "504", "TOKEN BODY CONNECTION CONTINUE UPLOAD RESPONSE"
    CONTINUE = "consent to send the body", _a_second, "100 or 408", "CONNECTION UPLOAD RESPONSE REFUSED REWRITE RELAY"
    UPLOAD = "the rest of the body", _upload, "408 or 504", "CONNECTION UPLOAD RESPONSE REFUSED REWRITE RELAY"
    RESPONSE = "the answer's head", _response_header, "504", "CONNECTION UPLOAD RESPONSE REFUSED REWRITE RELAY"
    REFUSED = "the rest of a refusal", _response_header, "decide, 408 or 504", "CONNECTION RENEWAL REWRITE RELAY"
    RENEWAL = "another token", None, "504", "CONNECTION REWRITE RELAY"
    REWRITE = "the whole answer, to change links in it", _idle, "408 or 504", "REWRITE RELAY"
    RELAY = "the rest of the answer", _idle, "cut", "RELAY"
    DONE = "nothing", None, "nothing", ""

    def __init__(self, awaits: str, patience: Patience | None, overdue: str, leads_to: str) -> None:
        self.awaits, self.patience, self.overdue, self.leads_to = awaits, patience, overdue, leads_to.split()


_TOKEN, _RESPONSE, _UPLOAD, _RELAY, _DONE = Phase.TOKEN, Phase.RESPONSE, Phase.UPLOAD, Phase.RELAY, Phase.DONE
_GOES_OUT = (Phase.CONTINUE, _UPLOAD, _RESPONSE)

_CLIENT_GONE = 499  # in the counters, when the app hung up first (nginx's convention); never sent


class Exchange:
    """Between an app connection (`app`) and, while there is one, an upstream connection (`up`).

    `request`: what is sent, and what it has had; `body`: its body, if it has one; `held`: a refused answer.
    """

    # What most requests never change stands on the class: setting it anew for each would cost half a microsecond.
    phase = _TOKEN
    up: Upstream | None = None
    held: HeldResponse | None = None
    _relay: Relay | None = None
    _task: asyncio.Task[Token] | None = None
    _ends = float("inf")  # when `timeouts.total` does
    app: AppConnection

    def __init__(self, app: AppConnection, context: Context, request: OutgoingRequest) -> None:
        self.app, self.context, self.request, self.body = app, context, request, request.body
        self._started = context.now()
        if (total := request.route.config.timeouts.total) is not None:
            self._ends = self._started + total
        context.in_flight += 1
        request.route.stats.in_flight += 1

    def _enter(self, phase: Phase) -> None:
        """The only place where the phase changes, and its time: it begins anew where the phase is the same."""
        self.phase = phase
        patience = phase.patience
        seconds = None if patience is None else patience(self)
        self.app.deadline = self._ends if seconds is None else min(self._ends, self.context.now() + seconds)

    def expire(self) -> None:
        """`app.deadline` has passed: the phase's time is up, or that of the whole request is."""
        body, total = self.body, self.context.now() >= self._ends
        match self.phase:
            case Phase.CONTINUE if body is not None and not total:
                self.app.transport.write(body.invite())
                self._enter(_UPLOAD)
            case Phase.REFUSED if not total:
                self._judge(at_last=True)
            case Phase.RELAY if not total and self.app.reads():
                self._enter(_RELAY)
            case phase if "408" in phase.overdue and not self.request.complete and not self.app.flow.reasons:
                self.fail(errors.RequestTimeout("The request body did not come in time"))
            case _:
                self.fail(errors.AnswerTimeout("The upstream did not answer in time"))

    # ---- there -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Decide which token the request has; wait only if it is not at hand. Raises ProxyError."""
        request, body = self.request, self.body
        request.choose()
        tokens = request.tokens
        if body is not None and request.gathers and not body.gathered():
            if request.head.fields.expects_continue:
                self.app.transport.write(body.invite())
            self._enter(Phase.BODY)
            return
        request.token = tokens.ready() if tokens is not None else None
        if request.token is None and tokens is not None:
            self._wait_for(_TOKEN, tokens.current())
        else:
            self._connect()

    def _wait_for(self, phase: Phase, token: Coroutine[Any, Any, Token]) -> None:
        self._enter(phase)
        self._task = self.context.wait_for(token, self._token_came, self._token_failed)

    def _token_came(self, token: Token) -> None:
        self._task, self.request.token = None, token
        if self.phase is _TOKEN:
            self._connect()
        elif self.phase is Phase.RENEWAL:
            self.request.renewed(token, self.context.clock.elapsed())
            self._send_again(Step.RENEW)

    def _token_failed(self, error: BaseException) -> None:
        self._task = None
        if self.phase is not _DONE:
            self.fail(as_answer(error))

    def _connect(self) -> None:
        pool, now = self.request.route.pool, self.context.now()
        up = private.take(self.app.private, pool, now) if self.app.private else pool.take(now)
        if up is not None:
            self.connected(up)
        else:
            self._enter(Phase.CONNECTION)
            pool.wait(self)

    def upstream_resolved(self, pool: Pool, base: bytes) -> None:
        """Where the route leads is known by now."""
        try:
            (self.start if self.request.resolve(pool, base) else self._connect)()
        except Exception as error:  # noqa: BLE001 - see `as_answer`
            self.fail(as_answer(error))

    def connected(self, upstream: Upstream) -> None:
        """Here is a connection: sign, over exactly what goes out, and send.

        What could not be sent again goes on no kept one that is seen to be over, or that may be ending just now.
        """
        request, body, context = self.request, self.body, self.context
        if upstream.served and (body is not None or request.head.method not in IDEMPOTENT):
            now, silent, owner = context.now(), upstream.silent, upstream.owner
            if not silent or (owner.shunned_until > now and not upstream.private and not request.survives(will=True)):
                self._enter(Phase.CONNECTION)
                owner.replace(upstream, self, now, new=silent)
                return
        try:
            sent = request.render(context.clock)
        except Exception as error:  # noqa: BLE001 - a scheme's defect is this request's and nobody else's
            upstream.release(context.now())
            self.fail(as_answer(error))
            return
        self.up, octets, phase = upstream, sent.octets, _RESPONSE
        if sent.identifies:
            private.keep(self.app.private, upstream)
        if body is not None:
            if not body.complete:
                expects = request.head.fields.expects_continue and not body.size and not body.invited
                phase = Phase.CONTINUE if expects else _UPLOAD
            octets += body.begin(sent.body)
            self.app.flow.open(BODY_WAITS | UPSTREAM_FULL)
        elif sent.body is not None:
            octets += sent.body
        self._enter(phase)
        upstream.ask(self, request.head.method, octets)
        if body is not None:
            self._open_passage(body)

    def body_came(self, pieces: list[bytes]) -> None:
        """More of the body came from the app (and the rest of it, if `body.complete`). Raises RequestBodyTooLarge."""
        body, up = self.body, self.up
        if body is None or self.phase is _DONE:
            return
        if self.phase is Phase.BODY:
            self.start()
        elif up is None or body.withheld:
            if body.size > body.buffer:
                self.app.flow.shut(BODY_WAITS)
        else:
            if octets := body.go_on(pieces):
                pass_on(up.transport, octets)
            self._went_out()
            self._open_passage(body)

    def _went_out(self) -> None:
        if self.phase in _GOES_OUT:
            there = self.request.complete and not self.app.flow.reasons & UPSTREAM_FULL
            self._enter(_RESPONSE if there else _UPLOAD)

    @property
    def body_onto(self) -> asyncio.Transport | None:
        """The upstream's transport, once the octets of the body go there as they come and are not kept any more."""
        return self.up.transport if self.up is not None and self.body is not None and not self.body.whole else None

    def _open_passage(self, body: RequestBody) -> None:
        if body.left > LONG and (onto := self.body_onto) is not None and not self.app.flow.reasons:
            open_splice(self.app, self.app.transport, onto, body.left)

    def upstream_full(self) -> None:
        """Back-pressure: the upstream is slower than the app."""
        self.app.flow.shut(UPSTREAM_FULL)
        self._went_out()

    def upstream_drained(self) -> None:
        """The upstream has caught up."""
        self.app.flow.open(UPSTREAM_FULL)
        self._went_out()

    # ---- and back ----------------------------------------------------------------------------------------------------

    def informed(self, head: AnswerHead) -> None:
        """1xx: passed on, to HTTP/1.1 apps (RFC 9110 §15.2)."""
        if head.status == 100 and self.body is not None:  # noqa: PLR2004
            if self.phase is Phase.CONTINUE:
                self._enter(_UPLOAD)
            if not self.body.invite():
                return
        if self.request.head.fields.version == 1:
            self.app.transport.write(Relay(self.request, self.app.peer.scheme).interim(head))

    def switched(self, head: AnswerHead, rest: bytes) -> None:
        """101: a tunnel, if it was asked for. Raises MalformedAnswer."""
        lines = switching(self.request.upgrade, head, whole=self.request.complete)
        self.request.switched(head)
        self._tunnel(head, lines, rest)

    def answered(self, head: AnswerHead, pieces: list[bytes], *, done: bool) -> None:
        """The answer's head: is the credential good? Then on to the app."""
        request, up, route = self.request, self.up, self.request.route
        if head.status == 401 and up and route.passes_authorization:  # noqa: PLR2004
            private.challenged(self.app.private, up, head)
        if (head.status in route.suspects or route.heeds or route.renewal_hold.watching) and request.suspects(head):
            self.held = HeldResponse(head)
            self._enter(Phase.REFUSED)
            self.more(pieces, done=done)
        elif request.upgrade and not done and request.complete and hijacked(head):
            self._tunnel(head, b"Connection: close\r\n", b"".join(pieces))
        else:
            self._answer(head, pieces, done=done)

    def more(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the answer's body."""
        relay, held, up = self._relay, self.held, self.up
        if held is not None:
            held.add(pieces, done=done)
            if self.phase is Phase.REFUSED:
                self._judge()
            elif held.full and not done and up is not None:
                up.flow.shut(HELD)
        elif self.phase is Phase.REWRITE and relay is not None and relay.rewriter is not None:
            self._answer(relay.rewriter.head, pieces, done=done, extra=relay.rewriter.extra)
        elif relay is not None:
            if octets := relay.more(pieces, done=done, trailers=up.trailers if up is not None else []):
                pass_on(self.app.transport, octets)
            if done:
                self._end(relay.status, whole=True)
            else:
                self._enter(_RELAY)

    def _answer(self, head: AnswerHead, pieces: list[bytes], *, done: bool, extra: bytes = b"") -> None:
        """The answer goes to the app; where links in its body are to be changed, once it is whole."""
        app, up, request, body = self.app, self.up, self.request, self.body
        relay = self._relay = self._relay or Relay(request, app.peer.scheme)
        persists = request.head.fields.persistent and not request.upgrade  # see `RequestFields.goes_on`
        close = app.closing or not persists or self.context.draining or (body is not None and not body.complete)
        trailers = up.trailers if up is not None else []
        octets = relay.begin(head, pieces, done=done, close=close, trailers=trailers, extra=extra)
        if octets is None:
            self._enter(Phase.REWRITE)
            return
        app.closing = relay.closes
        app.transport.write(octets)
        if done:
            self._end(relay.status, whole=True)
            return
        self._enter(_RELAY)
        if relay.streams and request.token is not None:
            self.context.expiring[app] = request.token
        if up is not None:
            app.paces(up)

    def _tunnel(self, head: AnswerHead, lines: bytes, rest: bytes) -> None:
        """The last answer that is HTTP: `lines` go with it, `rest` came behind it."""
        app, up, request = self.app, self.up, self.request
        if up is None or up.transport.is_closing():
            raise errors.ConnectionTerminated("The upstream ended the connection as it switched protocols")
        if app.transport.is_closing():  # over TLS its end is told a turn late, and to the protocol of before
            self.abandon()
            return
        self.up, route = None, request.route
        octets = Relay(request, app.peer.scheme).switched(head, lines, rest)
        tunnel = app.tunnel(up, route.config.timeouts.idle, octets)
        self._end(head.status)
        if route.ends_with_token and request.token is not None:
            self.context.expiring[tunnel] = request.token

    @property
    def onto(self) -> asyncio.Transport | None:
        """The app's transport, once the octets of the answer go there as they come."""
        return self.app.transport if self.phase is _RELAY else None

    def _judge(self, *, at_last: bool = False) -> None:
        """What is done about a refused answer, as soon as enough is known (`at_last`: now)."""
        held, request, body, now = self.held, self.request, self.body, self.context.clock.elapsed
        step = request.judge(held, now(), at_last=at_last) if held is not None else None
        match step:
            case None:
                return
            case Step.RESIGN | Step.PREDECESSOR:
                self._send_again(step)
            case Step.RENEW:
                if body is not None and not body.complete:
                    body.withheld = True
                    self.app.flow.shut(BODY_WAITS)
                self._wait_for(Phase.RENEWAL, request.renewal())
            case _:
                if step is Step.RENEW_BEHIND:
                    self.context.wait_for(request.renewal(), lambda token: request.renewed(token, now()), unanswered)
                self._let_go()

    def _send_again(self, step: Step) -> None:
        """The answer so far is nobody's: free its connection, or end it, and ask anew."""
        self.request.route.stats.retried(step.value)
        whole, self.held = self.held is not None and self.held.done, None
        self._enter(Phase.CONNECTION)
        up, self.up = self.up, None
        if up is not None and whole and self.request.delivered:
            up.release(self.context.now())
        elif up is not None:
            up.abandon()
        self._connect()

    def _let_go(self, extra: bytes = b"") -> None:
        """The held answer goes to the app after all."""
        held, self.held = self.held, None
        if held is None:
            return
        self.app.flow.open(BODY_WAITS)
        if held.error is not None:
            self.fail(held.error)
            return
        if self.up is not None:
            self.up.flow.open(HELD)
        self._answer(held.head, held.pieces, done=held.done, extra=extra)

    def broken(self, error: errors.ProxyError) -> None:
        """The upstream connection failed. If it was a kept one, and said nothing, that says nothing of the request.

        Then that is sent again, over a new one, and this is no attempt (RFC 9110 §9.2.2).
        """
        up, self.up = self.up, None
        if self.phase is Phase.RENEWAL and self.held is not None:
            self.held.error = None if self.held.done else error  # the renewal's end decides
            return
        self.held = None
        if self.phase in _GOES_OUT and up is not None and up.served and not up.heard:
            up.owner.shun(self.context.now())
            if self.request.survives():
                self.request.route.stats.retried("connection")
                self._enter(Phase.CONNECTION)
                up.owner.wait_for_new(self)
                return
        self.fail(error)

    def fail(self, error: errors.ProxyError) -> None:
        """We answer ourselves, if nothing has been answered yet; else the app must see that the answer is cut short."""
        if self.phase is _RELAY:
            self.cut()
        elif self.held is not None and not isinstance(error, errors.ClientError | errors.UpstreamError):
            remark = proxy_status_of_upstream(self.held.head.status, errors.CredentialUnavailable.details)
            self._let_go(b"Proxy-Status: %b\r\n" % remark)
        elif self.phase is not _DONE:
            self.app.refuse(error, self.request.head, self.request.route, self.request.admitted.readers)
            self._end(error.status, error)

    not_connected = fail

    def cut(self) -> None:
        """Never deliver a truncated answer as a complete one (RFC 9112 §8): what has come of it, and no end."""
        if self.up is not None:
            self.up.catch_up()
        self.abandon()

    def abandon(self) -> None:
        """The app hung up, or is to be told no more."""
        if self.phase is not _DONE:
            self.app.closing = True
            self._end(self._relay.status if self._relay is not None and self.phase is _RELAY else _CLIENT_GONE)

    def _end(self, status: int, error: errors.ProxyError | None = None, *, whole: bool = False) -> None:
        """Whatever ends ends here: it is counted, and both connections are free. `whole`: the upstream's answer is."""
        truncated = self.phase is _RELAY and not whole and self._relay is not None and self._relay.until_close
        context, route, body = self.context, self.request.route, self.body
        if self.phase is Phase.CONNECTION:
            route.pool.forget(self)
        if self._task is not None:
            self._task.cancel()
        self._enter(_DONE)
        up, self.up, self.held = self.up, None, None
        if up is not None and whole and (body is None or body.delivered):
            up.release(context.now())
        elif up is not None:
            up.abandon()
        context.in_flight -= 1
        route.stats.in_flight -= 1
        seconds = context.now() - self._started
        route.stats.count(self.request.head.method, status, seconds)
        if context.access == "all" or status >= 500:  # noqa: PLR2004 - server errors
            context.log_access(route, self.request.head, status, seconds, error)
        self.app.finished(truncated=truncated)
