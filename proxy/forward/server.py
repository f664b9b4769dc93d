"""One connection of the app: heads are read, requests are served one after the other, answers go back in order."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, cast

from proxy.errors import LimitReached, MalformedRequest, ProxyError, RequestDenied, RequestTimeout
from proxy.forward.cross_site import is_preflight, preflight_answer
from proxy.forward.exchange import Exchange
from proxy.forward.lane import Lane
from proxy.forward.own_answers import own_answer
from proxy.forward.site import Peer
from proxy.forward.tunnel import Tunnel
from proxy.forward.upload import Upload
from proxy.forward.upstream import READ_SIZE, Upstream
from proxy.http1.grammar import GrammarError
from proxy.http1.request import RequestHead, read_request
from proxy.peer import peer_uid

if TYPE_CHECKING:
    from proxy.forward.front import Front

_MOST_PIPELINED = 64 * 1024
"""Octets of later requests that wait here; then the socket is not read any more."""

_LINGER = 2.0
"""Seconds in which what the app still sends is thrown away, so that a reset does not destroy the answer it has yet to read
(RFC 9112 §9.6)."""

_WAITS = float("inf")
_clock = time.monotonic


class Downstream(asyncio.Protocol):
    """`deadline`: when the sweep calls `expire`; `closing`: no request is read any more; `paused`: not reading now."""

    __slots__ = (
        "_advancing", "_buffer", "_half_closed", "_lingering", "_searched", "closing", "deadline", "exchange", "front",
        "paused", "peer", "transport", "tunnelled",
    )  # fmt: skip

    def __init__(self, front: Front) -> None:
        self.front = front
        self.peer = _PLAIN
        self.transport: asyncio.Transport
        self.exchange: Exchange | None = None
        self.tunnelled: Tunnel | None = None
        self.deadline = _WAITS
        self.closing = False
        self.paused = False
        self._buffer = b""
        self._searched = 0
        self._advancing = False
        self._half_closed = False
        self._lingering = False

    # ---- from the event loop -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the connection, or say that there are too many."""
        self.transport = cast("asyncio.Transport", transport)
        if hasattr(self.transport, "max_size"):
            self.transport.max_size = READ_SIZE
        front = self.front
        self.peer = _peer(self.transport)
        front.connections.add(self)
        self.deadline = _clock() + front.site.limits.header_timeout
        if len(front.connections) > front.site.limits.max_connections:
            self.refuse(LimitReached("Too many connections"), None, None)

    def data_received(self, data: bytes) -> None:
        """Octets of a request's head, of its body, of a later request, or of a tunnel."""
        exchange = self.exchange
        if exchange is None:
            if self.tunnelled is not None:
                self.tunnelled.from_app(data)
            elif not self._lingering:
                self._buffer = self._buffer + data if self._buffer else data
                self._advance()
            return
        if exchange.upload is not None and not exchange.upload.complete:
            self._read_body(exchange, exchange.upload, data)
            return
        self._buffer += data
        if len(self._buffer) > _MOST_PIPELINED:
            self.pause()

    def eof_received(self) -> bool:
        """The app is done sending, which does not mean that it is done reading: whole requests are still answered."""
        if self.tunnelled is not None:
            return self.tunnelled.app_ended()
        exchange = self.exchange
        self.closing = self._half_closed = True
        if exchange is None:
            return False
        if exchange.upload is not None and not exchange.upload.complete:
            exchange.abandon()
            return False
        return self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, error: Exception | None) -> None:
        """The app hung up: so does its upstream connection; a token request goes on for the next caller."""
        self.front.connections.discard(self)
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            self.front.in_flight -= 1
            exchange.lane.stats.in_flight -= 1
            exchange.abandon()
        if self.tunnelled is not None:
            self.tunnelled.app_lost(error)

    def pause_writing(self) -> None:
        """The app reads slower than the upstream sends."""
        if self.tunnelled is not None:
            self.tunnelled.app_full()
        elif self.exchange is not None and self.exchange.up is not None:
            self.exchange.up.transport.pause_reading()

    def resume_writing(self) -> None:
        """The app has caught up."""
        if self.tunnelled is not None:
            self.tunnelled.app_drained()
        elif self.exchange is not None and self.exchange.up is not None and self.exchange.held is None:
            self.exchange.up.transport.resume_reading()

    # ---- requests ------------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Serve what the buffer holds, one request after the other. Own answers return here at once: a loop, no recursion."""
        if self._advancing:
            return
        self._advancing = True
        while self._buffer and self.exchange is None and not self.closing:
            limits = self.front.site.limits
            try:
                head = read_request(self._buffer, self._searched, limits.max_header_size, limits.max_headers)
            except ProxyError as error:
                self.refuse(error, None, None)
                break
            if head is None:
                if self._searched == 0:
                    self.deadline = _clock() + limits.header_timeout
                self._searched = len(self._buffer)
                break
            self._buffer = self._buffer[head.size :]
            self._searched = 0
            self._begin(head)
        self._advancing = False

    def _begin(self, head: RequestHead) -> None:
        front = self.front
        lane: Lane | None = None
        try:
            admitted = front.site.admit(head, self.peer)
            lane = admitted.lane
            if admitted.origin is not None and is_preflight(head):
                self._answer_preflight(head, admitted.origin)
                return
            target = lane.target(admitted.target)
            if front.in_flight >= front.site.limits.max_in_flight:
                raise LimitReached("Too many requests in flight")
            if lane.stats.in_flight >= lane.route.limits.max_in_flight:
                raise LimitReached("Too many requests in flight on this route")
            if lane.rate is not None:
                lane.rate.admit(front.clock.elapsed())
            own = not admitted.spent and lane.brings_own_credential(head.fields)
            if own and lane.route.on_client_authorization == "reject":
                raise RequestDenied("This route takes no Authorization from the app")
            upload = lane.upload(head.fields) if head.fields.has_body else None
        except ProxyError as error:
            if lane is not None:
                lane.stats.count(head.method, error.status, 0.0)
            self.refuse(error, head, lane)
            front.log_access(lane, head, error.status, 0.0)
            return
        exchange = self.exchange = Exchange(self, head, admitted, upload, target)
        front.in_flight += 1
        lane.stats.in_flight += 1
        if upload is not None and self._buffer:
            data, self._buffer = self._buffer, b""
            try:
                _, self._buffer = upload.feed(data)
            except (ProxyError, GrammarError) as error:
                exchange.fail(_as_answer(error))
                return
        try:
            exchange.start()
        except ProxyError as error:
            exchange.fail(error)

    def _answer_preflight(self, head: RequestHead, origin: bytes) -> None:
        if head.fields.has_body or not head.fields.persistent or self.front.draining:
            self.closing = True
        self.transport.write(preflight_answer(head, origin, close=self.closing))
        if self.closing:
            self._end()

    def _read_body(self, exchange: Exchange, upload: Upload, data: bytes) -> None:
        try:
            pieces, rest = upload.feed(data)
        except (ProxyError, GrammarError) as error:
            exchange.fail(_as_answer(error))
            return
        if rest:
            self._buffer = rest
        exchange.uploaded(pieces)

    def finished(self, exchange: Exchange, status: int, now: float) -> None:
        """The exchange is over and answered; the next request may come."""
        front = self.front
        self.exchange = None
        front.in_flight -= 1
        exchange.lane.stats.in_flight -= 1
        front.log_access(exchange.lane, exchange.head, status, now - exchange.started)
        if self.tunnelled is not None:
            return
        if self.closing or not exchange.head.fields.persistent:
            self.closing = True
            self._end()
            return
        self.deadline = now + front.site.limits.keep_alive
        if self.paused:
            self.resume()
        if self._buffer:
            self._advance()

    # ---- answers of our own --------------------------------------------------------------------------------------------

    def refuse(self, error: ProxyError, head: RequestHead | None, lane: Lane | None) -> None:
        """Answer `error`; the connection goes on only where the request is whole and its end is known."""
        unread = self.exchange.upload if self.exchange is not None else None
        if unread is not None:
            whole = unread.complete
        else:
            whole = head is not None and not head.fields.has_body
        if error.close or not whole or self.front.draining or (head is not None and not head.fields.persistent):
            self.closing = True
        self.transport.write(
            own_answer(
                error,
                instance=head.target if head is not None else None,
                route=lane.name if lane is not None else None,
                credential=lane.credential.name if lane is not None and lane.credential is not None else None,
                head_only=head is not None and head.method == b"HEAD",
                close=self.closing,
            )
        )
        if self.closing and self.exchange is None:
            self._end()

    def cut(self, exchange: Exchange, status: int) -> None:
        """The answer cannot be completed: reset, so that nobody takes what was sent for the whole."""
        self.closing = True
        self.exchange = None
        self.front.in_flight -= 1
        exchange.lane.stats.in_flight -= 1
        self.front.log_access(exchange.lane, exchange.head, status, _clock() - exchange.started)
        self.transport.abort()

    def expire(self) -> None:
        """The deadline has passed."""
        self.deadline = _WAITS
        if self.exchange is not None:
            self.exchange.expire()
        elif self.tunnelled is not None or self._lingering:
            self.transport.abort()
        elif self._buffer:
            self.refuse(RequestTimeout("The request head did not come in time"), None, None)
        else:
            self.transport.close()

    def drain(self) -> None:
        """The program is stopping: an idle connection ends now, a busy one behind its answer."""
        if self.exchange is None and self.tunnelled is None:
            self.closing = True
            self.transport.close()

    def _end(self) -> None:
        """Close behind what has been written; what the app still sends is read and thrown away for a moment."""
        if self._half_closed or not self.transport.can_write_eof() or self.transport.is_closing():
            self.transport.close()
            return
        self._lingering = True
        self._buffer = b""
        self.deadline = _clock() + _LINGER
        self.transport.write_eof()
        self.resume()

    # ---- flow ----------------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Take nothing more from the app for now."""
        self.paused = True
        self.transport.pause_reading()

    def resume(self) -> None:
        """Take from the app again."""
        self.paused = False
        self.transport.resume_reading()

    def tunnel(self, upstream: Upstream, octets: bytes) -> None:
        """From here on octets go both ways untouched."""
        early, self._buffer = self._buffer, b""
        idle = self.exchange.lane.route.timeouts.idle if self.exchange is not None else None
        self.tunnelled = Tunnel(self, upstream, idle)
        self.transport.write(octets)
        if early:
            self.tunnelled.from_app(early)


_PLAIN = Peer()
_TLS = Peer(b"https")


def _peer(transport: asyncio.Transport) -> Peer:
    if transport.get_extra_info("ssl_object") is not None:
        return _TLS
    handle = transport.get_extra_info("socket")
    if handle is not None and handle.family == socket.AF_UNIX:
        return Peer(b"http", peer_uid(handle))
    return _PLAIN


def _as_answer(error: Exception) -> ProxyError:
    return error if isinstance(error, ProxyError) else MalformedRequest(str(error))
