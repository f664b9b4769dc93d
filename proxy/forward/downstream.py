"""One connection of the app: heads are read, requests are served one after the other, answers go back in order."""

from __future__ import annotations

import asyncio
from typing import cast

from proxy.errors import LimitReached, ProxyError, RequestTimeout
from proxy.forward import private
from proxy.forward.buffers import keep_little, piece_for, read_at_most
from proxy.forward.context import ServerContext
from proxy.forward.cors import Readers
from proxy.forward.exchange import Exchange, Phase
from proxy.forward.flow_control import APP_FULL, PIPELINED, FlowControl
from proxy.forward.lingering_close import LingeringClose
from proxy.forward.live_route import LiveRoute
from proxy.forward.outgoing_request import OutgoingRequest
from proxy.forward.own_answers import as_answer, ended, own_answer
from proxy.forward.request_body import RequestBody
from proxy.forward.router import PLAIN, peer_of
from proxy.forward.socket_probe import hung_up, silent, unread
from proxy.forward.tunnel import Tunnel
from proxy.forward.upstream import Upstream
from proxy.forward.write_batcher import batched
from proxy.http1.request import RequestHead, read_request

_MOST_PIPELINED = 64 * 1024
"""Octets of later requests that wait here; then the socket is not read any more."""

_WAITS = float("inf")


