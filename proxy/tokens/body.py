"""The members of a token endpoint's answer, read as leniently as can do no harm. Pure.

RFC 6749 §5.1 wants JSON, RFC 8259 §8.1 wants UTF-8. Servers send forms, byte order marks, UTF-16, the charset of their
locale: `"name":"José"` in ISO-8859-1 must not cost a rotated refresh token. Where nothing else can be read, the refresh
token is looked for on its own: the one that was sent for it is spent.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import msgspec

MAX_REPLY = 1024 * 1024

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET = re.compile(r";[ \t]*charset[ \t]*=[ \t]*(?:\"([^\"]*)\"|([^;,\s]+))", re.IGNORECASE)
_NO_CHARSETS = frozenset({"unicode-escape", "raw-unicode-escape", "idna", "punycode", "undefined"})
"""Python's codecs that are no character encodings of the Internet."""
_FORM_MEMBERS = 100
_GZIP = b"\x1f\x8b"
_MOST_CODINGS = 2
_REFRESH_TOKEN = ("refresh_token", "refreshToken")


def unpacked(body: bytes, coding: str | None) -> tuple[bytes, bool]:
    """The content of a body that is packed although nobody asked for that, a little more than 1 MiB of it at most.

    `coding`: Content-Encoding, which says so at times of what is not packed, and not of what is: gzip is known by its
    first octets. The second value is False where what was packed broke off. What cannot be unpacked stays as it is.
    """
    whole = True
    for _ in range(_MOST_CODINGS):
        if not body.startswith(_GZIP):
            break
        body, whole = _inflated(body, zlib.MAX_WBITS + 16) or (body, whole)
    if "deflate" in (coding or "").lower() and not body.lstrip().startswith((b"{", b"[")):
        # with the header of RFC 1950, as RFC 9110 §8.4.1.2 says, or without, as some do
        return _inflated(body, zlib.MAX_WBITS) or _inflated(body, -zlib.MAX_WBITS) or (body, whole)
    return body, whole


def _inflated(body: bytes, form: int) -> tuple[bytes, bool] | None:
    """As far as it goes, and whether that is all; None where nothing comes of it."""
    unpacking, content = zlib.decompressobj(form), b""
    try:
        content = unpacking.decompress(body, MAX_REPLY + 1)
    except zlib.error:
        return None
    return (content, unpacking.eof) if content else None


def members(body: bytes, content_type: str | None = None, *, whole: bool = True) -> dict[str, Any] | None:
    """The members of a JSON object, or of a form; None for neither, and for more than 1 MiB.

    `content_type`: that field, for its charset. `whole`: False where the answer broke off: JSON says itself where it
    ends, a form does not.
    """
    if len(body) > MAX_REPLY:
        return None
    for text in _texts(body, content_type):
        said = _object(text) if text.startswith("{") else _form(text) if whole else None
        if said is not None:
            return said
    return None


def json_value(body: bytes, content_type: str | None = None) -> Any:
    """Any JSON value; None for null, and for what is no JSON."""
    if len(body) > MAX_REPLY:
        return None
    return next((found for text in _texts(body, content_type) if (found := _json(text)) is not None), None)


def text_of(body: bytes, content_type: str | None = None) -> str:
    """The body as text in the likeliest reading, without white space around it; "" for more than 1 MiB."""
    return "" if len(body) > MAX_REPLY else next(_texts(body, content_type))


def salvaged(
    body: bytes, content_type: str | None = None, *, whole: bool = True, names: tuple[str, ...] = _REFRESH_TOKEN
) -> str | None:
    """A refresh token in an answer that cannot be read: cut short, followed by something else, too long.

    `names`: what the member may be called. Only a value that is there to its end counts.
    """
    spelled = "|".join(map(re.escape, names))
    in_json = re.compile(rf'"(?:{spelled})"\s*:\s*("(?:[^"\\\x00-\x1f]|\\.)+")')
    in_form = re.compile(rf"(?:\A|&)(?:{spelled})=([^&\s<>\"{{}}]+){'(?:&|$)' if whole else '&'}")
    for text in _texts(body[:MAX_REPLY], content_type):
        if found := in_json.search(text):
            token = _json(found[1])
            if isinstance(token, str):
                return token
        if found := in_form.search(text):
            return unquote_plus(found[1])
    return None


def _texts(body: bytes, content_type: str | None) -> Iterator[str]:
    """The body as text, the likeliest reading first; octets that do not fit are replaced."""
    seen = set()
    for encoding in _encodings(body, content_type):
        if encoding not in seen:
            seen.add(encoding)
            yield body.decode(encoding, "replace").removeprefix("\ufeff").strip().rstrip("\0")


def _encodings(body: bytes, content_type: str | None) -> Iterator[str]:
    """A byte order mark knows best, then the pattern of NULs (RFC 4627 §3), then what is declared."""
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            yield encoding
    pattern = [octet == 0 for octet in body[:4]]
    if pattern == [True, True, True, False]:
        yield "utf-32-be"
    elif pattern == [False, True, True, True]:
        yield "utf-32-le"
    elif pattern[:2] == [True, False]:
        yield "utf-16-be"
    elif pattern[:2] == [False, True]:
        yield "utf-16-le"
    if declared := _declared(content_type):
        yield declared
    yield "utf-8"


def _declared(content_type: str | None) -> str | None:
    found = _CHARSET.search(content_type or "")
    if found is None:
        return None
    name = (found[1] if found[1] is not None else found[2]).strip(" '")
    try:
        encoding = codecs.lookup(name).name
        "".encode(encoding)  # raises for codecs from octets to octets
    except (LookupError, ValueError):
        return None
    return None if encoding in _NO_CHARSETS else encoding


def _object(text: str) -> dict[str, Any] | None:
    said = _json(text)
    return said if isinstance(said, dict) else None


def _json(text: str) -> Any:
    """The value, also where control characters stand in its strings (error descriptions have line breaks at times)."""
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _form(text: str) -> dict[str, Any] | None:
    if not text or text.startswith(("<", "[", '"')):
        return None
    try:
        return dict(parse_qsl(text, strict_parsing=True, max_num_fields=_FORM_MEMBERS))
    except ValueError:
        return None
