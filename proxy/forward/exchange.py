"""One request, there and back: the straight line.

    start       the credential: at hand, or waited for
    _connect    a warm connection, or waited for
    go          hygiene, signature, out
    answered    accepted, or held while the credential is mended and the request sent again
    _relay      back to the app
    _finish     counted; both connections are free

Each favour (a new signature, a new token, a new connection) is granted at most once, so no request is sent more than
`retry.max_attempts` times for refusals and lost connections, plus once for a nonce.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from proxy.errors import AnswerTimeout, CredentialFault, ProxyError, RequestBodyTooLarge, RequestTimeout
from proxy.forward.cross_site import shared
from proxy.forward.held import Held
from proxy.forward.lane import Fate, passing
from proxy.forward.lesson import Lesson, readable
from proxy.forward.upload import Upload
from proxy.forward.upstream import Upstream
from proxy.http1.answer import AnswerHead
from proxy.http1.chunked import chunk, last_chunk
from proxy.http1.fields import pairs, value_of
from proxy.http1.request import RequestHead
from proxy.model import Answer, Field, Moment, Request, Token, Verdict
from proxy.problem import proxy_status_of_upstream

if TYPE_CHECKING:
    from proxy.forward.server import Downstream
    from proxy.forward.site import Admitted
    from proxy.tokens.credential import Tokens

_IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})
"""RFC 9110 §9.2.2; an unknown method is not assumed to be."""

_HIDDEN = frozenset({b"dpop-nonce"})
"""What an answer says to us and not to the app, where the credential learns from it (RFC 9449 §8)."""

_NOTHING_HIDDEN: frozenset[bytes] = frozenset()
_WAITS = float("inf")
_CLIENT_GONE = 499
"""The status in the counters when the app hung up first (nginx's convention); never sent."""

_clock = time.monotonic


class Exchange:
    """Between one app connection (`down`) and, while it has one, an upstream connection (`up`)."""

    __slots__ = (
        "_chunks", "_fate", "_gathers", "_hidden", "_lesson", "_origin", "_renewed", "_request", "_resigned", "_sends",
        "_signed", "_status", "_target", "_task", "_tokens", "deadline_at", "down", "head", "held", "lane", "over",
        "relaying", "started", "token", "up", "upload",
    )  # fmt: skip

    def __init__(
        self, down: Downstream, head: RequestHead, admitted: Admitted, upload: Upload | None, target: bytes
    ) -> None:
        self.down = down
        self.head = head
        lane = self.lane = admitted.lane
        self._origin = admitted.origin
        self._fate = Fate.SPENT if admitted.spent else Fate.REPLACED
        self.upload = upload
        self._target = target
        self.started = _clock()
        total = lane.route.timeouts.total
        self.deadline_at = self.started + total if total is not None else _WAITS
        self.up: Upstream | None = None
        self.token: Token | None = None
        self.held: Held | None = None
        self.over = False
        self.relaying = False
        self._tokens: Tokens | None = None
        self._request: Request | None = None
        self._signed: list[Field] = []
        self._task: asyncio.Task[Any] | None = None
        self._sends = 0
        self._resigned = self._renewed = False
        self._gathers = False
        self._chunks = False
        self._hidden = _NOTHING_HIDDEN
        self._lesson: Lesson | None = None
        self._status = 0

    # ---- there ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Decide which token the request has; wait only if it is not at hand."""
        lane = self.lane
        credential = lane.credential
        if credential is None:
            self._connect()
            return
        if (
            lane.route.on_client_authorization == "keep"
            and self._fate is Fate.REPLACED
            and lane.brings_own_credential(self.head.fields)
        ):
            self._fate = Fate.KEPT
            self._connect()
            return
        if credential.tokens is not None:
            self._tokens = credential.tokens
        elif credential.picker is not None:
            lines = self.head.fields.lines
            self._tokens = credential.picker.pick(self._as_request(), lambda name: value_of(lines, name))
        if self.upload is not None and not self.upload.complete and lane.gathers(self.head.fields):
            self._gathers = True  # `uploaded` goes on when the body is whole
            if self.head.fields.expects_continue:
                self.down.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._expect_body()
            return
        self._fetch_token()

    def _fetch_token(self) -> None:
        tokens = self._tokens
        if tokens is None:
            self._connect()
            return
        self.token = tokens.at_hand()
        if self.token is not None:
            self._connect()
        else:
            self._wait_for(tokens.current(), self._token_came)

    def _token_came(self, token: Token) -> None:
        self.token = token
        self._connect()

    def _connect(self) -> None:
        up = self.lane.pool.take()
        if up is not None:
            self.go(up)
        else:
            self.down.deadline = _WAITS  # the dialler has its own
            self.lane.pool.wait(self)

    def go(self, upstream: Upstream) -> None:
        """Here is a connection: sign, over exactly what goes out, and send."""
        try:
            octets = self._octets()
        except ProxyError as error:
            upstream.release(_clock())
            self.fail(error)
            return
        self.up = upstream
        self._sends += 1
        upload = self.upload
        if upload is None:
            self._expect_answer()
        else:
            octets += upload.wire(upload.pieces)
            upload.sent()
            if upload.complete:
                self._expect_answer()
            else:
                self._expect_body()
                if self.down.paused:
                    self.down.resume()
        upstream.ask(self, self.head.method, octets)

    def not_connected(self, error: ProxyError) -> None:
        """No connection can be had."""
        self.fail(error)

    def _octets(self) -> bytes:
        """The head as it goes out: what may cross, then the credential, last."""
        lane, head = self.lane, self.head
        target = self._target
        credential = b""
        if self.token is not None and lane.scheme is not None:
            scheme = lane.scheme
            if scheme.constant and self.token is lane.signed_token:
                credential = lane.credential_octets
            else:
                target = scheme.place(target, self.token)
                self._request = self._as_request(target)
                clock = self.down.front.clock
                self._signed = scheme.sign(self._request, self.token, Moment(clock.wall(), clock.octets))
                credential = b"".join([name + b": " + value + b"\r\n" for name, value in self._signed])
                if scheme.constant and scheme.parameter is None:
                    lane.signed_token, lane.credential_octets = self.token, credential
        section = lane.section(head.fields, self._fate)
        if lane.varies and self.token is not None:
            section = lane.without_fields_of(self.token, section)
        if lane.learner is not None:
            request = self._as_request(target)
            self._lesson = Lesson(lane.learner, request) if lane.learner.wants_answer(request) else None
            if self._lesson is not None:
                section = readable(section)
        upgrade = b""
        if self.upgrades:
            upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        return b"%b %b HTTP/1.1%b%b%b\r\n" % (head.method, target, section, upgrade, credential)

    @property
    def upgrades(self) -> bool:
        """Whether the app asks for a WebSocket, and the route lets it have one (RFC 6455 §4.1)."""
        upgrade = self.head.fields.upgrade
        return (
            upgrade is not None
            and self.head.method == b"GET"
            and upgrade.lower() == b"websocket"
            and "websocket" in self.lane.route.upgrades
        )

    def _as_request(self, target: bytes | None = None) -> Request:
        lane, head = self.lane, self.head
        content_type = head.fields.found.get(b"content-type")
        upload = self.upload
        body: bytes | None = b""
        if upload is not None:
            body = upload.body() if upload.complete and upload.whole else None
        return Request(
            head.method,
            lane.origin.scheme,
            lane.authority,
            self._target if target is None else target,
            content_type[0] if content_type else None,
            body,
        )

    # ---- the request's body --------------------------------------------------------------------------------------------

    def uploaded(self, pieces: list[bytes]) -> None:
        """More of the body came from the app (and the rest of it, if `upload.complete`)."""
        upload = self.upload
        if upload is None or self.over:
            return
        up = self.up
        if up is not None:
            octets = upload.wire(pieces)
            upload.sent()
            if octets:
                up.transport.write(octets)
            if upload.complete:
                self._expect_answer()
            else:
                self._expect_body()
            return
        if self._gathers:
            if upload.size > upload.buffer:
                self.fail(RequestBodyTooLarge("The request body is larger than can be signed"))
            elif upload.complete:
                self._gathers = False
                self._fetch_token()
            else:
                self._expect_body()
        elif upload.size > upload.buffer:
            self.down.pause()

    def upstream_full(self) -> None:
        """Back-pressure: the upstream is slower than the app."""
        self.down.pause()

    def upstream_drained(self) -> None:
        """The upstream has caught up."""
        self.down.resume()

    def _expect_body(self) -> None:
        if not self.relaying:
            self.down.deadline = min(self.deadline_at, _clock() + self.down.front.site.limits.body_idle_timeout)

    def _expect_answer(self) -> None:
        wait = self.lane.route.timeouts.response_header
        if not self.relaying:
            self.down.deadline = _WAITS if wait is None else min(self.deadline_at, _clock() + wait)
        if self.down.paused and self.up is not None:
            self.down.resume()

    # ---- and back ------------------------------------------------------------------------------------------------------

    def informed(self, head: AnswerHead, octets: bytes) -> None:
        """1xx: passed on, to HTTP/1.1 apps (RFC 9110 §15.2)."""
        if self.head.fields.version == 1 and self.held is None:
            self.down.transport.write(b"HTTP/1.1 %b%b\r\n" % (head.line, passing(head, _NOTHING_HIDDEN)))
        del octets

    def switched(self, head: AnswerHead, octets: bytes, rest: bytes) -> None:
        """101: a tunnel, if it was asked for."""
        del octets
        up = self.up
        if up is None or not self.upgrades:
            self.broken(ProxyError("The upstream switched protocols without being asked"))
            return
        self._status = head.status
        section = passing(head, self._hidden)
        answer = b"HTTP/1.1 %b%bConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" % (head.line, section)
        self.up = None
        self.down.tunnel(up, answer + rest)
        self._finish()

    def answered(self, head: AnswerHead, pieces: list[bytes], *, done: bool) -> None:
        """The answer's head: is the credential good? Then on to the app."""
        scheme = self.lane.scheme
        if self.token is not None and scheme is not None:
            if scheme.learns:
                self._hidden = _HIDDEN
            if scheme.learns or head.status in self.lane.suspects:
                self.held = Held(head, pieces, done=done)
                self._judge_held()
                return
            if self._renewed:
                self.lane.renewals.succeeded()
        self._relay(head, pieces, done=done)

    def more(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the answer's body."""
        held = self.held
        if held is None:
            self._relay_more(pieces, done=done)
            return
        held.add(pieces, done=done)
        if held.judged:
            if held.full and not done and self.up is not None:
                self.up.transport.pause_reading()
        else:
            self._judge_held()

    def _judge_held(self) -> None:
        """Decide as soon as enough is known; hold the answer while a token is renewed."""
        held, lane, token = self.held, self.lane, self.token
        if held is None or token is None or lane.scheme is None or self._tokens is None:
            return
        suspect = held.head.status in lane.suspects
        if suspect and lane.needs_body and not held.done and not held.full:
            return
        held.judged = True
        answer = Answer(held.head.status, pairs(held.head.lines), held.body())
        verdict = lane.scheme.judge(self._request or self._as_request(), answer, self._signed)
        now = self.down.front.clock.elapsed()
        if verdict is Verdict.RESIGN and not self._resigned and self._repeatable:
            self._resigned = True
            self._send_again("nonce")
        elif not (suspect and lane.refused(answer)):
            if self._renewed:
                lane.renewals.succeeded()
            self._let_go()
        elif self._renewed:
            lane.renewals.refused_again(now)
            self._let_go()
        elif not (lane.route.retry.on_unauthorized and lane.renewals.allowed(now)):
            self._let_go()
        elif self._repeatable and self._sends < lane.route.retry.max_attempts:
            self._renewed = True
            self.down.deadline = _WAITS  # the renewal has its own
            self._wait_for(self._tokens.renew(token), self._renewal_came)
        else:
            self.down.front.in_background(self._tokens.renew(token))
            self._let_go()

    @property
    def _repeatable(self) -> bool:
        return not self.relaying and (self.upload is None or self.upload.whole)

    def _renewal_came(self, token: Token) -> None:
        if not self._repeatable:
            self._let_go()
            return
        self.token = token
        self._send_again("unauthorized")

    def _send_again(self, reason: str) -> None:
        """The answer so far is nobody's: free its connection, or end it, and ask anew."""
        self.lane.stats.retried(reason)
        held, up = self.held, self.up
        self.held = self.up = None
        if up is not None:
            if held is not None and held.done and (self.upload is None or self.upload.complete):
                up.release(_clock())
            else:
                up.abandon()
        self._connect()

    def _let_go(self, extra: bytes = b"") -> None:
        """The held answer goes to the app after all."""
        held = self.held
        self.held = None
        if held is None:
            return
        if self.up is not None:
            self.up.transport.resume_reading()
        if held.error is not None:
            self.broken(held.error)
            return
        self._relay(held.head, held.pieces, done=held.done, extra=extra)

    def _relay(self, head: AnswerHead, pieces: list[bytes], *, done: bool, extra: bytes = b"") -> None:
        """Head and first octets of the body in one write."""
        down, up, request = self.down, self.up, self.head
        fields = request.fields
        self.relaying = True
        self._status = head.status
        section = passing(head, self._hidden)
        if self._origin is not None:
            section = shared(section, self._origin)
        has_body = head.has_body(request.method)
        if has_body and head.length is None:
            if fields.version == 1:
                self._chunks = True
                section += b"Transfer-Encoding: chunked\r\n"
            else:
                down.closing = True
        if (self.upload is not None and not self.upload.complete) or down.front.draining:
            down.closing = True
        if down.closing or not fields.persistent:
            down.closing = True
            section += b"Connection: close\r\n"
        elif fields.version == 0:
            section += b"Connection: keep-alive\r\n"
        if self._lesson is not None:
            self._lesson.add(head.status, pieces, done=done)
        body = self._framed(pieces, done=done) if has_body else b""
        down.transport.write(b"HTTP/1.1 %b%b%b\r\n%b" % (head.line, section, extra, body))
        if done:
            self._finish()
        elif up is not None:
            idle = self.lane.route.timeouts.idle
            down.deadline = _WAITS if idle is None else min(self.deadline_at, _clock() + idle)

    def _relay_more(self, pieces: list[bytes], *, done: bool) -> None:
        if self._lesson is not None:
            self._lesson.add(self._status, pieces, done=done)
        body = self._framed(pieces, done=done)
        if body:
            self.down.transport.write(body)
        if done:
            self._finish()
        else:
            idle = self.lane.route.timeouts.idle
            self.down.deadline = _WAITS if idle is None else min(self.deadline_at, _clock() + idle)

    def _framed(self, pieces: list[bytes], *, done: bool) -> bytes:
        if not self._chunks:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        framed = b"".join(map(chunk, pieces))
        if done:
            framed += last_chunk(self.up.trailers if self.up is not None else [])
        return framed

    # ---- the end -------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The answer is complete: count it, free both connections."""
        now = _clock()
        up, self.up = self.up, None
        self.over = True
        if up is not None:
            if self.upload is None or self.upload.complete:
                up.release(now)
            else:
                up.abandon()
        self.lane.stats.count(self.head.method, self._status, now - self.started)
        self.down.finished(self, self._status, now)

    def broken(self, error: ProxyError) -> None:
        """The upstream connection failed under this exchange."""
        up, self.up = self.up, None
        if self.over:
            return
        if self.held is not None and (self.held.done or self.held.judged):
            if not self.held.done:
                self.held.error = error  # a renewal is under way: its end decides
            return
        if self.relaying:
            self._cut()
        elif up is not None and self._may_ask_again(up):
            self.lane.stats.retried("connection")
            self._connect()
        else:
            self.fail(error)

    def _may_ask_again(self, up: Upstream) -> bool:
        """A kept-alive connection that died before a byte of the answer says nothing about the request (RFC 9110 §9.2.2)."""
        return (
            up.served > 0
            and not up.heard
            and self.lane.route.retry.on_connect_error
            and self.head.method in _IDEMPOTENT
            and self._repeatable
            and self._sends < self.lane.route.retry.max_attempts
        )

    def fail(self, error: ProxyError) -> None:
        """We answer ourselves, if nothing has been answered yet; else the app must see that the answer is cut short."""
        if self.over:
            return
        if self.held is not None and isinstance(error, CredentialFault):
            self._let_go(b"Proxy-Status: %b\r\n" % proxy_status_of_upstream(self.held.head.status, error.details or ""))
            return
        if self.relaying:
            self._cut()
            return
        self._drop_upstream()
        self.over = True
        self._status = error.status
        now = _clock()
        self.lane.stats.count(self.head.method, error.status, now - self.started)
        self.down.refuse(error, self.head, self.lane)
        self.down.finished(self, error.status, now)

    def _cut(self) -> None:
        """Never deliver a truncated answer as a complete one: the connection is reset (RFC 9112 §8)."""
        self._drop_upstream()
        self.over = True
        self.lane.stats.count(self.head.method, self._status, _clock() - self.started)
        self.down.cut(self, self._status)

    def abandon(self) -> None:
        """The app hung up."""
        if self.over:
            return
        self.over = True
        self._drop_upstream()
        self.lane.stats.count(self.head.method, self._status or _CLIENT_GONE, _clock() - self.started)

    def expire(self) -> None:
        """`down.deadline` has passed."""
        if self.relaying:
            self._cut()
        elif self.upload is not None and not self.upload.complete and not self.down.paused:
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
            self.lane.pool.forget(self)

    # ---- waiting -------------------------------------------------------------------------------------------------------

    def _wait_for(self, token: Coroutine[Any, Any, Token], then: Callable[[Token], None]) -> None:
        """The only tasks of the data path: a token that is not at hand, a renewal, a new connection (`Pool`)."""
        self.down.deadline = self.deadline_at
        task = self.down.front.loop.create_task(token)
        self._task = task

        def arrived(task: asyncio.Task[Token]) -> None:
            if task.cancelled():
                return
            error = task.exception()
            if self.over:
                return
            self._task = None
            if error is None:
                then(task.result())
            elif isinstance(error, ProxyError):
                self.fail(error)
            else:
                self.down.front.unexpected(error)
                self.fail(ProxyError())

        task.add_done_callback(arrived)
