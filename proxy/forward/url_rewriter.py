"""`rewrite_response`: which parts of an answer hold the upstream's links, and the answer with the sidecar's instead.

Whatever holds none stays as it is, to the octet. Pure.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from functools import partial

from proxy.config.schema import RewriteResponse
from proxy.forward.json_scanner import JsonScanner, string_of
from proxy.forward.links import UrlRewriter
from proxy.http1.fields import FieldValues, lines_named

MAX_BODY = 1024 * 1024
"""Octets of a JSON body, packed and unpacked, that are rewritten; a larger one passes untouched."""

MAX_LINKS = 128 * 1024
"""Octets of all values to be rewritten in one body. Whether a path climbs is found slowly, piece by piece, and no head
holds a URL of such a length."""

_LOCATION = lines_named([b"location", b"content-location"], aliases=False)
_COOKIE = lines_named([b"set-cookie"], aliases=False)
_STALE = lines_named(
    [b"etag", b"last-modified", b"content-md5", b"digest", b"content-digest", b"repr-digest", b"accept-ranges"],
    aliases=False,
)
_LENGTH = lines_named([b"content-length"], aliases=False)
_ENCODING = lines_named([b"content-encoding"], aliases=False)
_JSON_TYPE = re.compile(rb"application/(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+\+)?json\s*(?:;|$)", re.IGNORECASE)
_UNTOUCHED = frozenset({206, 304})


class Rules:
    """The configuration of one route, made ready."""

    __slots__ = ("fields", "values")

    def __init__(self, config: RewriteResponse) -> None:
        self.fields: list[tuple[re.Pattern[bytes], Callable[[UrlRewriter, bytes], bytes]]] = []
        named = {name.lower().encode("latin-1") for name in config.headers}
        if config.location:
            self.fields.append((_LOCATION, UrlRewriter.location))
            named -= {b"location", b"content-location"}
        if config.cookies:
            self.fields.append((_COOKIE, UrlRewriter.cookie))
            named.discard(b"set-cookie")
        if named:
            self.fields.append((lines_named(named, aliases=False), UrlRewriter.text))
        self.values = JsonScanner(config.json_pointers) if config.json_pointers else None


def section(octets: bytes, links: UrlRewriter, rules: Rules) -> bytes:
    """A header section whose fields lead here."""
    for pattern, moved in rules.fields:
        octets = pattern.sub(partial(_replaced, partial(moved, links)), octets)
    return octets


def wants_body(status: int, method: bytes, found: FieldValues, length: int | None) -> bool:
    """Whether an answer's body may hold values to be rewritten, and is of a kind and size that can be."""
    if status in _UNTOUCHED or method == b"HEAD" or (length is not None and length > MAX_BODY):
        return False
    types = found.get(b"content-type", [])
    encodings = found.get(b"content-encoding", [])
    return len(types) == 1 and _JSON_TYPE.match(types[0]) is not None and _encoding(encodings) is not None


def body(octets: bytes, encodings: list[bytes], links: UrlRewriter, values: JsonScanner) -> bytes | None:
    """The body, unpacked, with the values that were asked for leading here; None where there is nothing to change."""
    plain = _unpacked(octets, gzipped=_encoding(encodings) == "gzip")
    if plain is None or not links.may_be_in(plain):
        return None
    spans = values.strings(plain)
    if sum(end - start for start, end in spans) > MAX_LINKS:
        return None
    pieces, done = [], 0
    for start, end in spans:
        value = string_of(plain[start:end])
        if value is None:
            continue
        url = value.encode("utf-8", "surrogatepass")
        moved = links.url(url)
        if moved != url:
            pieces += [plain[done:start], json.dumps(moved.decode("utf-8", "surrogatepass")).encode()]
            done = end
    return b"".join([*pieces, plain[done:]]) if pieces else None


def mended(octets: bytes, length: int) -> bytes:
    """The section of an answer whose body was changed: its new length, and nothing that speaks of the old octets."""
    for pattern in (_STALE, _ENCODING, _LENGTH):
        octets = pattern.sub(b"", octets)
    return octets + b"Content-Length: %d\r\n" % length


def _replaced(moved: Callable[[bytes], bytes], line: re.Match[bytes]) -> bytes:
    """The line itself where nothing of its value moves, white space at its end included."""
    whole, _, value = line.groups()
    before = value.rstrip(b" \t")
    after = moved(before)
    return bytes(whole) if after == before else bytes(whole[: len(whole) - len(value)]) + after


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
