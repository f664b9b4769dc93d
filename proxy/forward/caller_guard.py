"""Who may use the proxy listener: a bearer over TCP, a user of this machine over a unix socket.

What the app shows us is for us alone: before anything else reads the request, every line that carries it is gone,
whatever the line is called (`CallerGuard.check`, and `CallerGuard.carries` for trailers).
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable

from proxy.errors import CallerUnknown, RequestDenied
from proxy.http1.fields import FieldValues, lines_of
from proxy.http1.request import RequestFields

_CHALLENGE = (("WWW-Authenticate", 'Bearer realm="auth-sidecar"'),)
_WRONG = "The caller's bearer is missing or wrong"
_BASIC = re.compile(rb"\bbasic[ \t]+([A-Za-z0-9+/_-]+=*)", re.IGNORECASE)
_BORDER = re.compile(rb"(?:\A|[^A-Za-z0-9._~+/-]|%[0-9A-Fa-f]{2})\Z")
_NOT_BEFORE = rb"(?![A-Za-z0-9._~+/=-])"
"""Characters of RFC 6750's tokens: a secret within a longer one is another secret. An escape is none of them."""
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_STAYS = frozenset(
    {b"host", b"connection", b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"expect"}
)
"""Fields without which the message would be another one."""


class CallersSecret:
    """The bearer as it is now, and how it is known again."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._octets = text.encode("utf-8")
        self._pattern = re.compile(b"".join(map(_spelled, self._octets)) + _NOT_BEFORE)

    def is_presented(self, found: FieldValues) -> bool:
        """Whether exactly one line of Authorization or of Proxy-Authorization is it. An empty secret is nobody's."""
        return self._octets != b"" and (
            self._stands_in(found, b"authorization") or self._stands_in(found, b"proxy-authorization")
        )

    def _stands_in(self, found: FieldValues, name: bytes) -> bool:
        values = found.get(name, ())
        if len(values) != 1:
            return False
        scheme, _, token = values[0].partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._octets)

    def is_in(self, octets: bytes) -> bool:
        """Whether these octets carry it: as a word of its own, or as a user name or password of Basic."""
        if not self._octets:
            return False
        return self._stands(octets) or any(self._stands(_decoded(encoded)) for encoded in _BASIC.findall(octets))

    def _stands(self, octets: bytes) -> bool:
        at = 0
        while (match := self._pattern.search(octets, at)) is not None:
            if _BORDER.search(octets, max(0, match.start() - 3), match.start()) is not None:
                return True
            at = match.start() + 1
        return False

    def cut(self, fields: RequestFields) -> RequestFields | None:
        """The same fields without the lines that carry it; None where none does."""
        if not self.is_in(fields.section):
            return None
        lines = lines_of(fields.section)
        kept = [line for line, name in lines if name.lower() in _STAYS or not self.is_in(line)]
        cut = RequestFields(fields.version, b"\r\n" + b"".join(kept))
        cut.repeated = fields.repeated
        return cut


def _spelled(octet: int) -> bytes:
    """One of its octets as it stands in a line: as it is, or escaped as in URLs and cookies (RFC 3986 §2.1)."""
    plain = re.escape(bytes([octet]))
    return plain if octet in _UNRESERVED else b"(?:%b|%%(?i:%02x))" % (plain, octet)


def _decoded(encoded: bytes) -> bytes:
    """Base64, either alphabet, with or without its padding."""
    whole = encoded.rstrip(b"=").translate(_ONE_ALPHABET)
    try:
        return base64.b64decode(whole + b"=" * (-len(whole) % 4))
    except ValueError:
        return b""


_ONE_ALPHABET = bytes.maketrans(b"-_", b"+/")


class CallerGuard:
    """Who may.

    `bearer`: what the app must send, as it is now, or None; `uids`: who may connect over a unix socket, empty for any.

    A connection that came over a unix socket and was let in by its user needs no bearer.
    """

    def __init__(self, bearer: Callable[[], str] | None, uids: frozenset[int]) -> None:
        self._bearer = bearer
        self._uids = uids
        self._secret = CallersSecret("")

    def check(self, fields: RequestFields, uid: int | None) -> RequestFields:
        """Let the caller in; the fields without what it showed us, which are the only ones that may be used from here.

        `uid`: of the peer, on a unix socket. A guard that this connection cannot be asked for lets nobody in. Raises
        CallerUnknown, RequestDenied.
        """
        is_named = uid is not None and uid in self._uids
        if uid is not None and self._uids and not is_named:
            raise RequestDenied("This user may not use this socket")
        if self._bearer is None:
            if not is_named:
                raise RequestDenied("Only users of a unix socket may use this sidecar")
            return fields
        secret, known = self._secret, fields.cleared
        if secret.text != (text := self._bearer()):
            secret = self._secret = CallersSecret(text)
        if known is None or known[0] is not secret:
            is_presented = secret.is_presented(fields.found)
            if not (is_presented or is_named):
                raise CallerUnknown(_WRONG, headers=_CHALLENGE)
            known = fields.cleared = (secret, is_presented, secret.cut(fields))
        elif not (known[1] or is_named):
            raise CallerUnknown(_WRONG, headers=_CHALLENGE)
        return fields if known[2] is None else known[2]

    def cleared(self, fields: RequestFields) -> RequestFields:
        """The fields as they go on once their caller is let in."""
        cut = None if self._bearer is None else CallersSecret(self._bearer()).cut(fields)
        return fields if cut is None else cut

    def carries(self, line: bytes) -> bool:
        """Whether a trailer carries what is for us."""
        return self._secret.is_in(line)
