"""Rules of a secret's text: characters that cannot be sent are errors, white space at its ends is a warning."""

from __future__ import annotations

import re

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.schema import (
    Admin,
    Basic,
    Bearer,
    Callers,
    DirectLine,
    Header,
    InitialToken,
    OAuth2,
    RedisStore,
    Secret,
    ViaProxy,
)
from proxy.config.secrets import padded

_FIELD_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no field value holds (RFC 9110 §5.5)."""
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
"""What neither a password for Basic (RFC 7617 §2) nor a Bearer token (RFC 6750 §2.1) holds."""

_IN_A_FIELD: set[tuple[type, str | int]] = {(Header, "value"), (DirectLine, "secret")}
_WITHOUT_CONTROLS = {
    (Admin, "bearer"),
    (Basic, "password"),
    (Basic, "username"),
    (Bearer, "token"),
    (Callers, "bearer"),
    (InitialToken, "access_token"),
    (RedisStore, "url"),
    (ViaProxy, "password"),
}


def judge(text: str, path: KeyPath, kind: str, owner: object, context: ParseContext) -> None:
    """Check the text of the secret at `path`, which is a field of `owner`. `kind`: its source, such as `file`."""
    impossible = _impossible(owner, path)
    if isinstance(owner, Basic) and path[-1] == "username" and ":" in text:
        context.refuse((*path, kind), "a user name in Basic has no colon (RFC 7617)")
    elif impossible is not None and impossible.search(text):
        message = "this secret contains a control character, which cannot be sent where it goes"
        context.refuse((*path, kind), message, "a line break within? two secrets in one? the wrong file?")
    elif padded(text):
        message = "white space, or something as invisible, before or behind this secret stays part of it"
        context.warn((*path, kind), message, "only one line break at its end is dropped: remove the rest")


def _impossible(owner: object, path: KeyPath) -> re.Pattern[str] | None:
    """The characters that cannot be sent there. Forms and queries encode everything, and keys are not sent."""
    if isinstance(owner, dict):
        return _FIELD_CONTROLS if "headers" in path[-3:-1] else None
    if isinstance(owner, OAuth2):
        return _CONTROLS if path[-1] == "client_secret" and owner.basic_encoding == "raw" else None
    if isinstance(owner, Secret):
        return None
    if (type(owner), path[-1]) in _IN_A_FIELD:
        return _FIELD_CONTROLS
    return _CONTROLS if (type(owner), path[-1]) in _WITHOUT_CONTROLS else None
