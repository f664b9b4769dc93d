"""Links that an API hands out lead around the sidecar; these become the sidecar's own again.

    https://api.example/v2/items/1    →  http://127.0.0.1:8080/crm/items/1
    wss://api.example/v2/stream       →  ws://127.0.0.1:8080/crm/stream
    //api.example/v2/x, /v2/x         →  //127.0.0.1:8080/crm/x, /crm/x

Only what lies below the route's upstream URL has a place here; every other URL stays as it is. Pure.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable

from proxy.http1.fields import Found, lines_named
from proxy.http1.host import parse_host

MAX_BODY = 1024 * 1024
"""Octets of a JSON body, packed and unpacked, that are rewritten; a larger one passes untouched."""

_LOCATION = lines_named([b"location", b"content-location"], aliases=False)
_COOKIE = lines_named([b"set-cookie"], aliases=False)
_STALE = lines_named(
    [b"etag", b"last-modified", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"accept-ranges"],
    aliases=False,
)
_LENGTH = lines_named([b"content-length"], aliases=False)
_ENCODING = lines_named([b"content-encoding"], aliases=False)
_URL = re.compile(rb"(?:(https?|wss?):)?//([^/?#]+)([^?#]*)(.*)", re.DOTALL | re.IGNORECASE)
_JSON_TYPE = re.compile(rb"application/(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+\+)?json\s*(?:;|$)", re.IGNORECASE)
_SPACE = re.compile(r"[ \t\r\n]*")
_ATTRIBUTE = re.compile(rb"\s*(domain|path)\s*=\s*(.*)", re.IGNORECASE | re.DOTALL)
_UNTOUCHED = frozenset({206, 304})
_DEFAULT_PORT = {b"http": 80, b"ws": 80, b"https": 443, b"wss": 443}


class Links:
    """What is the upstream's, and what it is called here.

    `host`, `port`, `base`: the upstream's; `scheme` and `authority`: as the app wrote them; `prefix`: the route's. Both
    paths are without a trailing slash.
    """

    def __init__(self, host: bytes, port: int, base: bytes, *, scheme: bytes, authority: bytes, prefix: bytes) -> None:
        self._host = host.lower()
        self._port = port
        self._base = base
        self._scheme = scheme
        self._authority = authority
        self._prefix = prefix

    def url(self, url: bytes) -> bytes:
        """The URL as it is called here; itself where it leads elsewhere."""
        match = _URL.fullmatch(url)
        if match is None:
            return url
        scheme, authority, path, rest = match.groups()
        if not self._is_ours(scheme, authority):
            return url
        moved = self.path(path)
        if moved is None:
            return url
        if scheme is None:
            return b"//" + self._authority + moved + rest
        ours = self._scheme if scheme.lower().startswith(b"http") else self._scheme.replace(b"http", b"ws")
        return ours + b"://" + self._authority + moved + rest

    def path(self, path: bytes) -> bytes | None:
        """A path of the upstream as it is called here; None where the route does not reach it."""
        if path == self._base or not path:
            return self._prefix + path[len(self._base) :]
        if path.startswith(self._base + b"/"):
            return self._prefix + path[len(self._base) :]
        return None

    def location(self, value: bytes) -> bytes:
        """A Location: a URL, or a path of the upstream (RFC 9110 §10.2.2)."""
        if not value.startswith(b"/") or value.startswith(b"//"):
            return self.url(value)
        path, mark, rest = value.partition(b"?")
        moved = self.path(path)
        return value if moved is None else (moved or b"/") + mark + rest

    def cookie(self, value: bytes) -> bytes:
        """A Set-Cookie for this host and the route's path (RFC 6265 §5.2): the upstream's domain is left out."""
        parts = value.split(b";")
        kept = parts[:1]
        for part in parts[1:]:
            match = _ATTRIBUTE.fullmatch(part)
            if match is None:
                kept.append(part)
            elif match[1].lower() == b"path":
                kept.append(b" Path=" + self._cookie_path(match[2].strip()))
        return b";".join(kept)

    def _cookie_path(self, path: bytes) -> bytes:
        moved = self.path(path.rstrip(b"/") if path != b"/" else b"")
        if path in (b"/", b"") or moved is None:
            return self._prefix or b"/"
        return moved or b"/"

    def _is_ours(self, scheme: bytes | None, authority: bytes) -> bool:
        try:
            host, port = parse_host(authority)
        except Exception:  # noqa: BLE001 - whatever it is, it is not ours
            return False
        wanted = port if port is not None else _DEFAULT_PORT.get((scheme or b"").lower(), self._port)
        return host == self._host and wanted == self._port


def section(octets: bytes, links: Links, *, location: bool, cookies: bool) -> bytes:
    """A header section whose Location and Set-Cookie lead here."""
    if location:
        octets = _LOCATION.sub(lambda line: _replaced(line, links.location), octets)
    if cookies:
        octets = _COOKIE.sub(lambda line: _replaced(line, links.cookie), octets)
    return octets


def wants_body(status: int, method: bytes, found: Found, length: int | None) -> bool:
    """Whether an answer's body may hold values to be rewritten, and is of a kind and size that can be."""
    if status in _UNTOUCHED or method == b"HEAD" or (length is not None and length > MAX_BODY):
        return False
    types = found.get(b"content-type", [])
    encodings = found.get(b"content-encoding", [])
    return len(types) == 1 and _JSON_TYPE.match(types[0]) is not None and _encoding(encodings) is not None


