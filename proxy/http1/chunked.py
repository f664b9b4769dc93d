"""The chunked transfer coding (RFC 9112 §7.1), decoded as it arrives and encoded again.

The law: chunk boundaries and extensions are not kept, but they are parsed strictly: a server that read a size
differently would find another request inside the body (request smuggling). Trailers are a
section of their own and never become header fields.
"""

from __future__ import annotations

import re

from proxy.http1.fields import HOP_BY_HOP, Lines, lines_of
from proxy.http1.grammar import HOPELESS, MAX_LENGTH, SECTION, SPACED_NAME, TOKEN, GrammarError

_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*+"'
_EXTENSIONS = rb"(?:[ \t]*+;[ \t]*+" + TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + TOKEN + rb"|" + _QUOTED + rb"))?+)*+"

_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})\r\n")
_EXTENDED_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})" + _EXTENSIONS + rb"\r\n")
_LINE_OF_ANSWER = re.compile(rb"([0-9A-Fa-f]{1,16})" + _EXTENSIONS + rb"[ \t]*+\r\n")
_BEGUN_LINE = re.compile(rb"[0-9A-Fa-f]{0,16}+[ \t]*+(?:;[\t\x20-\x7e\x80-\xff]*+)?+\r?")
_TRAILERS = re.compile(SECTION)
_CRLF = b"\r\n"
_BLANK_LINE = b"\r\n\r\n"

_LONGEST_LINE = 256
_MOST_WASTE = 16 * 1024
"""Octets of extensions that are allowed beyond the octets of payload. More is an attack."""

NEVER_TRAILERS = HOP_BY_HOP | {
    b"host",
    b"content-length",
    b"trailer",
    b"authorization",
    b"cookie",
    b"set-cookie",
    b"www-authenticate",
    b"authentication-info",
    b"proxy-authentication-info",
}
"""Fields that are never forwarded as trailers: framing, routing and credentials (RFC 9110 §6.5.1)."""


