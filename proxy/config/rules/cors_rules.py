"""Rules of `cors`: origins as browsers write them, `*` only where browsers understand it."""

from __future__ import annotations

from proxy.config.origin import ANY, canonical
from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.rules import checks
from proxy.config.schema import Cors

_HINT = "scheme and host, without a slash at the end: https://app.example"


def judge(cors: Cors, path: KeyPath, context: ParseContext) -> None:
    """Every rule of this subject."""
    for index, origin in enumerate(cors.allow_origins):
        at = (*path, "allow_origins", index)
        try:
            canonical(origin)
        except ValueError as error:
            context.refuse(at, str(error), _HINT)
            continue
        if origin == ANY and cors.allow_credentials:
            hint = "name the origins, or leave `allow_credentials` out"
            message = "with `allow_credentials` every page in the user's browser could act in the user's name"
            context.refuse(at, message, hint, needs=[(*path, "allow_credentials")])
        elif origin == "null" and cors.allow_credentials:
            context.warn(at, "any page can make itself an origin `null`, and act in the user's name")
    for index, name in enumerate(() if cors.allow_headers == "any" else cors.allow_headers):
        at = (*path, "allow_headers", index)
        if name == ANY:
            context.refuse(at, "`*` is no name of a header field", "write allow_headers: any")
        else:
            _name(name, at, context)
    for index, name in enumerate(cors.expose_headers):
        at = (*path, "expose_headers", index)
        if name != ANY:
            _name(name, at, context)
        elif cors.allow_credentials:
            message = "with `allow_credentials` browsers take `*` for a name"
            context.refuse(at, message, "name the fields", needs=[(*path, "allow_credentials")])


def _name(name: str, at: KeyPath, context: ParseContext) -> None:
    if not checks.is_token(name):
        context.refuse(at, "this is no name of a header field", "letters, digits and hyphens: X-Api-Key")