def body(octets: bytes, encodings: list[bytes], links: Links, pointers: tuple[str, ...]) -> bytes | None:
    """The body, unpacked, with the values at the pointers leading here; None where there is nothing to change."""
    plain = _unpacked(octets, gzipped=_encoding(encodings) == "gzip")
    if plain is None:
        return None
    try:
        text = plain.decode("utf-8")
    except UnicodeDecodeError:
        return None
    changed = False
    for pointer in pointers:
        place = find(text, pointer)
        if place is None:
            continue
        value, start, end = place
        moved = links.url(value.encode("utf-8")).decode("utf-8")
        if moved != value:
            text = text[:start] + json.dumps(moved) + text[end:]
            changed = True
    return text.encode("utf-8") if changed else None


def mended(octets: bytes, length: int) -> bytes:
    """The section of an answer whose body was changed: its new length, and nothing that speaks of the old octets."""
    for pattern in (_STALE, _ENCODING, _LENGTH):
        octets = pattern.sub(b"", octets)
    return octets + b"Content-Length: %d\r\n" % length


def find(text: str, pointer: str) -> tuple[str, int, int] | None:
    """The string at a JSON pointer (RFC 6901) and where its literal stands, so that all other octets stay untouched."""
    try:
        at = _skip(text, 0)
        for part in pointer.split("/")[1:]:
            found = _member(text, at, part.replace("~1", "/").replace("~0", "~"))
            if found is None:
                return None
            at = found
        if text[at] != '"':
            return None
        value, end = _DECODER.raw_decode(text, at)
    except (ValueError, IndexError, RecursionError):
        return None
    return value, at, end


_DECODER = json.JSONDecoder()


def _member(text: str, at: int, name: str) -> int | None:
    """Where the member or element `name` of the value that begins at `at` begins."""
    closing = {"{": "}", "[": "]"}.get(text[at])
    if closing is None:
        return None
    position, index = _skip(text, at + 1), 0
    while text[position] != closing:
        key = str(index)
        if closing == "}":
            key, position = _DECODER.raw_decode(text, position)
            position = _skip(text, _skip(text, position) + 1)
        if key == name:
            return position
        _, position = _DECODER.raw_decode(text, position)
        position = _skip(text, position)
        if text[position] == ",":
            position = _skip(text, position + 1)
        index += 1
    return None


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match is not None else at


def _replaced(line: re.Match[bytes], moved: Callable[[bytes], bytes]) -> bytes:
    whole, _, value = line.groups()
    return bytes(whole[: len(whole) - len(value)]) + moved(value.rstrip(b" \t"))


def _encoding(encodings: list[bytes]) -> str | None:
    if not encodings or encodings == [b"identity"]:
        return "identity"
    return "gzip" if [one.lower() for one in encodings] in ([b"gzip"], [b"x-gzip"]) else None


def _unpacked(octets: bytes, *, gzipped: bool) -> bytes | None:
    if not gzipped:
        return octets
    unpacker = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        plain = unpacker.decompress(octets, MAX_BODY + 1)
    except zlib.error:
        return None
    return plain if unpacker.eof and len(plain) <= MAX_BODY and not unpacker.unused_data else None
