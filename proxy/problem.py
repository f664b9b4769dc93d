"""What an answer that the sidecar makes itself says. Pure: errors in, octets out; both paths use it.

The body is a problem document (RFC 9457), the field `Proxy-Status` says who caused it (RFC 9209). Neither ever
holds a token, a query string or the text of an authorization server: they are made from the error's class and its
`detail`.
"""

from __future__ import annotations

import re
from urllib.parse import quote

import msgspec

from proxy.errors import ProxyError
from proxy.model import Field

MEDIA_TYPE = b"application/problem+json"

_NAME = "auth-sidecar"
_AUTHORITY = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NOT_IN_STRING = re.compile(r"[^\x20-\x7e]")


def problem_body(
    error: ProxyError, *, instance: bytes | None = None, route: str | None = None, credential: str | None = None
) -> bytes:
    """The problem document of `error`, as JSON with all seven members.

    `instance` is the request target as received: its query and authority, where secrets travel, are left out.
    """
    return msgspec.json.encode(
        {
            "type": problem_type(type(error)),
            "title": error.title,
            "status": error.status,
            "detail": error.detail,
            "instance": None if instance is None else _path(instance),
            "route": route,
            "credential": credential,
        }
    )


def problem_type(kind: type[ProxyError]) -> str:
    """The URI that names a kind of problem: `NoRoute` is `urn:auth-sidecar:problem:no-route`."""
    return f"urn:{_NAME}:problem:{_WORD_START.sub('-', kind.__name__).lower()}"


def proxy_status(error: ProxyError) -> bytes:
    """The value of `Proxy-Status` for an answer that was made here."""
    reason = "" if error.details is None else f"; details={quoted(error.details)}"
    return f"{_NAME}; error={error.error}{reason}".encode("ascii")


def proxy_status_of_upstream(status: int, details: str) -> bytes:
    """The value of `Proxy-Status` for an upstream's own answer that we could not better."""
    return f"{_NAME}; received-status={status}; details={quoted(details)}".encode("ascii")


def quoted(text: str) -> str:
    """`text` as a String of RFC 9651 §4.1.6; characters that such a string cannot hold become `?`."""
    printable = _NOT_IN_STRING.sub("?", text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'


def problem_fields(error: ProxyError, body: bytes) -> list[Field]:
    """The header fields of an answer that carries `body`: those of the document, and the error's own."""
    return [
        (b"Content-Type", MEDIA_TYPE),
        (b"Content-Length", b"%d" % len(body)),
        (b"Cache-Control", b"no-store"),
        (b"Proxy-Status", proxy_status(error)),
        *((name.encode("ascii"), value.encode("latin-1")) for name, value in error.headers),
    ]


def _path(target: bytes) -> str:
    """A request target as the URI reference of an occurrence: path only, everything else percent-encoded."""
    return quote(_AUTHORITY.sub(b"", target, count=1).partition(b"?")[0], safe="/%:@!$&'()*+,;=~-._")
