"""Requests that a browser makes for a page of another site (Fetch Metadata; RFC 6454 for browsers that do not send it).

Such a page must not be able to use our credentials or to change anything here.
"""

from __future__ import annotations

import re

from proxy.default_ports import DEFAULT_PORTS
from proxy.errors import MalformedRequest
from proxy.http1.fields import FieldValues
from proxy.http1.grammar import TOKEN
from proxy.http1.host import parse_host
from proxy.http1.request import RequestHead

_OWN_SITES = frozenset({b"same-origin", b"none"})
_TOKEN = re.compile(TOKEN)


def is_cross_site(found: FieldValues, own_origin: bytes) -> bool:
    """Whether Sec-Fetch-Site, or else Origin, shows that a request is cross-site. `own_origin`: scheme://Host."""
    sites = found.get(b"sec-fetch-site")
    if sites is not None:
        return not set(sites) <= _OWN_SITES
    origins = found.get(b"origin")
    if origins is None:
        return False
    origin = _triple(origins[0]) if len(origins) == 1 else None
    return origin is None or origin != _triple(own_origin)


def _triple(origin: bytes) -> tuple[bytes, bytes, int | None] | None:
    """Scheme, host and port: origins that agree in them are equal (RFC 6454 §5). None without a host."""
    scheme, _, authority = origin.partition(b"://")
    scheme = scheme.lower()
    try:
        host, port = parse_host(authority)
    except MalformedRequest:
        return None
    return scheme, host, DEFAULT_PORTS.get(scheme.decode("latin-1")) if port is None else port


def wanted_method(head: RequestHead) -> bytes | None:
    """The method that a preflight asks for (Fetch §4.8); None if the request is no preflight."""
    found = head.fields.found
    if head.method != b"OPTIONS" or len(found.get(b"origin", ())) != 1:
        return None
    methods = found.get(b"access-control-request-method", ())
    return methods[0] if len(methods) == 1 and _TOKEN.fullmatch(methods[0]) is not None else None