class Downstream(asyncio.Protocol):
    """From accept to close.

    `deadline`: when the sweep calls `expire`; `closing`: the connection ends behind the present answer; `full`: the app
    takes no more octets for now.
    """

    __slots__ = (
        "_advancing", "_buffer", "_half_closed", "_lingering", "_searched", "_unread", "closing", "context", "deadline",
        "exchange", "flow", "full", "peer", "private", "transport",
    )  # fmt: skip

    def __init__(self, context: ServerContext) -> None:
        self.context = context
        self.transport: asyncio.Transport
        self.flow: FlowControl
        self.exchange: Exchange | None = None
        self.private: private.Own = {}
        self.peer, self.deadline = PLAIN, _WAITS
        self.closing = self.full = self._advancing = self._half_closed = False
        self._buffer, self._searched, self._unread = b"", 0, 0
        self._lingering: LingeringClose | None = None

    # ---- from the event loop -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or say that there are too many."""
        keep_little(transport)
        self.transport = batched(transport)
        self.flow = FlowControl(self.transport)
        context = self.context
        self.peer = peer_of(self.transport)
        context.connections.add(self)
        self.deadline = context.now() + context.site.limits.header_timeout
        if len(context.connections) > context.site.limits.max_connections:
            self.refuse(LimitReached("Too many connections"), None, None, None)

    def data_received(self, data: bytes) -> None:
        """Octets of a request's head, of its body, or of a later request."""
        exchange = self.exchange
        if exchange is None:
            if self._lingering is None:
                self._buffer = self._buffer + data if self._buffer else data
                self._advance()
        elif exchange.body is not None and not exchange.body.complete:
            self._read_body(exchange, exchange.body, data)
        else:
            self._buffer += data
        if len(self._buffer) > _MOST_PIPELINED:
            self.flow.shut(PIPELINED)

    def body_came(self, view: memoryview) -> None:
        """More of a long body, by its splice; `bytes` where anybody might keep it, as when its exchange is over."""
        exchange = self.exchange
        self.data_received(cast("bytes", view) if exchange is not None and exchange.body_onto else bytes(view))

    def eof_received(self) -> bool:
        """The app is done sending, which does not mean that it is done reading: whole requests are still answered."""
        exchange = self.exchange
        self._half_closed = True
        if self._lingering is not None:
            return self._lingering.keeps_open
        if exchange is None:
            if self.transport.get_write_buffer_size() and not (self.full and self._buffer):
                self._end()  # it is waited for while it reads, and no longer
            return self.full and bool(self._buffer)
        if exchange.body is not None and not exchange.body.complete:
            exchange.abandon()
            return False
        return self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, _: Exception | None) -> None:
        """The app hung up: so does its upstream connection; a token request goes on for the next caller."""
        self.context.forget(self)
        if self.exchange is not None:
            self.exchange.abandon()
        private.end(self.private)

    def pause_writing(self) -> None:
        """The app reads slower than the upstream sends. No further request is begun until it has caught up."""
        self.full = self.context.memory.freed = True
        self._unread = unread(self.transport)
        if self.exchange is not None and self.exchange.up is not None:
            self.exchange.up.flow.shut(APP_FULL)

    def resume_writing(self) -> None:
        """The app has caught up."""
        self.full, self.context.memory.freed = False, True
        if self.exchange is None:
            self._advance()
        elif self.exchange.up is not None:
            self.exchange.up.flow.open(APP_FULL)

    def paces(self, upstream: Upstream) -> None:
        """More of the answer comes over it: in pieces that suit this connection, and not while that is full."""
        read_at_most(upstream.transport, piece_for(self.transport))
        if self.full:
            upstream.flow.shut(APP_FULL)

    def reads(self) -> bool:
        """Whether the app, which had no room when this was last asked, has taken something of the answer since."""
        before, self._unread = self._unread, unread(self.transport)
        return self.full and self._unread < before

    # ---- requests ----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Serve what the buffer holds, one request after the other. Own answers return here at once: no recursion."""
        if self._advancing:
            return
        self._advancing = True
        while self._buffer and self.exchange is None and not self.closing and not self.full:
            limits, unix = self.context.site.limits, self.peer.unix
            try:
                head = read_request(self._buffer, self._searched, limits.max_header_size, limits.max_headers, unix=unix)
            except Exception as error:  # noqa: BLE001 - see `as_answer`
                self.refuse(as_answer(error), None, None, None)
                break
            if head is None:
                if self._searched == 0:
                    self.deadline = self.context.now() + limits.header_timeout
                self._searched = len(self._buffer)
                break
            self._buffer = self._buffer[head.size :]
            self._searched = 0
            self._begin(head)
        self._advancing = False
        if self.flow.reasons and len(self._buffer) <= _MOST_PIPELINED:
            self.flow.open(PIPELINED)
        if self._half_closed and self.exchange is None and not self.full:
            self._end()

    def _begin(self, head: RequestHead) -> None:
        context = self.context
        route: LiveRoute | None = None
        readers: Readers | None = None
        try:
            admitted = context.site.admit(head, self.peer)
            route, head, readers = admitted.route, admitted.head, admitted.readers
            if admitted.preflight is not None:
                self._answer_preflight(head, route, admitted.preflight)
                return
            target = route.target(admitted.target)
            body = context.admit(route, head.fields)
        except Exception as failure:  # noqa: BLE001 - see `as_answer`
            error = as_answer(failure)
            if route is not None:
                route.stats.count(head.method, error.status, 0.0)
            else:
                readers = context.site.readers(head, self.peer)
            self.refuse(error, head, route, readers)
            return
        exchange = self.exchange = Exchange(self, context, OutgoingRequest(admitted, head, route, body, target))
        try:
            if body is not None and self._buffer:
                _, self._buffer = body.feed(self._buffer)
            exchange.start()
        except Exception as error:  # noqa: BLE001 - see `as_answer`
            exchange.fail(as_answer(error))

    def _answer_preflight(self, head: RequestHead, route: LiveRoute, answer: bytes) -> None:
        if head.fields.has_body or not head.fields.persistent or self.context.draining:
            self.closing = True
        self.transport.write(ended(answer, head, close=self.closing))
        route.stats.count(head.method, 204, 0.0)
        self.context.log_access(route, head, 204, 0.0)
        self._answered()

    def _read_body(self, exchange: Exchange, body: RequestBody, data: bytes) -> None:
        try:
            pieces, rest = body.feed(data)
            self._buffer = rest or self._buffer
            exchange.body_came(pieces)
        except Exception as error:  # noqa: BLE001 - see `as_answer`
            exchange.fail(as_answer(error))

    def finished(self, *, truncated: bool) -> None:
        """The exchange is over, however it ended: on to the next request, or to the end."""
        exchange, self.exchange = self.exchange, None
        if exchange is None:
            return
        context = self.context
        if context.expiring:
            context.expiring.pop(self, None)
        if self.closing or not exchange.request.head.fields.persistent or (context.draining and not self._buffer):
            self._end(truncated=truncated)
            return
        self.deadline = context.now() + context.site.limits.keep_alive
        if self.flow.reasons:
            self.flow.open()
        if self._buffer or self._half_closed:
            self._advance()

    # ---- answers of our own ------------------------------------------------------------------------------------------

    def refuse(
        self, error: ProxyError, head: RequestHead | None, route: LiveRoute | None, readers: Readers | None
    ) -> None:
        """Answer `error`; the connection goes on only where the request is whole and its end is known."""
        body = self.exchange.body if self.exchange is not None else None
        whole = body.complete if body is not None else head is not None and not head.fields.has_body
        if error.close or not whole or self.context.draining or (head is not None and not head.fields.goes_on):
            self.closing = True
        self.transport.write(own_answer(error, head, route, readers, close=self.closing))
        if self.exchange is None:
            self.context.log_access(route, head, error.status, 0.0, error)
            self._answered()

    def _answered(self) -> None:
        if self.closing:
            self._end()
        else:
            self.deadline = self.context.now() + self.context.site.limits.keep_alive

    def look(self) -> None:
        """Whether the app is still there, where reading does not tell. Asked rarely, while there is an exchange."""
        body = self.exchange.body if self.exchange is not None else None
        owed = max(1, body.left) if body is not None and not body.complete else 0
        if (self.flow.reasons or self._half_closed) and hung_up(self.transport, owed):
            self.transport.abort()

    # ---- the end -----------------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = _WAITS
        if self.exchange is not None:
            self.exchange.expire()
        elif self._lingering is not None:
            self._lingering.expire()
            self.deadline = self._lingering.due
        elif self._buffer and not self.full:
            self.refuse(RequestTimeout("The request head did not come in time"), None, None, None)
        elif self._buffer or silent(self.transport):
            self._end(linger=False)
        else:
            self.deadline = 0.0  # a request waits in the socket: it is read, and answered, before the next sweep

    def token_expired(self) -> None:
        """`on_token_expiry: close`, and this connection's stream outlived its token."""
        if self.exchange is not None and self.exchange.phase is Phase.RELAY:
            self.exchange.cut()

    def drain(self, grace: float = 0.0) -> None:
        """The program is stopping: an idle connection ends after that many seconds, a busy one behind its answer."""
        if self.exchange is None and not self._buffer:
            self.deadline = min(self.deadline, self.context.now() + grace)

    def _end(self, *, linger: bool = True, truncated: bool = False) -> None:
        self.closing = True
        self._buffer = b""
        if self._lingering is None and not self.transport.is_closing():
            linger = linger and not self._half_closed
            self._lingering = LingeringClose(self.transport, self.context.now, linger=linger, truncated=truncated)
            self.deadline = self._lingering.due
            self.flow.open()

    def tunnel(self, upstream: Upstream, idle: float | None, octets: bytes) -> Tunnel:
        """From here on octets go both ways untouched, and no request comes any more. `octets`: the upstream's first."""
        self.exchange = None
        context = self.context
        tunnel = Tunnel(self.transport, upstream, idle, context.now, context.forget)
        context.connections.add(tunnel)
        context.forget(self)
        private.end(self.private, besides=upstream)
        self.flow.open()
        tunnel.begin(octets, self._buffer, app_full=self.full, app_ended=self._half_closed)
        return tunnel
