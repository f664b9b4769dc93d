"""What a client asks for, written into the request's target, and what it therefore must get. Pure.

The number of an order decides everything that is not in its name: the answer's status, fields and framing, the odd
octets of the target, the content. So both ends know, and nothing needs to be told between them.
"""

from __future__ import annotations

import hashlib
import random
import re
from dataclasses import dataclass

PUSHED = "pushed"
"""The site whose tokens come from outside alone."""
SECURE = "secure"
"""The site whose API speaks TLS."""
KINDS = ("echo", "upload", "download", "events", "socket")

_BLOCK = random.Random(9110).randbytes(4 * 1024 * 1024)
_TARGET = re.compile(rb"/at/([a-z0-9]+)/([a-z]+)/([0-9]+)/([0-9]+)(?![0-9])")
_ODD_ENDS = (b"", b"?", b"?a=&a=%20&b", b"/%2F//%7e;p=1", b"?q=%C3%A9&q=%e9'()*", b"/.%2Fx?x=?/", b"/a:b@c,d=$&!")
_STATUSES = (
    b"200 OK",
    b"200 ",
    b"299 Odd \xe9\xff",
    b"404 Not Here",
    b"201 Created",
    b"500 Own Trouble",
    b"901 Beyond",
)
_FRAMINGS = ("length", "chunked", "until_close")


@dataclass(frozen=True)
class Order:
    """`size`: octets of content; of the request's body where it brings one, else of the answer's."""

    site: str
    kind: str
    number: int
    size: int

    @property
    def target(self) -> bytes:
        """For the sidecar, and behind `/at` for the API."""
        name = f"/{self.site}/{self.kind}/{self.number}/{self.size}".encode()
        return name + _ODD_ENDS[self.number % len(_ODD_ENDS)]

    @property
    def content(self) -> bytes:
        """Octets that nobody else is likely to have."""
        start = self.number * 7919 % (len(_BLOCK) - self.size)
        return _BLOCK[start : start + self.size]

    @property
    def framing(self) -> str:
        """How the answer's body ends: length, chunked, until_close. A stream of events has no length."""
        return _FRAMINGS[self.number % 3] if self.kind != "events" else _FRAMINGS[1 + self.number % 2]

    @property
    def chunked_request(self) -> bool:
        """Whether the request's body comes in chunks."""
        return self.number % 2 == 0

    @property
    def method(self) -> bytes:
        """Those that bring a body are no GET, and every second of them is not idempotent."""
        return b"GET" if self.kind in ("download", "events", "socket") else (b"POST", b"PUT")[self.number % 2]

    @property
    def expects_continue(self) -> bool:
        """Whether the caller wants to be asked for the body first (RFC 9110 §10.1.1)."""
        return self.kind == "upload" and self.number % 5 < 2

    @property
    def answer_head(self) -> bytes:
        """Status line and fields, without those that say how the body is framed."""
        status = _STATUSES[self.number % len(_STATUSES)]
        return (
            b"HTTP/1.1 %b\r\nX-ODD_name: \x80\xfe tail\r\nx-twice: 1\r\nSet-Cookie: a=%d; Path=/\r\nX-Twice: 2\r\n"
            b"set-cookie: b=2\r\nX-Empty:\r\nContent-Type: %b\r\n"
            % (status, self.number, b"text/event-stream" if self.kind == "events" else b"a/b")
        )

    @property
    def payload(self) -> bytes:
        """What follows the account of the request in the answer's body."""
        if self.kind == "upload":
            return hashlib.sha256(self.content).hexdigest().encode()
        return b"".join(self.events) if self.kind == "events" else self.content

    @property
    def events(self) -> list[bytes]:
        """The stream, event by event."""
        content = self.content.hex().encode()
        return [b"id: %d\ndata: %b\n\n" % (at, content[at * 32 : at * 32 + 32]) for at in range(self.size // 16)]


def ordered(target: bytes) -> Order | None:
    """The order within a target as the API sees it."""
    match = _TARGET.match(target)
    if match is None:
        return None
    return Order(match[1].decode(), match[2].decode(), int(match[3]), int(match[4]))
