"""Requests that a browser makes for a page of another site: no page that a user has open may spend our credentials.

Without `cors` they are refused (Fetch Metadata; RFC 6454 for browsers that do not send it). With it, the sidecar speaks
the CORS protocol (Fetch §3.2) itself: it answers preflights, and the upstream's own Access-Control fields are replaced.
"""

from __future__ import annotations

from proxy.errors import RequestDenied
from proxy.http1.fields import Found, lines_named
from proxy.http1.request import RequestHead

_OWN_SITES = frozenset({b"same-origin", b"none"})
_ANY = b"*"
_MAX_AGE = 600
_THEIRS = lines_named(
    (
        b"access-control-allow-origin",
        b"access-control-allow-credentials",
        b"access-control-allow-methods",
        b"access-control-allow-headers",
        b"access-control-expose-headers",
        b"access-control-max-age",
    ),
    aliases=False,
)


def is_cross_site(found: Found, own_origin: bytes) -> bool:
    """Whether a browser says, or its Origin shows, that the request comes from elsewhere. `own_origin`: scheme://Host."""
    sites = found.get(b"sec-fetch-site")
    if sites is not None:
        return not set(sites) <= _OWN_SITES
    origins = found.get(b"origin")
    return origins is not None and origins != [own_origin]


def allowed_origin(found: Found, allowed: frozenset[bytes]) -> bytes:
    """The Origin of a cross-site request that may be served. Raises RequestDenied."""
    origins = found.get(b"origin", [])
    if len(origins) == 1 and (origins[0] in allowed or _ANY in allowed):
        return origins[0]
    raise RequestDenied("Cross-site browser requests are not allowed on this route")


def is_preflight(head: RequestHead) -> bool:
    """Whether the browser only asks what it may do (Fetch §4.8)."""
    found = head.fields.found
    return head.method == b"OPTIONS" and b"origin" in found and b"access-control-request-method" in found


def preflight_answer(head: RequestHead, origin: bytes, *, close: bool) -> bytes:
    """Yes: this origin may send what it asked for; the credential is not its business."""
    found = head.fields.found
    lines = [
        b"HTTP/1.1 204 No Content",
        b"Access-Control-Allow-Origin: " + origin,
        b"Access-Control-Allow-Methods: " + found[b"access-control-request-method"][0],
        b"Access-Control-Max-Age: %d" % _MAX_AGE,
        b"Vary: Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    ]
    if b"access-control-request-headers" in found:
        lines.append(b"Access-Control-Allow-Headers: " + b", ".join(found[b"access-control-request-headers"]))
    if close:
        lines.append(b"Connection: close")
    return b"\r\n".join(lines) + b"\r\n\r\n"


def shared(section: bytes, origin: bytes | None) -> bytes:
    """An answer's section as the page's browser must see it: our word on who may read it, not the upstream's.

    `origin`: the page's, None where the request is no page's of another site; caches must not take one for the other.
    """
    if origin is None:
        return section + b"Vary: Origin\r\n"
    return (
        _THEIRS.sub(b"", section)
        + b"Access-Control-Allow-Origin: %b\r\nAccess-Control-Expose-Headers: *\r\nVary: Origin\r\n" % origin
    )
