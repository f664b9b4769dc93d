"""`rewrite_response` of one answer: header lines at once, a JSON body once it is whole, if it is not too large."""

from __future__ import annotations

from msgspec.structs import replace

from proxy.forward import url_rewriter
from proxy.forward.links import UrlRewriter
from proxy.forward.url_rewriter import MAX_BODY, Rules
from proxy.http1.answer import AnswerHead
from proxy.http1.fields import value_of


class ResponseRewriter:
    """Nothing of the answer goes on until `ready`; then `outcome` is what does.

    `extra`: header lines of ours that go with it.
    """

    def __init__(self, rules: Rules, links: UrlRewriter, head: AnswerHead, method: bytes, extra: bytes) -> None:
        self.head = head
        self.extra = extra
        self.over = False
        self._rules = rules
        self._links = links
        self._body = bytearray()  # a body in small pieces costs no more than its octets
        self._done = False
        self._values = None
        self._encodings: list[bytes] = []
        if rules.values is not None:
            encoding = value_of(head.lines, b"content-encoding")
            self._encodings = [] if encoding is None else [encoding]
            kind = value_of(head.lines, b"content-type") or b""
            found = {b"content-encoding": self._encodings, b"content-type": [kind]}
            if url_rewriter.wants_body(head.status, method, found, head.length):
                self._values = rules.values

    def add(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the body."""
        for piece in pieces:
            self._body += piece
        self._done = done

    @property
    def ready(self) -> bool:
        """Whether enough is known."""
        return self._done or self._values is None or len(self._body) > MAX_BODY

    def outcome(self) -> tuple[AnswerHead, list[bytes], bool]:
        """The head, the body so far, and whether that is all of it."""
        self.over = True
        octets, self._body = bytes(self._body), bytearray()
        head = self.head
        kept = url_rewriter.section(head.kept, self._links, self._rules)
        if self._values is not None and self._done and len(octets) <= MAX_BODY:
            body = url_rewriter.body(octets, self._encodings, self._links, self._values)
            if body is not None:
                kept = url_rewriter.mended(kept, len(body))
                return replace(head, kept=kept, length=len(body), chunked=False), [body], True
        return replace(head, kept=kept), [octets] if octets else [], self._done
