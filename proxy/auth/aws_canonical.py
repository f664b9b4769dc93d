"""What an AWS signature covers: the canonical request of Signature Version 4, made of exactly the octets that go out.

Paths and queries are decoded and encoded again, because that is what the service does before it compares: each spelling
of an octet is signed alike. S3 takes the path as it is; all other services encode it twice and resolve dot segments.
Source: "Create a signed AWS API request" in the AWS Identity and Access Management User Guide.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote_from_bytes, unquote_to_bytes

from proxy.model import Field

S3_NAMES = frozenset({"s3", "s3-object-lambda", "s3-outposts", "s3express"})
"""Services that sign the path as it is sent."""

_PLAIN = re.compile(rb"[A-Za-z0-9\-._~]*")
_PLAIN_PATH = re.compile(rb"(?:/[A-Za-z0-9\-._~]*)+")
_SIGNED = re.compile(rb"\r\n((?i:host|content-type|content-md5|x-amz-[^:\r]*+)):[ \t]*+([^\r]*+)")
_DECLARED = re.compile(
    rb"\r\n(?i:x-amz-content-sha256):[ \t]*+([0-9a-f]{64}|UNSIGNED-PAYLOAD|STREAMING-[A-Z0-9-]++)[ \t]*+\r"
)
_BLANKS = re.compile(rb"[ \t]+")
_PRESIGNED = frozenset(
    b"x-amz-" + name
    for name in (
        b"algorithm", b"content-sha256", b"credential", b"date", b"expires", b"security-token", b"signature",
        b"signedheaders",
    )
)  # fmt: skip


def canonical_path(path: bytes, service: str) -> bytes:
    """The path as the service sees it, percent-encoded; `path` is as it is sent."""
    if service in S3_NAMES:
        return path if _PLAIN_PATH.fullmatch(path) else _encoded(unquote_to_bytes(path), safe="/")
    if not _PLAIN_PATH.fullmatch(path) or b"//" in path or b"/." in path:
        path = _encoded(_resolved(path), safe="/~")
    return path or b"/"


def _resolved(path: bytes) -> bytes:
    """The path without empty and dot segments (RFC 3986 §5.2.4); a slash at its end stays."""
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    return b"/" + b"/".join(kept) + (b"/" if kept and path.endswith(b"/") else b"")


def canonical_query(query: bytes) -> bytes:
    """The parameters, encoded anew and in order; one without `=` has an empty value."""
    pairs = []
    for piece in query.split(b"&"):
        if piece:
            name, _, value = piece.partition(b"=")
            pairs.append((_normal(name), _normal(value)))
    return b"&".join([name + b"=" + value for name, value in sorted(pairs)])


def _normal(octets: bytes) -> bytes:
    return octets if _PLAIN.fullmatch(octets) else _encoded(unquote_to_bytes(octets), safe="")


def _encoded(octets: bytes, safe: str) -> bytes:
    return quote_from_bytes(octets, safe=safe).encode("ascii")


def canonical_fields(section: bytes, added: Sequence[Field]) -> tuple[bytes, bytes]:
    """The lines of all signed fields, and their names as `SignedHeaders` has them.

    `section`: the head's lines as they go out, the first CRLF included; of these Host, Content-Type, Content-MD5 and
    every `X-Amz-` field are signed. `added`: what the signature brings itself, names in lower case.
    """
    values: dict[bytes, bytes] = dict(added)
    for name, value in _SIGNED.findall(section):
        lower = name.lower()
        trimmed = _BLANKS.sub(b" ", value.strip(b" \t"))
        values[lower] = b"%b,%b" % (values[lower], trimmed) if lower in values else trimmed
    ordered = sorted(values.items())
    return b"".join([b"%b:%b\n" % field for field in ordered]), b";".join([name for name, _ in ordered])


def canonical_request(
    method: bytes, target: bytes, lines: bytes, names: bytes, payload_hash: bytes, service: str
) -> bytes:
    """All that the signature covers; `lines` and `names` are of `canonical_fields`."""
    path, _, query = target.partition(b"?")
    return b"\n".join((method, canonical_path(path, service), canonical_query(query), lines, names, payload_hash))


def declared_hash(section: bytes) -> bytes | None:
    """The hash of the body as the app declares it, or the word for a body that has none; None where it says nothing."""
    match = _DECLARED.search(section)
    return match[1] if match is not None else None


def without_presigning(target: bytes) -> bytes:
    """The target without the parameters of a signature in the query, by their decoded names."""
    path, mark, query = target.partition(b"?")
    if not query:
        return target
    pieces = query.split(b"&")
    kept = [piece for piece in pieces if unquote_to_bytes(piece.partition(b"=")[0]).lower() not in _PRESIGNED]
    if len(kept) == len(pieces):
        return target
    return path + mark + b"&".join(kept) if kept else path


def presigned_scope(target: bytes) -> bytes | None:
    """The value of `X-Amz-Credential`, decoded; None where the query has none."""
    for piece in target.partition(b"?")[2].split(b"&"):
        name, _, value = piece.partition(b"=")
        if unquote_to_bytes(name).lower() == b"x-amz-credential":
            return unquote_to_bytes(value)
    return None
