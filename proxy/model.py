"""The nouns: what the rooms hand to each other. Frozen; they do nothing.

Octets that go on the wire are `bytes`; header fields are pairs of name and value without white space around them.
They are msgspec structs because one or two of each are made per request: a frozen dataclass costs five times as much.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

Field = tuple[bytes, bytes]
"""One header field: name as spelled, value without surrounding white space."""


WantsBody = Literal["none", "form", "all", "undeclared"]
"""Which bodies must be whole before a request can be signed: see `auth/scheme.py`."""


class Verdict(enum.Enum):
    """What an upstream's answer means for the credential that the request carried."""

    PASS = 0
    """The answer goes to the app as it is."""
    RESIGN = 1
    """The same token, signed anew (a new DPoP nonce, a corrected clock)."""
    RENEW = 2
    """The token was refused: renew it and send again."""


class Request(Struct, frozen=True):
    """One attempt as it will go to the upstream, before the credential is added.

    `target` is path and query exactly as sent; `authority` is host[:port] as in the Host line; `content_type` is the
    field's value or None; `body` holds the whole body only where a scheme asked for it (`Scheme.wants_body`);
    `base_path` is the path of the route's upstream URL, without a trailing slash, where `target` starts with it.
    `section` holds the header lines as they go out, but for the credential's own, each behind its CRLF;
    `received_section` and `received_target` are what the app sent. Only `place` and `sign` are given these three.
    """

    method: bytes
    scheme: str
    authority: bytes
    target: bytes
    content_type: bytes | None = None
    body: bytes | None = None
    base_path: bytes = b""
    section: bytes = b""
    received_section: bytes = b""
    received_target: bytes = b""

    def __repr__(self) -> str:
        """Targets carry secrets in their query."""
        return f"Request({self.method!r}, {self.scheme}://{self.authority.decode('latin-1')})"


class Answer(Struct, frozen=True):
    """The head of an upstream's answer, and as much of a refused answer's body as was kept (up to 64 KiB)."""

    status: int
    fields: list[Field]
    body: bytes = b""

    def __repr__(self) -> str:
        """Fields may hold cookies and nonces."""
        return f"Answer({self.status})"


class Moment(Struct, frozen=True):
    """Time and chance for one signature.

    `wall`: seconds since the epoch. `octets(n)`: n unpredictable octets.
    """

    wall: float
    octets: Callable[[int], bytes]


class Token(Struct, frozen=True, kw_only=True, gc=False):
    """An access token and what is known of its life.

    `expires_wall` (epoch seconds) and `expires_elapsed` (seconds of `Clock.elapsed`) are the same instant on both
    clocks; None where the issuer stated no lifetime: such a token is usable until it is refused. `lifetime`: seconds
    from the request to expiry, stated or assumed; it says when to renew. `issued_*`: when the token request was sent,
    or the time that a push named. `generation` counts the tokens of one credential, from 1. `fields`: ready-made header
    fields where the source gives these instead of a token. `key_thumbprint`: the DPoP key (RFC 7638) that the token is
    bound to. `kept`: what else its answer said, by the names of `response.keep`.
    """

    access_token: str
    token_type: str = "Bearer"  # noqa: S105 - the name of a type
    expires_wall: float | None = None
    expires_elapsed: float | None = None
    lifetime: float = 300.0
    issued_wall: float = 0.0
    issued_elapsed: float = 0.0
    generation: int = 0
    key_thumbprint: str | None = None
    fields: tuple[Field, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        """A token cannot be printed."""
        return f"Token(generation={self.generation}, expires_wall={self.expires_wall})"
