"""Who may use the proxy listener: a bearer over TCP, a user of this machine over a unix socket.

What the app shows us is for us alone: before anything else reads the request, every line that carries it is gone,
whatever the line is called (`Callers.check`, and `Callers.carries` for trailers).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable

from proxy.errors import CallerUnknown, RequestDenied
from proxy.http1.fields import Found, lines_of
from proxy.http1.request import RequestFields

_CHALLENGE = (("WWW-Authenticate", 'Bearer realm="auth-sidecar"'),)
_BASIC = re.compile(rb"\bbasic[ \t]+([A-Za-z0-9+/_-]+=*)", re.IGNORECASE)
_NOT_BEHIND = rb"(?<![A-Za-z0-9._~+/-])"
_NOT_BEFORE = rb"(?![A-Za-z0-9._~+/=-])"
"""Characters of RFC 6750's tokens: a secret within a longer one is another secret."""
_STAYS = frozenset(
    {b"host", b"connection", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"expect"}
)
"""Fields without which the message would be another one."""


class CallersSecret:
    """The bearer as it is now, and how it is known again."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._octets = text.encode("utf-8")
        self._pattern = re.compile(_NOT_BEHIND + re.escape(self._octets) + _NOT_BEFORE)

    def is_presented(self, found: Found) -> bool:
        """Whether exactly one line of Authorization or of Proxy-Authorization is it. An empty secret is nobody's."""
        return self._octets != b"" and (
            self._stands_in(found, b"authorization") or self._stands_in(found, b"proxy-authorization")
        )

    def _stands_in(self, found: Found, name: bytes) -> bool:
        values = found.get(name, ())
        if len(values) != 1:
            return False
        scheme, _, token = values[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._octets)

    def is_in(self, octets: bytes) -> bool:
        """Whether these octets carry it: as a word of its own, or as a user name or password of Basic."""
        if not self._octets:
            return False
        return self._pattern.search(octets) is not None or any(
            self._pattern.search(_decoded(encoded)) is not None for encoded in _BASIC.findall(octets)
        )

    def cleared(self, fields: RequestFields) -> RequestFields:
        """The same fields without the lines that carry it; remembered with those that are remembered themselves."""
        known = fields.cleared
        if known is None or known[0] is not self:
            cut = None
            if self.is_in(fields.section):
                kept = [
                    line for line, name in lines_of(fields.section) if name.lower() in _STAYS or not self.is_in(line)
                ]
                cut = RequestFields(fields.version, b"\r\n" + b"".join(kept))
            known = fields.cleared = (self, cut)
        return fields if known[1] is None else known[1]


def _decoded(encoded: bytes) -> bytes:
    """Base64, either alphabet, with or without its padding."""
    whole = encoded.rstrip(b"=").translate(_ONE_ALPHABET)
    try:
        return base64.b64decode(whole + b"=" * (-len(whole) % 4))
    except ValueError:
        return b""


_ONE_ALPHABET = bytes.maketrans(b"-_", b"+/")


class Callers:
    """Who may.

    `bearer`: what the app must send, as it is now, or None; `uids`: who may connect over a unix socket, empty for any.

    A connection that came over a unix socket and was let in by its user needs no bearer.
    """

    def __init__(self, bearer: Callable[[], str] | None, uids: frozenset[int]) -> None:
        self._bearer = bearer
        self._uids = uids
        self._secret: CallersSecret | None = None

    def check(self, fields: RequestFields, uid: int | None) -> RequestFields:
        """Let the caller in; the fields without what it showed us, which are the only ones that may be used from here.

        `uid`: of the peer, on a unix socket. A guard that this connection cannot be asked for lets nobody in. Raises
        CallerUnknown, RequestDenied.
        """
        secret = self._current()
        if uid is not None and self._uids:
            if uid not in self._uids:
                raise RequestDenied("This user may not use this socket")
        elif secret is None:
            raise RequestDenied("Only users of a unix socket may use this sidecar")
        elif not secret.is_presented(fields.found):
            raise CallerUnknown("The caller's bearer is missing or wrong", headers=_CHALLENGE)
        return fields if secret is None else secret.cleared(fields)

    def cleared(self, fields: RequestFields) -> RequestFields:
        """The fields as they go on once their caller is let in."""
        secret = self._current()
        return fields if secret is None else secret.cleared(fields)

    def carries(self, line: bytes) -> bool:
        """Whether a trailer carries what is for us."""
        secret = self._current()
        return secret is not None and secret.is_in(line)

    def _current(self) -> CallersSecret | None:
        if self._bearer is None:
            return None
        text = self._bearer()
        if self._secret is None or self._secret.text != text:
            self._secret = CallersSecret(text)
        return self._secret