class ChunkedDecoder:
    """Decodes one body.

    `done`: the body and its trailers are complete; then `trailers` holds the trailer lines as they came and `rest` the
    octets that follow. Trailers may take `max_size` octets and `max_fields` lines, a size line 256 octets. `answer`: of
    an upstream, which may leave white space behind a chunk size and before the colon of a trailer.
    """

    __slots__ = (
        "_answer", "_due", "_held", "_max_fields", "_max_size", "_section", "_waste", "done", "rest", "trailers",
    )  # fmt: skip

    def __init__(self, max_size: int = 32 * 1024, max_fields: int = 200, *, answer: bool = False) -> None:
        self._answer = answer
        self.done = False
        self.trailers: Lines = []
        self.rest = b""
        self._due = 0  # octets of the current chunk that are still to come, its CRLF included; 0: a size line is due
        self._held = b""  # the beginning of a size line
        self._section: bytearray | None = None  # the CRLF of the last size line and what came after it
        self._waste = 0
        self._max_size = max_size
        self._max_fields = max_fields

    def feed(self, data: bytes) -> list[bytes]:  # noqa: C901 - one loop: a body may be all tiny chunks
        """The payload in the next octets of the connection: one piece, or none. Chunks that came together are joined.

        Raises GrammarError, with the payload before the error in its `before`; the decoder is of no use after that.
        """
        due = self._due
        if due - 2 >= len(data):
            self._due = due - len(data)
            return [data] if data else []
        if self.done or self._section is not None:
            self._end(data)
            return []
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[bytes] = []
        at = 0
        size = len(data)
        try:
            while True:
                if not due:
                    match = _SIZE_LINE.match(data, at) or self._extended(data, at)
                    if match is None:
                        self._held = data[at:]
                        break
                    at = match.end()
                    due = int(match[1], 16)
                    if not due:
                        self._end(data[at:])
                        break
                    if due > MAX_LENGTH:
                        raise GrammarError("A chunk size is too large")  # noqa: TRY301 - caught to tell what came before
                    due += 2
                stop = at + due
                if stop > size:
                    self._cut_short(data[at:], due, pieces)
                    due -= size - at
                    break
                if due > 2:  # noqa: PLR2004 - the length of CRLF
                    pieces.append(data[at : stop - 2])
                    at = stop - 2
                if data[at:stop] != _CRLF[-due:]:
                    raise GrammarError("A chunk does not end where its size says")  # noqa: TRY301
                at = stop
                due = 0
        except GrammarError as error:
            error.before = pieces
            raise
        self._due = due
        return pieces if len(pieces) <= 1 else [b"".join(pieces)]

    def _cut_short(self, data: bytes, due: int, pieces: list[bytes]) -> None:
        """The payload of an incomplete chunk so far; the CR of its end may have come too."""
        payload = data[: due - 2] if due > 2 else b""  # noqa: PLR2004 - the length of CRLF
        if payload:
            pieces.append(payload)
        if len(data) > len(payload) and data[-1:] != b"\r":
            raise GrammarError("A chunk does not end where its size says")

    def _extended(self, data: bytes, at: int) -> re.Match[bytes] | None:
        """A size line with extensions, or None while it is incomplete."""
        pattern = _LINE_OF_ANSWER if self._answer else _EXTENDED_LINE
        match = pattern.match(data, at, at + _LONGEST_LINE + 2)
        if match is None:
            if len(data) - at > _LONGEST_LINE + 1 or _BEGUN_LINE.fullmatch(data, at) is None:
                raise GrammarError("A chunk size line is malformed")
            return None
        self._waste = max(0, self._waste + match.end() - match.end(1) - int(match[1], 16))
        if self._waste > _MOST_WASTE:
            raise GrammarError("There is more in the chunk extensions than in the body")
        return match

    def _end(self, data: bytes) -> None:
        """Read what follows the last chunk's size line: trailers, a blank line, and the next message."""
        if self.done:
            self.rest += data
            return
        section = self._section
        if section is None:
            if data.startswith(_CRLF):
                self.done = True
                self.rest = data[2:]
                return
            section = self._section = bytearray(_CRLF)
        searched = len(section)
        section += data
        end = section.find(_BLANK_LINE, max(0, searched - 3))
        if (len(section) if end < 0 else end) > self._max_size:
            raise GrammarError("The trailer section is too large")
        if end < 0:
            if HOPELESS.search(section, max(0, searched - 1)) is not None:
                raise GrammarError("The trailer section is malformed")
            return
        trailers = bytes(section[: end + 2])
        if self._answer:
            trailers = SPACED_NAME.sub(rb"\r\n\1:", trailers)
        if _TRAILERS.fullmatch(trailers, 2) is None:
            raise GrammarError("The trailer section is malformed")
        self.trailers = lines_of(trailers)
        if len(self.trailers) > self._max_fields:
            raise GrammarError("There are too many trailer fields")
        self.done = True
        self.rest = bytes(section[end + 4 :])
        self._section = None


def forwardable_trailers(trailers: Lines, drop: frozenset[bytes]) -> Lines:
    """The trailers that are forwarded: none about framing, routing or authentication, and none in `drop`.

    `drop`: lower-case names with `-` for every `_`; a trailer is compared in that form, so that no alias gets through.
    """
    return [
        (line, name)
        for line, name in trailers
        if (folded := name.lower().replace(b"_", b"-")) not in NEVER_TRAILERS and folded not in drop
    ]


def chunk(payload: bytes) -> bytes:
    """The payload as one chunk; nothing for an empty payload, because an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(payload), payload) if payload else b""


def last_chunk(trailers: Lines, drop: frozenset[bytes] = frozenset()) -> bytes:
    """The last chunk, with the trailers that are forwarded (see `forwardable_trailers`)."""
    if not trailers:
        return b"0\r\n\r\n"
    return b"0\r\n%b\r\n" % b"".join([line for line, _ in forwardable_trailers(trailers, drop)])
