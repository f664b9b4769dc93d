"""The head of an upstream's answer (RFC 9112 §4), as strict as a request's: nothing else ever reaches the app."""

from __future__ import annotations

import re

from proxy.errors import AnswerHeadTooLarge, MalformedAnswer
from proxy.http1.fields import Found, Lines, content_length, lines_of, listed, read
from proxy.http1.grammar import HOPELESS, SECTION, VALUE, GrammarError

_HEAD = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2}(?: " + VALUE + rb")?)\r\n(" + SECTION + rb")\r\n")
_BODILESS = frozenset({204, 304})


class AnswerHead:
    """One answer's head.

    `line`: status and reason as they came; `size`: how many octets the head took; `length`: Content-Length or None;
    `persistent`: the upstream keeps the connection after this answer; `section`: all lines as they came (see `fields`),
    `kept` without hop-by-hop ones.
    """

    __slots__ = ("chunked", "found", "kept", "length", "line", "nominated", "persistent", "section", "size", "status")

    def __init__(self, version: int, line: bytes, section: bytes, size: int) -> None:
        self.status = int(line[:3])
        self.line = line
        self.section = section
        self.found, self.kept = found, _ = read(section)
        self.size = size
        self.nominated = listed(found[b"connection"]) if b"connection" in found else frozenset()
        self.length = content_length(found[b"content-length"]) if b"content-length" in found else None
        self.chunked = b"transfer-encoding" in found and _chunked(version, found)
        self.persistent = b"close" not in self.nominated and (version == 1 or b"keep-alive" in self.nominated)

    @property
    def lines(self) -> Lines:
        """Every line (with its CRLF) and the name in it, in order."""
        return lines_of(self.section)

    def has_body(self, method: bytes) -> bool:
        """Whether octets may follow: not to HEAD, not with 1xx, 204 and 304 (RFC 9112 §6.3)."""
        return not (method == b"HEAD" or self.status in _BODILESS or self.status < 200)  # noqa: PLR2004 - 1xx


def read_answer(data: bytes, searched: int, max_size: int, max_fields: int) -> AnswerHead | None:
    """The head at the start of `data`, or None while it is incomplete.

    `searched`: how many octets an earlier call has looked through in vain. Raises MalformedAnswer, AnswerHeadTooLarge.
    """
    end = data.find(b"\r\n\r\n", searched - 3 if searched > 3 else 0)  # noqa: PLR2004 - the terminator's length less one
    if end < 0 or end + 4 > max_size:
        if len(data) > max_size or end >= 0:
            raise AnswerHeadTooLarge("The head of the upstream's answer is too large")
        if not data.startswith(b"HTTP/1."[: len(data)]):
            raise MalformedAnswer("The upstream does not speak HTTP/1.1")
        if HOPELESS.search(data, max(0, searched - 1)) is not None:
            raise MalformedAnswer("A control character or a bare CR or LF in the head of the upstream's answer")
        return None
    match = _HEAD.match(data)
    if match is None or match.end() != end + 4:
        raise MalformedAnswer("The head of the upstream's answer is malformed")
    section = data[match.start(3) - 2 : match.end(3)]
    if section.count(b"\r\n") > max_fields + 1:
        raise AnswerHeadTooLarge("The upstream's answer has too many header fields")
    try:
        return AnswerHead(1 if match[1] == b"1" else 0, match[2], section, end + 4)
    except GrammarError as error:
        raise MalformedAnswer(str(error)) from None


def _chunked(version: int, found: Found) -> bool:
    codings = found[b"transfer-encoding"]
    if len(codings) > 1 or b"content-length" in found or version == 0 or codings[0].lower() != b"chunked":
        raise GrammarError("The framing of the upstream's answer is ambiguous")
    return True
