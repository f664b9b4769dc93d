"""Connections to upstreams that are one app connection's own.

NTLM and Negotiate authenticate a connection and not a request (RFC 4559 §6): whatever comes over it afterwards is the
same user's. So a connection over which such a credential went, or such a challenge came, serves nobody else. It is used
again for the next request of the same app connection to that origin, and ends with it.
"""

from __future__ import annotations

import re

from proxy.forward.pool import Connections
from proxy.forward.upstream import Upstream
from proxy.http1.answer import AnswerHead

Own = dict[object, Upstream]
"""An app connection's own connections by their pools: one for each origin."""

_SCHEMES = rb"(?i:ntlm|negotiate)(?=[ \t,\r])"
_CREDENTIAL = re.compile(rb"\r\n(?i:authorization):[ \t]*+" + _SCHEMES)
_CHALLENGE = re.compile(rb"\r\n(?i:www-authenticate):(?:[^\r]*[ \t,])?" + _SCHEMES)


def authenticates(head: bytes) -> bool:
    """Whether a request's head (or a part of it, from a CRLF on) authenticates the connection that it goes over."""
    return _CREDENTIAL.search(head) is not None


def challenges(section: bytes) -> bool:
    """Whether an answer's header section asks for that, alone or beside other schemes."""
    return _CHALLENGE.search(section) is not None


def challenged(own: Own, upstream: Upstream, head: AnswerHead) -> None:
    """A 401 came over it, to a request that may have brought a credential of its own."""
    if challenges(head.section):
        keep(own, upstream)


def keep(own: Own, upstream: Upstream) -> None:
    """From now on it is this app connection's."""
    upstream.private = True
    before = own.get(upstream.owner)
    if before is not upstream:
        own[upstream.owner] = upstream
        if before is not None:
            before.close()


def take(own: Own, pool: Connections, now: float) -> Upstream | None:
    """The one of this pool, if it can be used still; else one that anybody may have, if there is any."""
    upstream = own.get(pool)
    if upstream is not None and upstream.handler is None:
        if upstream.warm(now):
            return upstream
        del own[upstream.owner]
        upstream.close()
    return pool.take(now)


def end(own: Own, besides: Upstream | None = None) -> None:
    """The app connection is no more, or carries another protocol over `besides`."""
    for upstream in own.values():
        if upstream is not besides:
            upstream.close()
    own.clear()
