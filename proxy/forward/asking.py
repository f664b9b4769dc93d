"""The way there: which token, which connection, what goes out, and the body behind it.

start       the credential: at hand, or waited for
_connect    a warm connection, or waited for
go          rendered (`outbound.py`), and out
uploaded    the body, as it comes
"""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

from proxy.errors import ProxyError, RequestBodyTooLarge
from proxy.forward import private
from proxy.forward.flow_control import BODY_WAITS, UPSTREAM_FULL
from proxy.forward.live_route import AuthorizationAction
from proxy.forward.outbound import fate_of_authorization, render
from proxy.forward.outgoing import Outgoing
from proxy.forward.own_answers import as_answer
from proxy.forward.pool import Pool
from proxy.forward.request_body import RequestBody
from proxy.forward.splice import LONG, open_splice, pass_on
from proxy.forward.upstream import Upstream
from proxy.http1.fields import value_of
from proxy.model import Token

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"TRACE"})
"""RFC 9110 §9.2.2; an unknown method is not assumed to be."""

_IDEMPOTENCY_KEY = re.compile(rb"\r\nidempotency-key:[ \t]*+[^ \t\r]", re.IGNORECASE)

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_CONTINUE_AFTER = 1.0
"""Seconds after which we ask for the body ourselves: the upstream may know nothing of Expect (RFC 9110 §10.1.1)."""

_TOO_LARGE = "The request body is larger than can be signed"


