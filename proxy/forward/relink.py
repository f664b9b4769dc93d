"""`rewrite_response` of one answer: header lines at once, a JSON body once it is whole, if it is not too large."""

from __future__ import annotations

from msgspec.structs import replace

from proxy.config.schema import RewriteResponse
from proxy.forward import rewrite
from proxy.forward.rewrite import MAX_BODY, Links
from proxy.http1.answer import AnswerHead
from proxy.http1.fields import value_of


class Relink:
    """Nothing of the answer goes on until `ready`; then `outcome` is what does.

    `extra`: header lines of ours that go with it.
    """

    def __init__(self, rules: RewriteResponse, links: Links, head: AnswerHead, method: bytes, extra: bytes) -> None:
        self.head = head
        self.extra = extra
        self.over = False
        self._rules = rules
        self._links = links
        self._pieces: list[bytes] = []
        self._size = 0
        self._done = False
        encoding = value_of(head.lines, b"content-encoding")
        self._encodings = [] if encoding is None else [encoding]
        found = {b"content-encoding": self._encodings, b"content-type": [value_of(head.lines, b"content-type") or b""]}
        self._looks = bool(rules.json_pointers) and rewrite.wants_body(head.status, method, found, head.length)

    def add(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the body."""
        self._pieces += pieces
        self._size += sum(map(len, pieces))
        self._done = done

    @property
    def ready(self) -> bool:
        """Whether enough is known."""
        return self._done or not self._looks or self._size > MAX_BODY

    def outcome(self) -> tuple[AnswerHead, list[bytes], bool]:
        """The head, the body so far, and whether that is all of it."""
        self.over = True
        head, rules = self.head, self._rules
        kept = rewrite.section(head.kept, self._links, location=rules.location, cookies=rules.cookies)
        if self._looks and self._done:
            body = rewrite.body(b"".join(self._pieces), self._encodings, self._links, rules.json_pointers)
            if body is not None:
                kept = rewrite.mended(kept, len(body))
                return replace(head, kept=kept, length=len(body), chunked=False), [body], True
        return replace(head, kept=kept), self._pieces, self._done
