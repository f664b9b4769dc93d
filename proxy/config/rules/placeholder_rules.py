"""Placeholders of token requests, the secrets that they name, and secrets that are written where none is read."""

from __future__ import annotations

from collections.abc import Iterator

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.placeholders import MADE, PER, PREVIOUS, RESERVED, SECRET_NAME, is_now, now, places
from proxy.config.schema import Config, Credential, Http, OAuth2, Secret
from proxy.config.secrets import looks_like_reference
from proxy.config.spelling import suggestion, word
from proxy.config.tree import Value, every

_TEMPLATES: dict[type, tuple[KeyPath, ...]] = {
    OAuth2: (
        ("token_endpoint",), ("refresh_endpoint",), ("issuer",), ("client_id",), ("scope",), ("audience",),
        ("resource",), ("username",), ("token_parameters",), ("token_request", "headers"), ("assertion", "claims"),
        ("assertion", "headers"), ("client_assertion_audience",), ("client_assertion_claims",),
        ("client_assertion_headers",),
    ),
    Http: tuple(
        (call, *key)
        for call in ("obtain", "refresh")
        for key in (("url",), ("headers",), ("json",), ("form",), ("body",), ("basic", "username"))
    ),
}  # fmt: skip
"""Where placeholders are filled in, by the type of the credential."""
_PATHS = frozenset({"file", "cert_file", "key_file", "ca_file", "path"})


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    for name, credential in config.credentials.items():
        if isinstance(credential, OAuth2 | Http):
            path: KeyPath = ("credentials", name)
            used = _filled_in(credential, path, context)
            _named(credential, used, path, context)
    _unread(config, context)


def _templates(credential: Credential) -> Iterator[Value]:
    """The strings of a credential in which placeholders are filled in."""
    starts = _TEMPLATES[type(credential)]
    for found in every(credential):
        written = isinstance(found.value, str) and not isinstance(found.owner, Secret)
        if written and any(found.path[: len(start)] == start for start in starts):
            yield found


def _filled_in(credential: OAuth2 | Http, path: KeyPath, context: ParseContext) -> set[str]:
    """Judge each placeholder; the names that are used."""
    previous = sorted(PREVIOUS) if isinstance(credential, Http) else []
    known = [*credential.secrets, *MADE, "now", *previous, *([PER] if credential.per is not None else [])]
    used: set[str] = set()
    for found in _templates(credential):
        at = (*path, *found.path)
        for name in sorted(places(found.value)):
            used.add(name)
            if is_now(name):
                _time(name, at, context)
            elif name not in known and name != PER:  # which has a rule of its own
                close = suggestion(name, known)
                message = f"nothing fills in `{{{word(name)}}}`"
                listed = "known here: " + ", ".join(f"{{{one}}}" for one in known)
                literal = f"for the text itself write {{{{{word(name)}}}}}"
                hint = "; ".join(part for part in (close, listed, literal) if part)
                context.refuse(at, message, hint, needs=[(*path, "secrets"), (*path, "secrets", name)])
    return used


def _time(name: str, at: KeyPath, context: ParseContext) -> None:
    try:
        sendable = now(name, 0.0).isprintable()
    except ValueError:
        sendable = False
    if not sendable:
        context.refuse(at, f"`{{{word(name)}}}` is no time that can be written", "{now+7d:%Y-%m-%d}")


def _named(credential: OAuth2 | Http, used: set[str], path: KeyPath, context: ParseContext) -> None:
    for name in credential.secrets:
        at = (*path, "secrets", name)
        if not SECRET_NAME.fullmatch(name):
            context.refuse(at, "the name of a secret is a word", "letters, digits, `_` and `-`: {pw} stands for it")
        elif name in RESERVED:
            context.refuse(at, f"`{{{name}}}` stands for something else already", "choose another name")
        elif name not in used:
            context.warn(at, f"this secret is used nowhere: `{{{word(name)}}}` stands in no token request")


def _unread(config: Config, context: ParseContext) -> None:
    """What looks like a secret and is sent as it is written: objects in JSON, and paths of secret files."""
    files: set[str] = set()
    strings: list[Value] = []
    for found in every(config):
        value = found.value
        if isinstance(value, Secret) and value.file is not None:
            files |= {value.file, context.written.get((*found.path, "file"), value.file)}
        elif isinstance(value, dict) and looks_like_reference(value):
            hint = "secrets: {name: {…}} on the credential, and {name} here"
            context.warn(found.path, "this looks like a secret by reference, and is sent as it is written", hint)
        elif isinstance(value, str) and found.path[-1] not in _PATHS and not isinstance(found.owner, Secret):
            strings.append(found)
    for found in strings:
        if found.value in files and not _within_reference(found):
            message = "this is the path of a secret's file, and is sent as it is written"
            context.warn(found.path, message, "a secret is read by reference: {file: path}")


def _within_reference(found: Value) -> bool:
    """Whether the string belongs to an object that was warned of already."""
    return isinstance(found.owner, dict) and looks_like_reference(found.owner)
