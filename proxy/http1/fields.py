"""A header section, scanned once: its lines as they came, and the values that concern framing, connections and routing.

A line keeps every octet, CRLF included, so that what is passed on is what was received.
"""

from __future__ import annotations

import re

from proxy.http1.grammar import MAX_LENGTH, GrammarError

Lines = list[tuple[bytes, bytes]]
"""Pairs of the whole line (with CRLF) and the name in it, as spelled."""

Found = dict[bytes, list[bytes]]
"""Values, without white space around them, of the fields in `KNOWN`, by lower-case name."""

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Fields that end here (RFC 9110 §7.6.1), whether `Connection` nominates them or not."""

KNOWN = HOP_BY_HOP | {b"host", b"content-length", b"content-type", b"expect", b"origin", b"sec-fetch-site"}

_LINE = re.compile(rb"(([^:]++):[^\r]*+\r\n)")
_DIGITS = re.compile(rb"[0-9]{1,19}")
_OWS = b" \t"

_MOST_SPELLINGS = 4096
_LONGEST_SPELLING = 64
_spellings: dict[bytes, bytes | None] = {}


def canonical(name: bytes) -> bytes | None:
    """The lower-case name if it is one of `KNOWN`, else None. Remembers usual spellings, which are then not folded."""
    lower = name.lower()
    known = lower if lower in KNOWN else None
    if len(_spellings) < _MOST_SPELLINGS and len(name) <= _LONGEST_SPELLING:
        _spellings[name] = known
    return known


def scan(section: bytes) -> tuple[Lines, Found]:
    """Take apart a section that has matched `grammar.SECTION`."""
    lines: Lines = _LINE.findall(section)
    found: Found = {}
    spellings = _spellings
    for line, name in lines:
        try:
            known = spellings[name]
        except KeyError:
            known = canonical(name)
        if known is not None:
            found.setdefault(known, []).append(line[len(name) + 1 : -2].strip(_OWS))
    return lines, found


def value_of(lines: Lines, name: bytes) -> bytes | None:
    """The value of a field by its lower-case name, several lines joined as RFC 9110 §5.3 says; None if absent."""
    values = [line[len(spelled) + 1 : -2].strip(_OWS) for line, spelled in lines if spelled.lower() == name]
    return b", ".join(values) if values else None


def pairs(lines: Lines) -> list[tuple[bytes, bytes]]:
    """Name and value of each line."""
    return [(name, line[len(name) + 1 : -2].strip(_OWS)) for line, name in lines]


def listed(values: list[bytes]) -> frozenset[bytes]:
    """The members of a comma-separated list of tokens (RFC 9110 §5.6.1), lower-case."""
    return frozenset(member for value in values for part in value.split(b",") if (member := part.strip(_OWS).lower()))


def content_length(values: list[bytes]) -> int:
    """The one Content-Length. Repeated, listed and non-decimal values are refused, agreeing or not (RFC 9112 §6.3).

    Raises GrammarError.
    """
    if len(values) != 1:
        raise GrammarError("Content-Length is repeated")
    if _DIGITS.fullmatch(values[0]) is None:
        raise GrammarError("Content-Length is not one decimal number")
    length = int(values[0])
    if length > MAX_LENGTH:
        raise GrammarError("Content-Length is too large")
    return length
