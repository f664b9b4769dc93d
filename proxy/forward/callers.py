"""Who may use the proxy listener: a bearer over TCP, a user of this machine over a unix socket."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from proxy.errors import CallerUnknown, RequestDenied
from proxy.http1.fields import Found

_CHALLENGE = (("WWW-Authenticate", 'Bearer realm="auth-sidecar"'),)


class Callers:
    """Who may.

    `bearer`: what the app must send, as it is now, or None; `uids`: who may connect over a unix socket, empty for any.

    A connection that came over a unix socket and was let in by its user needs no bearer.
    """

    def __init__(self, bearer: Callable[[], str] | None, uids: frozenset[int]) -> None:
        self._bearer = bearer
        self._uids = uids

    def check(self, found: Found, uid: int | None) -> bool:
        """Let the caller in; True where its bearer stands in Authorization, which then must go no further.

        `uid`: of the peer, on a unix socket. Raises CallerUnknown, RequestDenied.
        """
        if uid is not None and self._uids:
            if uid not in self._uids:
                raise RequestDenied("This user may not use this socket")
            if self._bearer is None:
                return False
        elif self._bearer is None:
            return False
        wanted = self._bearer()
        in_authorization = _presents(found, b"authorization", wanted)
        if in_authorization or _presents(found, b"proxy-authorization", wanted) or (uid is not None and self._uids):
            return in_authorization
        raise CallerUnknown("The caller's bearer is missing or wrong", headers=_CHALLENGE)


def _presents(found: Found, name: bytes, wanted: str) -> bool:
    values = found.get(name, ())
    if len(values) != 1:
        return False
    scheme, _, token = values[0].partition(b" ")
    return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), wanted.encode("utf-8"))
