"""Connections to upstreams that are one app connection's own.

NTLM and Negotiate authenticate a connection and not a request (RFC 4559 §6): whatever comes over it afterwards is the
same user's. So a connection over which such a credential went, or such a challenge came, serves nobody else. It is used
again for the next request of the same app connection to that origin, and ends with it.
"""

from __future__ import annotations

import re

from proxy.forward.owner import Owner
from proxy.forward.pool import Pool
from proxy.forward.upstream import Upstream

Own = dict[Owner[Upstream], Upstream]
"""An app connection's own connections: one for each origin."""

_SCHEMES = rb"(?i:ntlm|negotiate)(?=[ \t,\r])"
_CREDENTIAL = re.compile(rb"\r\n(?i:authorization):[ \t]*+" + _SCHEMES)
_CHALLENGE = re.compile(rb"\r\n(?i:www-authenticate):(?:[^\r]*[ \t,])?" + _SCHEMES)


def authenticates(head: bytes) -> bool:
    """Whether a request's head (or a part of it, from a CRLF on) authenticates the connection that it goes over."""
    return _CREDENTIAL.search(head) is not None


def challenges(section: bytes) -> bool:
    """Whether an answer's header section asks for that, alone or beside other schemes."""
    return _CHALLENGE.search(section) is not None


def keep(own: Own, upstream: Upstream) -> None:
    """From now on it is this app connection's."""
    upstream.private = True
    before = own.get(upstream.owner)
    if before is not upstream:
        own[upstream.owner] = upstream
        if before is not None:
            before.close()


def take(own: Own, pool: object, now: float) -> Upstream | None:
    """The one to this origin, if it can be used still."""
    upstream = own.get(pool) if isinstance(pool, Pool) else None  # where it leads may not be known yet
    if upstream is None or upstream.handler is not None:
        return None
    if upstream.warm(now):
        return upstream
    del own[upstream.owner]
    upstream.close()
    return None


def end(own: Own, besides: Upstream | None = None) -> None:
    """The app connection is no more, or carries another protocol over `besides`."""
    for upstream in own.values():
        if upstream is not besides:
            upstream.close()
    own.clear()
