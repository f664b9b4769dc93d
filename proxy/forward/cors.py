"""The CORS protocol (Fetch §3.2), spoken for the upstream: which pages of other sites may use a route, and read what.

Whoever may is named in each answer, our own refusals included; the upstream's own word on it is replaced.
"""

from __future__ import annotations

import re

from msgspec import Struct

from proxy.config import schema
from proxy.config.origin import Origins
from proxy.http1.fields import FieldValues

_THEIRS = re.compile(rb"\r\n(?i:access-control-[^:\r]*+):[^\r]*+")
_VARY = b"Vary: Origin\r\n"


class Readers(Struct, frozen=True, gc=False):
    """What an answer says of who may read it. `lines`: field lines; `alone`: the upstream says nothing of it then."""

    lines: bytes
    alone: bool

    def told(self, section: bytes) -> bytes:
        """An answer's section as a browser must see it."""
        return (_THEIRS.sub(b"", section) if self.alone else section) + self.lines


NO_PAGE = Readers(_VARY, alone=False)
"""An answer to a request that is no page's of another site: caches must not take one for the other."""


class CorsPolicy:
    """What one route's `cors` says."""

    def __init__(self, config: schema.Cors) -> None:
        self._origins = Origins(config.allow_origins)
        self._headers = None if config.allow_headers == "any" else ", ".join(config.allow_headers).encode("ascii")
        self._max_age = int(config.max_age)
        self._credentials = b"Access-Control-Allow-Credentials: true\r\n" if config.allow_credentials else b""
        exposed = ", ".join(config.expose_headers).encode("ascii")
        self._exposed = b"Access-Control-Expose-Headers: %b\r\n" % exposed if exposed else b""

    def allows(self, found: FieldValues) -> bytes | None:
        """The one Origin of a request, if it is allowed."""
        origins = found.get(b"origin", ())
        return origins[0] if len(origins) == 1 and self._origins.allow(origins[0]) else None

    def readers(self, origin: bytes) -> Readers:
        """An answer to a page of this origin, which is allowed."""
        lines = b"Access-Control-Allow-Origin: %b\r\n%b%b%b" % (origin, self._credentials, self._exposed, _VARY)
        return Readers(lines, alone=True)

    def preflight_answer(self, found: FieldValues, origin: bytes, method: bytes) -> bytes:
        """Yes: this origin may use this method; the credential is not its business. Status line and fields."""
        asked = b", ".join(found.get(b"access-control-request-headers", ()))
        headers = asked if self._headers is None else self._headers
        lines = [
            b"HTTP/1.1 204 No Content",
            b"Access-Control-Allow-Origin: " + origin,
            b"Access-Control-Allow-Methods: " + method,
            b"Access-Control-Max-Age: %d" % self._max_age,
            b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
        ]
        if headers:
            lines.append(b"Access-Control-Allow-Headers: " + headers)
        return b"\r\n".join(lines) + b"\r\n" + self._credentials
