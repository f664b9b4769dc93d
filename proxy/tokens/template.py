"""Fill values into the placeholders of configured strings (`proxy.config.placeholders`). Pure.

One pass: what is filled in is never read as a template again. Placeholders that nobody knows stay as they are. Callers
and issuers choose what is filled in: in a URL it stays within its component (RFC 3986 §2.4), in a text of a known media
type within its string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus
from xml.sax.saxutils import escape as escape_xml

from proxy.config.placeholders import PER, PLACE, PREVIOUS, places

_URL = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*:)?(?://[^/?#]*)?)([^?#]*)(.*)", re.DOTALL)
_LABELS = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
_JSON = re.compile(r"application/(?:[^;]*\+)?json\b|text/json\b")
_XML = re.compile(r"(?:application|text)/(?:[^;]*\+)?xml\b")


class MissingPartError(Exception):
    """The template asks for a part that there is not (yet). `str()` is its name."""


class UnfitPartError(Exception):
    """What was to be filled into a URL would lead elsewhere. `str()` is the name of the part or parts."""


def fill(value: Any, parts: Mapping[str, str | None], escape: Callable[[str], str] = str) -> Any:
    """The same JSON value with every string in it filled in, names of members excepted; other values as they are.

    `escape` is applied to each part (percent-encoding within a URL). Raises MissingPartError for a part that is None.
    """
    if isinstance(value, str):
        return PLACE.sub(lambda place: _filled(place, parts, escape), value)
    if isinstance(value, Mapping):
        return {name: fill(member, parts, escape) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [fill(member, parts, escape) for member in value]
    return value


def fill_url(url: str, parts: Mapping[str, str | None]) -> str:
    """A URL with its parts filled in, percent-encoded; in its host they are labels of a name.

    Raises MissingPartError; UnfitPartError for a host that would be none, and for a path segment that would be `.` or
    `..`, which no encoding keeps from being one.
    """
    match = _URL.fullmatch(url)
    if match is None or "{" not in url:
        return url
    authority, path, rest = match.groups()
    if "//" in authority:
        authority = fill(authority, parts, _label)
    else:
        path, authority = authority + path, ""
    segments = [_segment(segment, parts) for segment in path.split("/")]
    return str(authority + "/".join(segments) + fill(rest, parts, _encoded))


def fill_text(text: str, parts: Mapping[str, str | None], media_type: str | None) -> str:
    """A text with its parts filled in, escaped as strings of JSON, XML or a form are, where it is one of these."""
    kind = (media_type or "").strip().lower()
    escape: Callable[[str], str] = str
    if _JSON.match(kind):
        escape = _within_json
    elif _XML.match(kind):
        escape = _within_xml
    elif kind.startswith("application/x-www-form-urlencoded"):
        escape = quote_plus
    return str(fill(text, parts, escape))


def fits(url: str, per: str) -> bool:
    """Whether a caller's value may stand where a URL has `{per}`."""
    try:
        fill_url(url, {"per": per, "access_token": "a", "refresh_token": "r"})
    except UnfitPartError:
        return False
    return True


def quoted_segment(text: str) -> str:
    """A text as one segment of a URL's path. Raises UnfitPartError."""
    if is_dots(text):
        raise UnfitPartError("segment")
    return _encoded(text)


def is_dots(segment: str) -> bool:
    """Whether a segment of a path is one that is removed from it (RFC 3986 §5.2.4), path parameters aside."""
    return segment.partition(";")[0] in (".", "..")


def _filled(place: re.Match[str], parts: Mapping[str, str | None], escape: Callable[[str], str]) -> str:
    literal, name = place.groups()
    if literal is not None:
        return f"{{{literal}}}"
    if name not in parts and name not in PREVIOUS and name != PER:
        return place[0]
    return escape(_part(parts, name))


def _part(parts: Mapping[str, str | None], name: str) -> str:
    part = parts.get(name)
    if part is None:
        raise MissingPartError(name)
    return part


def _segment(template: str, parts: Mapping[str, str | None]) -> str:
    filled = str(fill(template, parts, _encoded))
    if is_dots(filled) and filled != template:
        raise UnfitPartError(" and ".join(sorted(places(template))))
    return filled


def _encoded(part: str) -> str:
    return quote(part, safe="")


def _label(part: str) -> str:
    if not _LABELS.fullmatch(part):
        raise UnfitPartError("host")
    return part


def _within_json(part: str) -> str:
    return json.dumps(part, ensure_ascii=False)[1:-1]


def _within_xml(part: str) -> str:
    return escape_xml(part, {'"': "&quot;", "'": "&apos;"})
