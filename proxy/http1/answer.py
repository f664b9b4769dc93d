"""The head of an upstream's answer (RFC 9112 §4), as strict as a request's: malformed answers never reach the app.

Two things are read that no request may have: a minor version above 1, which means 1 (RFC 9110 §2.5), and white space
before a colon, which is removed (RFC 9112 §5.1).

Heads that come again are parsed once (`Repeats`), except those that set cookies: these differ anyway.
"""

from __future__ import annotations

import re

from msgspec import Struct

from proxy.errors import AnswerHeadTooLarge, MalformedAnswer
from proxy.http1.fields import HTTPS_ONLY, FieldValues, Lines, content_length, lines_named, lines_of, listed, read
from proxy.http1.grammar import HOPELESS, SECTION, SPACED_NAME, VALUE, GrammarError
from proxy.http1.repeats import Repeats

_HEAD = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9]{2}(?: " + VALUE + rb")?)\r\n(" + SECTION + rb")\r\n")
_KEEP_ALIVE = re.compile(rb"timeout=([0-9]{1,4})\b")
_NONE: frozenset[bytes] = frozenset()
_BODILESS = frozenset({204, 304})
_UPGRADE_REQUIRED = b"426"
_CONNECTION_OPTIONS = frozenset({b"close", b"keep-alive"})
_SPECIAL = frozenset({HTTPS_ONLY, b"dpop-nonce"})
"""Fields that go on to some and not to others."""
_CONTENT_LENGTH = lines_named([b"content-length"], aliases=False)


class AnswerHead(Struct, frozen=True, gc=False):
    """One answer's head; equal heads may share one object.

    `line`: status and reason as they came; `size`: how many octets the head took; `section`: all lines as they came
    (see `fields`), `kept` without hop-by-hop ones, without Alt-Svc, and without a Content-Length where there can be no
    body; `nominated`: the fields that `Connection` names; `length`:
    Content-Length or None; `persistent`: the upstream keeps the connection after this answer; `count`: of its fields;
    `ordinary`: whoever asked, `kept` is what goes on.
    """

    status: int
    line: bytes
    size: int
    section: bytes
    kept: bytes
    found: FieldValues
    nominated: frozenset[bytes]
    length: int | None
    chunked: bool
    persistent: bool
    count: int
    ordinary: bool

    def __repr__(self) -> str:
        """Fields may hold cookies and nonces."""
        return f"AnswerHead({self.status})"

    @property
    def lines(self) -> Lines:
        """Every line (with its CRLF) and the name in it, in order."""
        return lines_of(self.section)

    def has_body(self, method: bytes) -> bool:
        """Whether octets may follow: not to HEAD, not with 1xx, 204 and 304 (RFC 9112 §6.3)."""
        return not (method == b"HEAD" or self.status in _BODILESS or self.status < 200)  # noqa: PLR2004 - 1xx

    def keep_alive(self) -> float | None:
        """Seconds for which an idle connection is kept, as the upstream says: `Keep-Alive: timeout=5, max=100`."""
        match = _KEEP_ALIVE.search(b",".join(self.found.get(b"keep-alive", ())))
        return float(match[1]) if match is not None else None


_repeats: Repeats[AnswerHead] = Repeats()


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
    octets = data[: end + 4]
    head = _repeats.get(octets)
    if head is None:
        head = _read(octets, max_fields)
    if head.count > max_fields:
        raise AnswerHeadTooLarge("The upstream's answer has too many header fields")
    return head


def _read(data: bytes, max_fields: int) -> AnswerHead:
    octets = data
    match = _HEAD.fullmatch(octets)
    if match is None:
        octets = SPACED_NAME.sub(rb"\r\n\1:", data)
        match = _HEAD.fullmatch(octets)
    if match is None:
        raise MalformedAnswer("The head of the upstream's answer is malformed")
    version, line, _ = match.groups()
    recent = version != b"0"
    section = octets[match.start(3) - 2 : -2]
    count = section.count(b"\r\n") - 1
    if count > max_fields:  # refused before they are parsed
        raise AnswerHeadTooLarge("The upstream's answer has too many header fields")
    try:
        found, kept = read(section, answer=True)
        if line.startswith(_UPGRADE_REQUIRED):
            kept += _upgrade_of(section)
        connection, length = found.get(b"connection"), found.get(b"content-length")
        nominated = _NONE if connection is None else listed(connection)
        status = int(line[:3])
        if length is not None and (status == 204 or status < 200):  # noqa: PLR2004 - RFC 9110 §8.6
            kept = _CONTENT_LENGTH.sub(b"", kept)
        head = AnswerHead(
            status,
            line,
            len(data),
            section,
            kept,
            found,
            nominated,
            None if length is None else content_length(length),
            b"transfer-encoding" in found and _chunked(found, recent=recent),
            b"close" not in nominated and (recent or b"keep-alive" in nominated),
            count,
            nominated <= _CONNECTION_OPTIONS and not _SPECIAL & found.keys(),
        )
    except GrammarError as error:
        raise MalformedAnswer(str(error)) from None
    if b"set-cookie" not in section.lower():
        _repeats.offer(data, head)
    return head


def _upgrade_of(section: bytes) -> bytes:
    """The Upgrade lines of a 426, which must have them (RFC 9110 §15.5.22)."""
    lines = b"".join([line for line, name in lines_of(section) if name.lower() == b"upgrade"])
    return lines and b"Connection: Upgrade\r\n" + lines


def _chunked(found: FieldValues, *, recent: bool) -> bool:
    codings = found[b"transfer-encoding"]
    if len(codings) > 1 or b"content-length" in found or not recent or codings[0].lower() != b"chunked":
        raise GrammarError("The framing of the upstream's answer is ambiguous")
    return True