class Asking(Outgoing, ABC):
    """The way there. Who hears the answer is `Exchange`."""

    @abstractmethod
    def fail(self, error: ProxyError) -> None:
        """We answer ourselves."""

    # ---- the token ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Decide which token the request has; wait only if it is not at hand. Raises ProxyError."""
        route = self.route
        credential = route.credential
        if credential is None:
            self._connect()
            return
        wish = route.config.on_client_authorization
        if wish == "keep" and fate_of_authorization(route, self.head.fields) is AuthorizationAction.KEEP:
            self._action = AuthorizationAction.KEEP
            self._connect()
            return
        if credential.tokens is not None:
            self._tokens = credential.tokens
        elif route.unresolved:
            self._connect()  # `upstream_resolved` comes back here: which token it is may depend on the URL
            return
        elif credential.picker is not None:
            lines = self.head.fields.lines
            self._tokens = credential.picker.pick(self._asked(), lambda name: value_of(lines, name))
        if self.upload is not None and route.gathers(self.head.fields):
            if max(self.upload.size, self.head.fields.length or 0) > self.upload.buffer:
                raise RequestBodyTooLarge(_TOO_LARGE)
            if not self.upload.complete:
                self._gathers = True  # `uploaded` goes on when the body is whole
                if self.head.fields.expects_continue:
                    self._continue()
                self._expect_body()
                return
        self._fetch_token()

    def _fetch_token(self) -> None:
        tokens = self._tokens
        if tokens is None:
            self._connect()
            return
        self.token = tokens.ready()
        if self.token is not None:
            self._connect()
        else:
            self._wait_for(tokens.current(), self._token_came)

    def _token_came(self, token: Token) -> None:
        self.token = token
        self._connect()

    def _wait_for(self, token: Coroutine[Any, Any, Token], then: Callable[[Token], None]) -> None:
        """The only tasks of the data path: a token that is not at hand, a renewal, a new connection (`Pool`)."""
        self._due(None)  # the token's own deadline is its manager's
        task = self.context.loop.create_task(token)
        self._task = task

        def arrived(task: asyncio.Task[Token]) -> None:
            error = asyncio.CancelledError() if task.cancelled() else task.exception()
            if self.over:
                return
            self._task = None
            if error is not None:
                self.fail(as_answer(error))
                return
            try:
                then(task.result())
            except Exception as failure:  # noqa: BLE001 - see `as_answer`
                self.fail(as_answer(failure))

        task.add_done_callback(arrived)

    # ---- the connection ----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        own = self.app.private
        up = private.take(own, self.route.pool, self.context.now()) if own else None
        if up is None:
            up = self.route.pool.take(self.context.now())
        if up is not None:
            self.connected(up)
        else:
            self._due(None)  # the dialler has its own
            self.route.pool.wait(self)

    def not_connected(self, error: ProxyError) -> None:
        """No connection can be had."""
        self.fail(error)

    def upstream_resolved(self, pool: Pool, base: bytes) -> None:
        """Where the route leads is known by now."""
        route = self.route = self.route.towards(pool, base)
        self._target = route.target(self._target)
        if not route.varies or self._action is AuthorizationAction.KEEP:
            self._connect()
            return
        try:
            self.start()
        except Exception as error:  # noqa: BLE001 - see `as_answer`
            self.fail(as_answer(error))

    def connected(self, upstream: Upstream) -> None:
        """Here is a connection: sign, over exactly what goes out, and send.

        What could not be sent again does not go out on a kept connection that is seen to be over, nor on any that the
        upstream may be ending just now.
        """
        if upstream.served and (self.upload is not None or self.head.method not in IDEMPOTENT):
            if not upstream.silent:
                upstream.owner.doubt(self.context.now())
                upstream.close()
                self._connect()
                return
            if upstream.owner.shunned_until > self.context.now() and not upstream.private and not self._may_come_again:
                upstream.close()
                upstream.owner.wait_for_new(self)
                return
        route, upload = self.route, self.upload
        try:
            sent = self._outbound = render(
                route, self.head, self._target, self._action, self.token, self.context.clock, self.upgrade, upload
            )
        except Exception as error:  # noqa: BLE001 - a scheme's defect is this request's and nobody else's
            upstream.release(self.context.now())
            self.fail(as_answer(error))
            return
        octets = sent.octets
        if (
            route.identifies or (route.passes_authorization and b"authorization" in self.head.fields.found)
        ) and private.authenticates(octets):
            private.keep(self.app.private, upstream)
        self.up = upstream
        self._sends += 1
        if upload is None:
            octets += sent.body or b""
            self._expect_answer()
        else:
            octets += upload.wire(upload.pieces) if sent.body is None else sent.body
            upload.sent()
            self._withheld = False
            self.app.flow.open(BODY_WAITS | UPSTREAM_FULL)
            if upload.complete:
                self._expect_answer()
            elif self.head.fields.expects_continue and not upload.size and not self._continued:
                self._awaits_continue = True
                self._due(_CONTINUE_AFTER)
            else:
                self._expect_body()
        upstream.ask(self, self.head.method, octets)  # type: ignore[arg-type]  # an Exchange, which hears the answer
        if upload is not None:
            self._open_passage(upload)

    @property
    def _may_come_again(self) -> bool:
        """Whether it could be sent again, if its connection died before a byte of the answer."""
        upload = self.upload
        if upload is not None:
            size = max(upload.size, self.head.fields.length or 0)
            if not upload.whole or size > upload.buffer or (upload.chunked and not upload.complete):
                return False
        return self.route.config.retry.on_connect_error and self._idempotent

    @property
    def _idempotent(self) -> bool:
        """By its method, or by a key as the upstream gets it, under which it does what was asked once."""
        if self.head.method in IDEMPOTENT:
            return True
        try:
            section = self.route.section(self.head.fields, self._action)
        except ProxyError:  # a field that we set cannot be sent any more: nor can the request
            return False
        return _IDEMPOTENCY_KEY.search(section) is not None

    # ---- the body ----------------------------------------------------------------------------------------------------

    def uploaded(self, pieces: list[bytes]) -> None:
        """More of the body came from the app (and the rest of it, if `upload.complete`)."""
        upload, up = self.upload, self.up
        if upload is None or self.over:
            return
        self._awaits_continue = False
        if self._gathers:
            self._gather(upload)
        elif up is None or self._withheld:
            if upload.size > upload.buffer:
                self.app.flow.shut(BODY_WAITS)
        else:
            octets = upload.wire(pieces)
            upload.sent()
            if octets:
                pass_on(up.transport, octets)
            if upload.complete:
                self._expect_answer()
            elif not self.app.flow.reasons:
                self._expect_body()
                self._open_passage(upload)

    @property
    def upload_onto(self) -> asyncio.Transport | None:
        """The upstream's transport, once the octets of the body go there as they come and are not kept any more."""
        upload, up = self.upload, self.up
        return up.transport if up is not None and upload is not None and not upload.whole else None

    def _open_passage(self, upload: RequestBody) -> None:
        if upload.left > LONG and (onto := self.upload_onto) is not None:
            open_splice(self.app, self.app.transport, onto, upload.left)

    def _gather(self, upload: RequestBody) -> None:
        if upload.size > upload.buffer:
            self.fail(RequestBodyTooLarge(_TOO_LARGE))
        elif upload.complete:
            self._gathers = False
            self._fetch_token()
        else:
            self._expect_body()

    def _continue(self) -> None:
        """Ask the app for the body; once is enough, whoever asks."""
        self._awaits_continue = False
        if not self._continued:
            self._continued = True
            self.app.transport.write(CONTINUE)

    def upstream_full(self) -> None:
        """Back-pressure: the upstream is slower than the app."""
        self.app.flow.shut(UPSTREAM_FULL)
        if not self.relaying:
            self._due(self.route.config.timeouts.idle)

    def upstream_drained(self) -> None:
        """The upstream has caught up."""
        self.app.flow.open(UPSTREAM_FULL)
        if self.upload is not None and not self.upload.complete:
            self._expect_body()
        else:
            self._expect_answer()

    # ---- deadlines ---------------------------------------------------------------------------------------------------

    def _due(self, seconds: float | None) -> None:
        """So many seconds for what comes next, and no more than are left of all; None: no more than those."""
        self.app.deadline = self.deadline_at if seconds is None else min(self.deadline_at, self.context.now() + seconds)

    def _expect_body(self) -> None:
        if not self.relaying:
            self._due(self.context.site.limits.body_idle_timeout)

    def _expect_answer(self) -> None:
        if not self.relaying:
            self._due(self.route.config.timeouts.response_header)
