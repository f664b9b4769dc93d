"""A request's URI as signatures cover it: the origin normalised, the path exactly as sent.

RFC 5849 §3.4.1.2 and RFC 9449 §4.2 agree: scheme and host in lower case, a default port left out, no query and no
fragment. Servers compare strings, so the path is never decoded, normalised or re-encoded.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote_from_bytes, urlsplit

from proxy.default_ports import DEFAULT_PORTS
from proxy.errors import ConfigurationError
from proxy.model import Request

_SLASHES_OF_AN_ORIGIN = 2
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]+")


@lru_cache(maxsize=1024)
def origin_of(scheme: str, authority: bytes) -> str:
    """`https://api.example:8443`: the key under which a server is remembered, and the start of every signed URI."""
    scheme = scheme.lower()
    host = authority.decode("latin-1").lower()
    name, colon, port = host.rpartition(":")
    if colon and (not port or port == str(DEFAULT_PORTS.get(scheme))):
        host = name
    return f"{scheme}://{host}"


def signed_uri(request: Request, base_url: str | None) -> tuple[str, bytes]:
    """Origin (or the configured base) and raw path of a request, without its query.

    `base_url` is the upstream's URL as the verifier sees it: it stands in for the origin and the upstream's own path at
    the start of the target (`Request.base_path`). `OPTIONS *` and an empty path count as `/`.
    """
    path = request.target.partition(b"?")[0]
    if path == b"*":
        path = b""
    if base_url is None:
        origin = origin_of(request.scheme, request.authority)
    else:
        origin = base_url
        path = path.removeprefix(request.base_path)
    return origin, path or (b"/" if origin.count("/") == _SLASHES_OF_AN_ORIGIN else b"")


def as_uri(origin: str, path: bytes) -> str:
    """Origin and path joined; octets beyond ASCII, which no URI can hold (RFC 3986 §2.1), percent-encoded."""
    if not path.isascii():
        path = _BEYOND_ASCII.sub(_escape, path)
    return origin + path.decode("ascii")


def _escape(match: re.Match[bytes]) -> bytes:
    return quote_from_bytes(match[0]).encode("ascii")


def base_url(configured: str, option: str) -> str:
    """A configured URL as the start of signed URIs: normalised origin, path without its trailing slash.

    Raises ConfigurationError, naming `option`, unless it is an absolute http or https URL without query or fragment.
    """
    try:
        parts = urlsplit(configured)
        authority = parts.netloc.encode("ascii")
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        raise ConfigurationError(f"{option}: not a URL") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ConfigurationError(f"{option}: an absolute http or https URL is needed")
    if "@" in parts.netloc or "?" in configured or "#" in configured or not configured.isascii():
        raise ConfigurationError(f"{option}: no user info, query, fragment or letters beyond ASCII")
    return origin_of(parts.scheme, authority) + parts.path.rstrip("/")
