"""A header section: its octets as they came, and the values in it that concern framing, connections and routing.

The law: a section is forwarded as one piece from which whole lines are removed; it is never rebuilt. A section here
begins with the CRLF of the line before it and ends with its own last CRLF, so each line has a CRLF on both sides.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from proxy.http1.grammar import MAX_LENGTH, GrammarError

Lines = list[tuple[bytes, bytes]]
"""Pairs of the whole line (with CRLF) and the name in it, as spelled."""

FieldValues = dict[bytes, list[bytes]]
"""Values, without white space around them, of the fields in `KNOWN` or `OF_ANSWERS`, by lower-case name."""

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
"""Fields that are never forwarded (RFC 9110 §7.6.1), whether `Connection` nominates them or not."""

ENDS_HERE = frozenset({b"alt-svc"})
"""Fields of an answer that would make clients bypass us: with `Alt-Svc` they ask the API directly (RFC 7838 §2)."""

HTTPS_ONLY = b"strict-transport-security"
"""Removed where the app's connection is plain HTTP (RFC 6797 §7.2): the upstream means its own connection."""

OF_ANSWERS = HOP_BY_HOP | ENDS_HERE | {b"content-length", b"dpop-nonce", HTTPS_ONLY}
"""The fields of an answer that are always read; others are looked up on demand."""

_CUT_FROM_ANSWERS = HOP_BY_HOP | ENDS_HERE

KNOWN = HOP_BY_HOP | {
    b"host",
    b"authorization",
    b"content-length",
    b"content-type",
    b"content-encoding",
    b"expect",
    b"origin",
    b"sec-fetch-site",
    b"access-control-request-method",
    b"access-control-request-headers",
}


def lines_named(names: Iterable[bytes], *, aliases: bool) -> re.Pattern[bytes]:
    """A pattern that finds lines by lower-case name in a section. Groups: line (with the CRLF before it), name, value.

    `aliases`: `-` and `_` in a name are equal, as in CGI and WSGI. The look-ahead on the first letter skips most lines
    without trying the long alternation.
    """
    first = b"".join(sorted({letter for name in names for letter in (name[:1], name[:1].upper())}))
    spelled = b"|".join(map(re.escape, sorted(names)))
    if aliases:
        spelled = re.sub(rb"\\-|_", b"[-_]", spelled)
    return re.compile(rb"(\r\n(?=[" + re.escape(first) + rb"])((?i:" + spelled + rb")):[ \t]*+([^\r]*+))")


_KNOWN = lines_named(KNOWN, aliases=False)
_OF_ANSWERS = lines_named(OF_ANSWERS, aliases=False)
_LINE = re.compile(rb"(([^:]++):[^\r]*+\r\n)")
_USUAL_LISTS = {value: frozenset({value.lower()}) for value in (b"keep-alive", b"Keep-Alive", b"close", b"Close")}
_MOST_DIGITS = 19
_OWS = b" \t"


def read(section: bytes, *, answer: bool = False) -> tuple[FieldValues, bytes]:
    """The values of the fields in `KNOWN` (`OF_ANSWERS`), and the section without the hop-by-hop ones.

    The section has matched `grammar.SECTION`. One pass in C finds the few lines that matter; no other is touched.
    """
    found: FieldValues = {}
    cut = _CUT_FROM_ANSWERS if answer else HOP_BY_HOP
    for line, name, value in (_OF_ANSWERS if answer else _KNOWN).findall(section):
        lower = name.lower()
        if lower in cut:
            section = section.replace(line + b"\r\n", b"\r\n", 1)
        if lower in found:
            found[lower].append(value.rstrip(_OWS))
        else:
            found[lower] = [value.rstrip(_OWS)]
    return found, section


def lines_of(section: bytes) -> Lines:
    """Every line (with its CRLF) and the name in it."""
    return _LINE.findall(section[2:])


def without(section: bytes, names: Collection[bytes]) -> bytes:
    """The section without the lines of these lower-case names.

    For names that a peer chose (in `Connection`), of which no pattern should be compiled.
    """
    return b"\r\n" + b"".join([line for line, name in lines_of(section) if name.lower() not in names])


def value_of(lines: Lines, name: bytes) -> bytes | None:
    """The value of a field by its lower-case name, several lines joined as RFC 9110 §5.3 says; None if absent."""
    values = [line[len(spelled) + 1 : -2].strip(_OWS) for line, spelled in lines if spelled.lower() == name]
    return b", ".join(values) if values else None


def pairs(lines: Lines) -> list[tuple[bytes, bytes]]:
    """Name and value of each line."""
    return [(name, line[len(name) + 1 : -2].strip(_OWS)) for line, name in lines]


def listed(values: list[bytes]) -> frozenset[bytes]:
    """The members of a comma-separated list of tokens (RFC 9110 §5.6.1), lower-case."""
    if len(values) == 1 and values[0] in _USUAL_LISTS:
        return _USUAL_LISTS[values[0]]
    return frozenset(member for value in values for part in value.split(b",") if (member := part.strip(_OWS).lower()))


def content_length(values: list[bytes]) -> int:
    """The one Content-Length. Repeated, listed and non-decimal values are refused, agreeing or not (RFC 9112 §6.3).

    Raises GrammarError.
    """
    if len(values) != 1:
        raise GrammarError("Content-Length is repeated")
    value = values[0]
    if not value.isdigit() or len(value) > _MOST_DIGITS:
        raise GrammarError("Content-Length is not one decimal number")
    length = int(value)
    if length > MAX_LENGTH:
        raise GrammarError("Content-Length is too large")
    return length
