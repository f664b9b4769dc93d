"""Request targets: their forms, whether they stay below a prefix, and their query parameters. RFC 9112 §3.2.

The law: a target is never rebuilt. Decisions are made on decoded copies; what is sent are the octets that came, with a
prefix replaced or whole parameters removed or added.

Targets here have passed the head's grammar: no white space, no control, no `#`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection
from urllib.parse import quote_from_bytes, unquote_to_bytes

from proxy.errors import MalformedRequest
from proxy.http1.host import parse_host

_ABSOLUTE = re.compile(rb"(https?)://([^/?]+)", re.IGNORECASE)

# An escape that is a dot, or that may become part of one when decoded again: a percent sign or a hexadecimal digit.
_HIDDEN_DOT = re.compile(rb"%(?:2[5Ee]|3[0-9]|[46][1-6])")
_NESTED_PERCENT = re.compile(rb"%(?:25)+")
_ROUNDS = 8


class Form(enum.Enum):
    """The four forms of a request target."""

    ORIGIN = 0
    ABSOLUTE = 1
    ASTERISK = 2
    AUTHORITY = 3


def form_of(method: bytes, target: bytes) -> Form:
    """The form of `target`. Raises MalformedRequest if it has none, or one that this method does not allow."""
    if method == b"CONNECT":
        return Form.AUTHORITY
    if target.startswith(b"/"):
        return Form.ORIGIN
    if target == b"*" and method == b"OPTIONS":
        return Form.ASTERISK
    if _ABSOLUTE.match(target):
        return Form.ABSOLUTE
    raise MalformedRequest("The request target has none of the forms of RFC 9112 §3.2.")


def split_absolute(target: bytes, *, method: bytes = b"GET") -> tuple[bytes, bytes, bytes]:
    """Scheme (lower case), authority (as written; a well-formed host[:port]) and origin-form of an absolute target.

    An empty path becomes `/`; for OPTIONS without a query, `*` (RFC 9112 §3.2.4). Raises MalformedRequest for schemes
    other than http and https, for user info and for a malformed authority.
    """
    match = _ABSOLUTE.match(target)
    if match is None:
        raise MalformedRequest("The request target is no http or https URI.")
    scheme, authority = match.groups()
    parse_host(authority)
    rest = target[match.end() :]
    if not rest:
        rest = b"*" if method == b"OPTIONS" else b"/"
    elif rest.startswith(b"?"):
        rest = b"/" + rest
    return scheme.lower(), authority, rest


def leaves_prefix(path: bytes, prefix: bytes) -> bool:
    """Whether some server may read `path` (raw, without its query) as one that leaves `prefix` with `..`.

    `prefix` is the raw prefix that the path was matched with, without a trailing slash (b"" for the root). Servers
    disagree about what they decode, how often, and in which order they normalise; so every segment is
    taken at its worst: dots are dots at any depth of encoding, path parameters hide nothing, empty segments are
    merged, and a separator that is encoded or a backslash separates where that climbs but never adds a level.
    """
    if b".." not in path and (b"%" not in path or _HIDDEN_DOT.search(path) is None):
        return False
    depth = 0
    for segment in path[len(prefix) :].split(b"/"):
        plain = _decoded(segment)
        if plain is None:
            return True
        named = False
        for piece in plain.replace(b"\\", b"/").split(b"/"):
            name = piece.partition(b";")[0]
            if name == b"..":
                depth -= 1
                named = False
                if depth < 0:
                    return True
            elif not named and name not in (b"", b"."):
                depth += 1
                named = True
    return False


def _decoded(segment: bytes) -> bytes | None:
    """The segment decoded until nothing is left to decode; None if it is encoded more often than any client would."""
    for _ in range(_ROUNDS):
        if b"%" not in segment:
            return segment
        plain = unquote_to_bytes(_NESTED_PERCENT.sub(b"%", segment))
        if plain == segment:
            return segment
        segment = plain
    return None


def without_parameters(target: bytes, names: Collection[bytes]) -> bytes:
    """The target without the query parameters of these names (decoded); every other octet stays where it is."""
    path, mark, query = target.partition(b"?")
    kept = without_pairs(query, names)
    if kept is query:
        return target
    return path + mark + kept if kept else path


def without_pairs(encoded: bytes, names: Collection[bytes]) -> bytes:
    """A query or a form body without the parameters of these names; itself where it has none of them.

    Names are compared as a form decoder reads them: `+` is a space, escapes are decoded once. Some decoders take `;`
    for `&`: what they would find behind one goes as well.
    """
    if b"%" not in encoded and b"+" not in encoded and not any(name in encoded for name in names):
        return encoded
    kept = [rest for piece in encoded.split(b"&") if (rest := _without(piece, names)) is not None]
    whole = b"&".join(kept)
    return encoded if len(whole) == len(encoded) else whole


def _without(pair: bytes, names: Collection[bytes]) -> bytes | None:
    """What is left of what stands between two `&`; None for nothing, not even that."""
    if _name_of(pair) in names:
        return None
    if b";" not in pair:
        return pair
    kept = [one for one in pair.split(b";") if _name_of(one) not in names]
    return b";".join(kept) if kept else None


def _name_of(pair: bytes) -> bytes:
    return unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" "))


def with_parameter(target: bytes, name: bytes, value: bytes) -> bytes:
    """The target with one more query parameter at its end; `name` and `value` are given decoded. `*` has no query."""
    return target if target == b"*" else with_query(target, _pair(name, value))


def with_query(target: bytes, encoded: bytes) -> bytes:
    """The target with more of a query at its end, which is percent-encoded already."""
    return target + _joint(target) + encoded


def with_pair(encoded: bytes, name: bytes, value: bytes) -> bytes:
    """A query or a form body with one more parameter at its end; `name` and `value` are given decoded.

    Everything but RFC 3986's unreserved characters is percent-encoded: no server reads that in two ways.
    """
    return encoded + _joint(b"?" + encoded) + _pair(name, value)


def _joint(target: bytes) -> bytes:
    _, mark, query = target.partition(b"?")
    if not mark:
        return b"?"
    return b"" if not query or query.endswith(b"&") else b"&"


def _pair(name: bytes, value: bytes) -> bytes:
    return f"{quote_from_bytes(name, safe='')}={quote_from_bytes(value, safe='')}".encode("ascii")
