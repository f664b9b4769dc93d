"""An upstream's answer as the app gets it: octets in, octets out, framed for the app.

Head and first octets of the body are one piece. What is for one hop, or for us alone, stays behind; links that are to
lead here do so; a credential that learns from answers is shown a copy.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from proxy.forward.links import UrlRewriter
from proxy.forward.live_route import passing, trailers_that_end_here
from proxy.forward.outgoing_request import OutgoingRequest
from proxy.forward.response_rewriter import ResponseRewriter
from proxy.forward.response_tap import ResponseTap
from proxy.forward.url_rewriter import Rules
from proxy.forward.url_rewriter import section as rewritten
from proxy.http1.answer import AnswerHead
from proxy.http1.chunked import chunk, last_chunk
from proxy.http1.fields import Lines, value_of


class Relay(Struct, gc=False):
    """One answer to `request`, as it was sent last. `scheme`: of the app's connection.

    Once it has begun: `status`; `closes`: the app's connection ends behind it; `until_close`: which is how the app
    knows where it ends; `streams`: it is a stream of events, on a route whose streams end with their token.
    `rewriter`: who may wait for the whole body.
    """

    request: OutgoingRequest
    scheme: bytes
    status: int = 0
    closes: bool = False
    until_close: bool = False
    streams: bool = False
    rewriter: ResponseRewriter | None = None
    _chunked: bool = False
    _tap: ResponseTap | None = None

    def __repr__(self) -> str:
        """Targets, fields and attempts carry secrets."""
        return f"Relay({self.status})"

    def begin(
        self, head: AnswerHead, pieces: list[bytes], *, done: bool, close: bool, trailers: Lines, extra: bytes = b""
    ) -> bytes | None:
        """The head and what there is of the body; None while links in the body wait for the rest of it.

        Then this is called again with more of the body. `close`: the app's connection is to end behind the answer;
        `trailers`: those of the answer, if it is `done`; `extra`: header lines of ours that go with it.
        """
        request, readers, sent = self.request, self.request.admitted.readers, self.request.sent
        route, version = request.route, request.head.fields.version
        if route.rewrites is not None and (self.rewriter is None or not self.rewriter.over):
            links = self._links()
            if links is not None:
                return self._rewrite(
                    route.rewrites, links, head, pieces, done=done, close=close, trailers=trailers, extra=extra
                )
        self.status = head.status
        section = head.kept if head.ordinary else passing(head, sent.hidden, self.scheme)
        if readers is not None:
            section = readers.told(section)
        if head.length is None and head.has_body(request.head.method):
            if version == 1:
                self._chunked = True
                section += b"Transfer-Encoding: chunked\r\n"
            else:
                close = self.until_close = True
        if close:
            self.closes = True
            section += b"Connection: close\r\n"
        elif version == 0:
            section += b"Connection: keep-alive\r\n"
        if not done and route.ends_with_token:
            self.streams = _is_event_stream(head)
        if sent.learned_from is not None and route.observer is not None:
            self._tap = ResponseTap(route.observer, sent.learned_from)
        plain = len(pieces) == 1 and not self._chunked and self._tap is None
        body = pieces[0] if plain else self.more(pieces, done=done, trailers=trailers)
        return b"HTTP/1.1 %b%b%b\r\n%b" % (head.line, section, extra, body)

    def _rewrite(
        self, rules: Rules, links: UrlRewriter, head: AnswerHead, pieces: list[bytes], *, done: bool, close: bool,
        trailers: Lines, extra: bytes,
    ) -> bytes | None:  # fmt: skip
        rewriter = self.rewriter
        if rewriter is None:
            rewriter = self.rewriter = ResponseRewriter(rules, links, head, self.request.head.method, extra)
        rewriter.add(pieces, done=done)
        if not rewriter.ready:
            return None
        head, pieces, done = rewriter.outcome()
        return self.begin(head, pieces, done=done, close=close, trailers=trailers, extra=extra)

    def more(self, pieces: list[bytes], *, done: bool, trailers: Lines) -> bytes:
        """More of the body; a view where that was one."""
        if self._tap is not None:
            self._tap.add(self.status, pieces, done=done)
        if self._chunked:
            return self._framed(pieces, done=done, trailers=trailers)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def interim(self, head: AnswerHead) -> bytes:
        """A 1xx before the answer."""
        section = passing(self._led_here(head), self.request.sent.hidden, self.scheme)
        return b"HTTP/1.1 %b%b\r\n" % (head.line, section)

    def switched(self, head: AnswerHead, lines: bytes, rest: bytes) -> bytes:
        """The last answer that is HTTP: `lines` go with it, `rest` came behind it."""
        section, readers = self._led_here(head), self.request.admitted.readers
        octets = passing(section, self.request.sent.hidden, self.scheme)
        if readers is not None:
            octets = readers.told(octets)
        return b"HTTP/1.1 %b%b%b\r\n%b" % (head.line, octets, lines, rest)

    def _links(self) -> UrlRewriter | None:
        """What calls the upstream's URLs ours; None where the app did not say what we are called."""
        request, host = self.request, self.request.admitted.host
        return None if host is None else request.route.links(request.target, self.scheme, host)

    def _led_here(self, head: AnswerHead) -> AnswerHead:
        """A head without a body to look into: 1xx, and what begins a tunnel."""
        rules = self.request.route.rewrites
        links = self._links() if rules is not None else None
        return head if rules is None or links is None else replace(head, kept=rewritten(head.kept, links, rules))

    def _framed(self, pieces: list[bytes], *, done: bool, trailers: Lines) -> bytes:
        framed = b"".join(map(chunk, pieces))
        if not done:
            return framed
        if not trailers:
            return framed + last_chunk(trailers)
        return framed + last_chunk(trailers, trailers_that_end_here(self.request.sent.hidden, self.scheme))


def _is_event_stream(head: AnswerHead) -> bool:
    content_type = value_of(head.lines, b"content-type") or b""
    return content_type.partition(b";")[0].strip().lower() == b"text/event-stream"
