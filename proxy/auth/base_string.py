"""The base string of OAuth 1 (RFC 5849 §3.4.1): what a signature covers, from exactly the octets that are sent.

Everything here is percent-encoded text: names and values are encoded as soon as they are read, sorted in that form and
encoded once more as a whole. Nothing is refused: a query that follows no rule is signed as a form decoder reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

Pair = tuple[str, str]
"""A parameter, name and value percent-encoded (§3.6)."""

FORM = b"application/x-www-form-urlencoded"

_UNRESERVED = re.compile(rb"[A-Za-z0-9\-._~]*")
_PLAIN_PATH = re.compile(rb"[A-Za-z0-9\-._~/]*")
_SIGNATURE = "oauth_signature"


def escaped(text: str) -> str:
    """§3.6: UTF-8, upper-case digits, nothing but the unreserved characters left as it is."""
    return quote_from_bytes(text.encode(), safe="")


def is_form(content_type: bytes | None) -> bool:
    """Whether a body of that type is part of what is signed (§3.4.1.3.1)."""
    return content_type is not None and content_type.partition(b";")[0].strip().lower() == FORM


def form_pairs(encoded: bytes) -> list[Pair]:
    """The parameters of a query, or of a form body: `+` is a space, `%zz` is itself, duplicates stay (§3.4.1.3)."""
    pairs = []
    for piece in encoded.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((_normal(name), _normal(value)))
    return pairs


def _normal(octets: bytes) -> str:
    """Decoded and encoded again, so that all spellings of a value are signed the same."""
    if _UNRESERVED.fullmatch(octets):
        return octets.decode("ascii")
    return quote_from_bytes(unquote_to_bytes(octets.replace(b"+", b" ")), safe="")


def _encoded(octets: bytes) -> str:
    return octets.decode("ascii") if _UNRESERVED.fullmatch(octets) else quote_from_bytes(octets, safe="")


def base_string(method: bytes, origin: str, path: bytes, pairs: Iterable[Pair]) -> str:
    """Method, URI and all parameters but `oauth_signature`, joined as §3.4.1.1 says.

    `origin` is normalised (`uri.origin_of`), `path` is raw: both are encoded here.
    """
    ordered = sorted([pair for pair in pairs if pair[0] != _SIGNATURE])
    parameters = "&".join([f"{name}={value}" for name, value in ordered])
    return "&".join(
        (
            _encoded(method.upper()),
            _origin(origin) + _path(path),
            parameters.replace("%", "%25").replace("=", "%3D").replace("&", "%26"),
        )
    )


@lru_cache(maxsize=256)
def _origin(origin: str) -> str:
    return escaped(origin)


def _path(path: bytes) -> str:
    if _PLAIN_PATH.fullmatch(path):
        return path.decode("ascii").replace("/", "%2F")
    return quote_from_bytes(path, safe="")
