"""Checks of single values that several rules use: names, hosts, URLs, pointers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import SplitResult

from proxy.config.address import HIGHEST_PORT, is_host, is_loopback, no_host, parse_url
from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.placeholders import PLACE
from proxy.config.schema import Refresh

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\U0010ffff]*")  # RFC 9110 §5.5
_PORT = re.compile(r":[1-9][0-9]{0,4}\Z")
ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SYMMETRIC = ("HS256", "HS384", "HS512")
"""Algorithms of JSON Web Signatures (RFC 7518 §3.1, RFC 8037 §3.1)."""

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")  # RFC 6901 §3
_FRAMING = frozenset(
    {
        "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "te", "trailer",
        "upgrade", "expect",
    }
)  # fmt: skip


def is_token(text: str) -> bool:
    """Whether it is a token of RFC 9110: a method, or the name of a header field."""
    return bool(_TOKEN.fullmatch(text))


def header_name(name: str, path: KeyPath, context: ParseContext) -> None:
    """Check the name of a field that is set or removed: none that frames the message or belongs to a connection."""
    if not is_token(name):
        context.refuse(path, "this is no name of a header field", "letters, digits and hyphens: X-Api-Key")
    elif name.lower() in _FRAMING:
        hint = "give the route a `host`" if name.lower() == "host" else None
        context.refuse(path, f"{name} belongs to the connection: the sidecar sets it itself", hint)


def host(text: str, path: KeyPath, context: ParseContext, *, port: bool = False) -> None:
    """Check a host: a name or address, IPv6 in brackets; with `port`, a port may follow."""
    name = _PORT.sub("", text) if port else text
    if not is_host(name):
        shape = "a name or address, without scheme and path"
        context.refuse(path, no_host(name), shape if name.isascii() else None)
    elif name != text and int(text[len(name) + 1 :]) > HIGHEST_PORT:
        context.refuse(path, f"a port is a number from 1 to {HIGHEST_PORT}")


def header_value(value: str, path: KeyPath, context: ParseContext) -> None:
    """Check a header field's value: no line breaks, no control characters."""
    if not _VALUE.fullmatch(value):
        context.refuse(path, "a header field holds no line breaks or control characters")


def parameter(name: str, path: KeyPath, context: ParseContext) -> None:
    """The name of a parameter of a query or a form."""
    if not name or not name.isprintable():
        context.refuse(path, "a query parameter needs a printable name")


def method(name: str, path: KeyPath, context: ParseContext) -> None:
    """Check a request method; methods are case-sensitive."""
    if not is_token(name):
        context.refuse(path, "this is no request method")
    elif name != name.upper():
        context.warn(path, "methods are case-sensitive", f"did you mean {name.upper()}?")


def url(text: str, path: KeyPath, context: ParseContext, *, query: bool = False) -> SplitResult | None:
    """Check an http or https URL, and return its parts; None if it is invalid."""
    try:
        return parse_url(text, query=query)
    except ValueError as error:
        context.refuse(path, str(error))
        return None


def secure_url(
    text: str | None, path: KeyPath, context: ParseContext, *, query: bool = True, insecure: bool | None = None
) -> None:
    """A URL that secrets are sent to: https, or this very machine. `insecure`: the operator allows http anywhere."""
    if text is None:
        return
    parsed = url(PLACE.sub("x", text), path, context, query=query)
    if parsed is not None and parsed.scheme == "http" and not insecure and not is_loopback(parsed.hostname or ""):
        hint = "use https://" + (", or on purpose allow_insecure: true" if insecure is not None else "")
        context.refuse(path, "secrets would leave this machine over http://", hint)


def fields(headers: Mapping[str, object], path: KeyPath, context: ParseContext) -> None:
    """The header fields of a request of ours: names that may be set, each once, with values that can be sent."""
    seen: set[str] = set()
    for name, value in headers.items():
        header_name(name, (*path, name), context)
        if name.lower() in seen:
            context.refuse((*path, name), f"{name} is set twice: names of header fields have no case")
        seen.add(name.lower())
        if isinstance(value, str):
            header_value(value, (*path, name), context)


def jose_headers(headers: Mapping[str, object], path: KeyPath, context: ParseContext) -> None:
    """More members of a JWT's header: not those that say how it is signed."""
    if "alg" in headers:
        context.refuse((*path, "alg"), "the header says `alg` by itself", "give the credential's `alg`")


def key_form(algorithm: str, key_password: object, key_encoding: object, path: KeyPath, context: ParseContext) -> None:
    """Check that what is said of a key goes with the algorithm: HS… is signed with a shared one."""
    shared, needs = algorithm.startswith("HS"), [(*path, "alg")]
    if shared and key_password is not None:
        message = f"`key_password` opens a private key, and {algorithm} signs with none"
        context.refuse((*path, "key_password"), message, needs=needs)
    if not shared and key_encoding is not None:
        message = f"`key_encoding` is how a shared key is written, and {algorithm} signs with a private key"
        context.refuse((*path, "key_encoding"), message, "HS256, HS384, HS512", needs=needs)


def pointer(text: str | None, path: KeyPath, context: ParseContext) -> None:
    """Check a JSON pointer."""
    if text is not None and not _POINTER.fullmatch(text):
        context.refuse(path, "this is no JSON pointer", "it starts with a slash: /data/token (RFC 6901)")


def pairs(names: Iterable[str], owner: object, path: KeyPath, context: ParseContext) -> None:
    """Check keys that need each other: all of them are given, or none."""
    names = list(names)
    given = [name for name in names if getattr(owner, name) is not None]
    if given and len(given) < len(names):
        missing = next(name for name in names if name not in given)
        needs = [(*path, name) for name in names]
        context.refuse((*path, given[0]), f"`{given[0]}` needs `{missing}` next to it", needs=needs)


def refresh(given: Refresh, path: KeyPath, context: ParseContext) -> None:
    """When a token is renewed ahead of its end."""
    if not 0 < given.at <= 1:
        context.refuse((*path, "at"), "`at` is a part of the lifetime: more than 0, at most 1")
    if not 0 <= given.jitter < 1:
        context.refuse((*path, "jitter"), "`jitter` is a part: 0 or more, less than 1")
