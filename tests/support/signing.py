"""What the tests of signing are made of: one request, one token, one moment, each with its usual values."""

from __future__ import annotations

import os
from collections.abc import Callable

from proxy.model import Answer, Field, Moment, Request, Token

WALL = 1_800_000_000.0


def request(
    method: bytes = b"GET",
    url: str = "https://api.example/things",
    *,
    content_type: bytes | None = None,
    body: bytes | None = None,
) -> Request:
    """The request for an absolute URL; what stands after the authority goes out as it is, octet by octet."""
    scheme, _, rest = url.partition("://")
    end = next((at for at, letter in enumerate(rest) if letter in "/?"), len(rest))
    target = rest[end:].encode("utf-8") or b"/"
    return Request(method, scheme, rest[:end].encode("ascii"), target, content_type, body)


def token(access_token: str = "t0ken", **more: object) -> Token:
    """A token of which only the named parts matter."""
    return Token(access_token=access_token, **more)  # type: ignore[arg-type]  # the names are Token's own


def moment(wall: float = WALL, octets: Callable[[int], bytes] = os.urandom) -> Moment:
    """A moment with real randomness unless a test wants to know it."""
    return Moment(wall, octets)


def answer(status: int = 401, *challenges: bytes, fields: tuple[Field, ...] = (), body: bytes = b"") -> Answer:
    """An answer with one `WWW-Authenticate` line per challenge."""
    lines = [(b"WWW-Authenticate", challenge) for challenge in challenges]
    return Answer(status, [(b"Content-Length", b"0"), *lines, *fields], body)
