"""The way back: the upstream's answer as the app gets it, head and first octets in one write, framed for the app."""

from __future__ import annotations

import asyncio
from abc import abstractmethod

from msgspec.structs import replace

from proxy.errors import ConnectionTerminated
from proxy.forward.asking import Asking
from proxy.forward.buffers import piece_for, read_at_most
from proxy.forward.flow_control import APP_FULL
from proxy.forward.links import UrlRewriter
from proxy.forward.live_route import passing, trailers_that_end_here
from proxy.forward.response_rewriter import ResponseRewriter
from proxy.forward.response_tap import ResponseTap
from proxy.forward.socket_probe import unread
from proxy.forward.splice import pass_on
from proxy.forward.url_rewriter import section as rewritten
from proxy.http1.answer import AnswerHead
from proxy.http1.chunked import chunk, last_chunk
from proxy.http1.fields import value_of

_CONTINUE = 100


class Answering(Asking):
    """The way back, once it is clear that the app is to have this answer."""

    @abstractmethod
    def _finish(self) -> None:
        """The answer is complete."""

    @abstractmethod
    def abandon(self) -> None:
        """The app hung up."""

    def informed(self, head: AnswerHead) -> None:
        """1xx: passed on, to HTTP/1.1 apps (RFC 9110 §15.2)."""
        if head.status == _CONTINUE and self.upload is not None:
            asked_already, self._continued = self._continued, True
            if self._awaits_continue:
                self._awaits_continue = False
                self._expect_body()
            if asked_already:
                return
        if self.head.fields.version == 1:
            section = passing(self._led_here(head), self._outbound.hidden, self.app.peer.scheme)
            self.app.transport.write(b"HTTP/1.1 %b%b\r\n" % (head.line, section))

    def _relay(self, head: AnswerHead, pieces: list[bytes], *, done: bool, extra: bytes = b"") -> None:
        """The answer goes to the app; where links in its body are to be changed, once it is whole."""
        if self.route.rewrites is not None:
            rewriter = self._rewriter = self._rewriter or self._make_rewriter(head, extra)
            if rewriter is not None and not rewriter.over:
                rewriter.add(pieces, done=done)
                if not rewriter.ready:
                    self._due(self.route.config.timeouts.idle)
                    return
                head, pieces, done = rewriter.outcome()
        self._write(head, pieces, done=done, extra=extra)

    def _write(self, head: AnswerHead, pieces: list[bytes], *, done: bool, extra: bytes) -> None:
        """Head and first octets of the body in one write."""
        app, fields, route = self.app, self.head.fields, self.route
        self.relaying = True
        self._status = head.status
        section = passing(head, self._outbound.hidden, app.peer.scheme)
        if self.readers is not None:
            section = self.readers.told(section)
        has_body = head.has_body(self.head.method)
        if has_body and head.length is None:
            if fields.version == 1:
                self._chunks = True
                section += b"Transfer-Encoding: chunked\r\n"
            else:
                app.closing = self._until_close = True
        if app.closing or not self._kept():
            app.closing = True
            section += b"Connection: close\r\n"
        elif fields.version == 0:
            section += b"Connection: keep-alive\r\n"
        if route.observer is not None and self._outbound.learned_from is not None:
            self._tap = ResponseTap(route.observer, self._outbound.learned_from)
            self._tap.add(head.status, pieces, done=done)
        if route.ends_with_token and self.token is not None and not done and _is_event_stream(head):
            self.context.expiring[app] = self.token
        body = self._framed(pieces, done=done) if has_body else b""
        app.transport.write(b"HTTP/1.1 %b%b%b\r\n%b" % (head.line, section, extra, body))
        if done:
            self._finish()
            return
        self._heed_pace()
        self._due(route.config.timeouts.idle)

    def _heed_pace(self) -> None:
        """More of the body is to come: in pieces that suit the app's connection, and not while that is full."""
        if self.up is None:
            return
        read_at_most(self.up.transport, piece_for(self.app.transport))
        if self.app.full:
            self.up.flow.shut(APP_FULL)

    def _tunnel(self, head: AnswerHead, lines: bytes, rest: bytes) -> None:
        """The last answer that is HTTP: `lines` go with it, `rest` came behind it."""
        up, route = self.up, self.route
        if up is None:
            return
        if up.transport.is_closing():
            raise ConnectionTerminated("The upstream ended the connection as it switched protocols")
        if self.app.transport.is_closing():  # over TLS its end is told a turn late, and to the protocol of before
            self.abandon()
            return
        self.up = None
        section = passing(self._led_here(head), self._outbound.hidden, self.app.peer.scheme)
        if self.readers is not None:
            section = self.readers.told(section)
        answer = b"HTTP/1.1 %b%b%b\r\n%b" % (head.line, section, lines, rest)
        tunnel = self.app.tunnel(self, up, head.status, answer)
        if route.ends_with_token and self.token is not None:
            self.context.expiring[tunnel] = self.token

    def _make_rewriter(self, head: AnswerHead, extra: bytes) -> ResponseRewriter | None:
        """What calls the upstream's links ours; None where the app did not say what we are called."""
        rules, links = self.route.rewrites, self._links()
        return (
            ResponseRewriter(rules, links, head, self.head.method, extra)
            if rules is not None and links is not None
            else None
        )

    def _led_here(self, head: AnswerHead) -> AnswerHead:
        """A head without a body to look into: 1xx, and what begins a tunnel."""
        rules, links = self.route.rewrites, self._links()
        return head if rules is None or links is None else replace(head, kept=rewritten(head.kept, links, rules))

    def _links(self) -> UrlRewriter | None:
        host = self.host
        if self.route.rewrites is None or host is None:
            return None
        return self.route.links(self._target, self.app.peer.scheme, host)

    def _kept(self) -> bool:
        """Whether the app's connection goes on behind this answer."""
        fields = self.head.fields
        return (
            fields.persistent
            and not self.context.draining
            and (self.upload is None or self.upload.complete)
            and not self.upgrade  # what comes now may be of either protocol (RFC 9931)
        )

    def app_full(self) -> None:
        """Back-pressure: the app is slower than the upstream."""
        self._unread = unread(self.app.transport)
        if self.up is not None:
            self.up.flow.shut(APP_FULL)

    def app_drained(self) -> None:
        """The app has caught up."""
        if self.up is not None:
            self.up.flow.open(APP_FULL)

    def _reads(self) -> bool:
        """Whether the app, which had no room when this was last asked, has taken something of the answer since."""
        before, self._unread = self._unread, unread(self.app.transport)
        return self.app.full and self._unread < before

    @property
    def onto(self) -> asyncio.Transport | None:
        """The app's transport, once the octets of the answer go there as they come."""
        return self.app.transport if self.relaying else None

    def _relay_more(self, pieces: list[bytes], *, done: bool) -> None:
        rewriter = self._rewriter
        if rewriter is not None and not rewriter.over:
            self._relay(rewriter.head, pieces, done=done, extra=rewriter.extra)
            return
        if self._tap is not None:
            self._tap.add(self._status, pieces, done=done)
        body = self._framed(pieces, done=done)
        if body:
            pass_on(self.app.transport, body)
        if done:
            self._finish()
        else:
            self._due(self.route.config.timeouts.idle)

    def _framed(self, pieces: list[bytes], *, done: bool) -> bytes:
        if not self._chunks:
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        framed = b"".join(map(chunk, pieces))
        if done:
            trailers = self.up.trailers if self.up is not None else []
            drop = (
                trailers_that_end_here(self._outbound.hidden, self.app.peer.scheme)
                if trailers
                else self._outbound.hidden
            )
            framed += last_chunk(trailers, drop)
        return framed


def _is_event_stream(head: AnswerHead) -> bool:
    content_type = value_of(head.lines, b"content-type") or b""
    return content_type.partition(b";")[0].strip().lower() == b"text/event-stream"
