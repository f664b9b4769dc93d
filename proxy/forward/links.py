"""Links that an API hands out lead around the sidecar; these become the sidecar's own again.

    https://api.example/v2/items/1    →  http://127.0.0.1:8080/crm/items/1
    wss://api.example/v2/stream       →  ws://127.0.0.1:8080/crm/stream
    //api.example/v2/x, /v2/x         →  //127.0.0.1:8080/crm/x, /crm/x

Only what lies below the route's upstream URL has a place here; every other URL stays as it is. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from proxy.default_ports import DEFAULT_PORTS
from proxy.http1.host import parse_host
from proxy.http1.target import leaves_prefix

_URL = re.compile(rb"(?:(https?|wss?):)?//([^/?#]+)([^?#]*)(.*)", re.DOTALL | re.IGNORECASE)
_WITHIN = re.compile(
    rb"""(?<![A-Za-z0-9+.\-:/])(?:(https?|wss?):)?//([^/?#\s"'<>,;()\\]+)([^?#\s"'<>,;()\\]*)""", re.IGNORECASE
)
"""An absolute URL in a text, up to its query: what ends it stands in no URL, or separates the members of a list."""
_REFERENCE = re.compile(rb"""(\A|<|\burl=["']?)(/(?!/)[^?#\s"'<>,;()\\]*)""", re.IGNORECASE)
"""A path where a URL is expected: the whole value, between angle brackets (Link), behind `url=` (Refresh)."""
_ATTRIBUTE = re.compile(rb"\s*+(domain|path)\s*+=\s*+(.*)", re.IGNORECASE | re.DOTALL)
_OWN_PORTS = frozenset(DEFAULT_PORTS.values())


class UpstreamNames:
    """Where the upstream is: every host and port by which its own URLs may name it.

    `authorities`: host, or host:port, as they stand in a Host field; `secure`: whether one without a port is https. An
    upstream at its scheme's own port answers at the other scheme's, too: its URLs may have either.
    """

    __slots__ = ("_ports", "names")

    def __init__(self, authorities: Iterable[bytes], *, secure: bool) -> None:
        self._ports: set[tuple[bytes, int]] = set()
        for authority in authorities:
            host, port = _named(authority)
            port = port or DEFAULT_PORTS["https" if secure else "http"]
            self._ports |= {(host, one) for one in (_OWN_PORTS if port in _OWN_PORTS else (port,))}
        self.names = frozenset(host for host, _ in self._ports)

    def include(self, scheme: bytes | None, authority: bytes) -> bool:
        """Whether a URL with this scheme and authority is the upstream's."""
        try:
            host, port = _named(authority)
        except Exception:  # noqa: BLE001 - whatever it is, it is not ours
            return False
        if port is None:
            port = DEFAULT_PORTS["https" if scheme is None or scheme.lower() in (b"https", b"wss") else "http"]
        return (host, port) in self._ports


class UrlRewriter:
    """What is the upstream's, and what it is called here.

    `places`, `base`: the upstream's; `scheme` and `authority`: as the app wrote them; `prefix`: the route's. Both paths
    are without a trailing slash. `at_prefix`: the app asked for the very prefix.
    """

    def __init__(
        self,
        places: UpstreamNames,
        base: bytes,
        *,
        scheme: bytes,
        authority: bytes,
        prefix: bytes,
        at_prefix: bool = False,
    ) -> None:
        self._upstream_names = places
        self._base = base
        self._scheme = scheme
        self._authority = authority
        self._prefix = prefix
        self._at_prefix = at_prefix

    def may_be_in(self, text: bytes) -> bool:
        """Whether a JSON text can hold a URL of the upstream at all: most do not, and need not be searched."""
        if b"\\u" in text:
            return True
        lower = text.lower()
        return any(name.startswith(b"[") or name in lower for name in self._upstream_names.names)

    def url(self, url: bytes) -> bytes:
        """The URL as it is called here; itself where it leads elsewhere."""
        match = _URL.fullmatch(url)
        if match is None:
            return url
        scheme, authority, path, rest = match.groups()
        moved = self._moved(scheme, authority, path)
        return url if moved is None else moved + rest

    def _moved(self, scheme: bytes | None, authority: bytes, path: bytes) -> bytes | None:
        if not self._upstream_names.include(scheme, authority):
            return None
        moved = self.path(path)
        if moved is None:
            return None
        if scheme is None:
            return b"//" + self._authority + moved
        ours = self._scheme if scheme.lower().startswith(b"http") else self._scheme.replace(b"http", b"ws")
        return ours + b"://" + self._authority + moved

    def path(self, path: bytes) -> bytes | None:
        """A path of the upstream as it is called here; None where the route does not reach it."""
        if not (path == self._base or path.startswith(self._base + b"/")) or leaves_prefix(path, self._base):
            return None
        return self._prefix + path[len(self._base) :]

    def location(self, value: bytes) -> bytes:
        """A Location: a URL, or a path of the upstream (RFC 9110 §10.2.2)."""
        if not value.startswith(b"/") or value.startswith(b"//"):
            return self.url(value)
        mark = re.search(rb"[?#]", value)
        end = mark.start() if mark is not None else len(value)
        moved = self.path(value[:end])
        return value if moved is None else (moved or b"/") + value[end:]

    def text(self, value: bytes) -> bytes:
        """A field's value in which URLs stand among other things, as in Link and Refresh."""
        return _REFERENCE.sub(self._moved_reference, _WITHIN.sub(self._moved_url, value))

    def _moved_url(self, match: re.Match[bytes]) -> bytes:
        moved = self._moved(*match.groups())
        return match[0] if moved is None else moved

    def _moved_reference(self, match: re.Match[bytes]) -> bytes:
        moved = self.path(match[2])
        return match[0] if moved is None else match[1] + (moved or b"/")

    def cookie(self, value: bytes) -> bytes:
        """A Set-Cookie for this host and the route's path (RFC 6265 §5.2): the upstream's domain is left out.

        What `__Host-` in its name promises of its path stays true. Without a path it is for the directory of what was
        asked for (§5.1.4), which lies above the prefix if that was the prefix itself.
        """
        parts = value.split(b";")
        bound = parts[0].lstrip().lower().startswith(b"__host-")
        kept, has_path = parts[:1], False
        for part in parts[1:]:
            match = _ATTRIBUTE.fullmatch(part)
            if match is None:
                kept.append(part)
            elif match[1].lower() == b"path":
                has_path = True
                path = match[2].rstrip()
                moved = path if bound else self._cookie_path(path)
                kept.append(part if moved == path else b" Path=" + moved)
        if not has_path and not bound and self._at_prefix and self._prefix:
            kept.append(b" Path=" + self._prefix)
        return b";".join(kept)

    def _cookie_path(self, path: bytes) -> bytes:
        """The cookie goes with the requests that would have taken it to the API; any other stays on its route."""
        if path == self._base or (path.startswith(self._base + b"/") and path != b"/"):
            return (self._prefix + path[len(self._base) :]) or b"/"
        return self._prefix or b"/"


def _named(authority: bytes) -> tuple[bytes, int | None]:
    """Host and port; a name is the same with the root's dot behind it."""
    host, port = parse_host(authority)
    return host.removesuffix(b"."), port
