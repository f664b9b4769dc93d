"""A token request as it goes out: parameters as a form, as JSON or as a query, under names of a server's own. Pure.

RFC 6749 §3.2 wants a form. Servers with dialects of their own want the same words elsewhere.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from proxy.config.schema import TokenRequest

Pairs = Sequence[tuple[str, str]]


class Packed(Struct, frozen=True):
    """The request: `url` with its query, `headers`, `body`."""

    url: str
    headers: list[tuple[str, str]]
    body: bytes

    def __repr__(self) -> str:
        """Bodies and queries hold secrets."""
        return "Packed()"


def packed(url: str, parameters: Pairs, headers: Iterable[tuple[str, str]], shape: TokenRequest) -> Packed:
    """The request for `parameters`. `headers`: ours; those of the operator (`shape.headers`, filled in) win."""
    pairs = [(shape.names.get(name, name), value) for name, value in parameters]
    given = [(name, str(value)) for name, value in shape.headers.items()]
    named = {name.lower() for name, _ in given}
    body, kind = b"", None
    if shape.format == "query":
        url = f"{url}{'&' if '?' in url else '?'}{urlencode(pairs)}"
    elif shape.format == "json":
        body, kind = msgspec.json.encode(_object(pairs)), "application/json"
    else:
        body, kind = urlencode(pairs).encode(), "application/x-www-form-urlencoded"
    ours = [("Content-Type", kind)] if kind is not None else []
    return Packed(url, [*(pair for pair in (*ours, *headers) if pair[0].lower() not in named), *given], body)


def login(username: str, password: str, scheme: str) -> str:
    """User name and password as the value of Authorization (RFC 7617), in UTF-8."""
    return f"{scheme} " + base64.b64encode(f"{username}:{password}".encode()).decode("ascii")


def _object(pairs: Pairs) -> dict[str, Any]:
    """One member for each name; a list where a parameter comes more than once (RFC 8707 §2)."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name not in members:
            members[name] = value
        elif isinstance(members[name], list):
            members[name].append(value)
        else:
            members[name] = [members[name], value]
    return members
