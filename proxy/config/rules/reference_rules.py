"""Rules of secret references: one source each, and all that can be resolved at load time must resolve."""

from __future__ import annotations

import base64
import binascii

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.rules import checks, secret_text_rules
from proxy.config.rules.per_caller_rules import one_for_each
from proxy.config.schema import (
    Assertion,
    AwsSigV4,
    Basic,
    Bearer,
    Config,
    EncodedSecret,
    FieldValue,
    FileStore,
    Header,
    InitialToken,
    OAuth1,
    OAuth2,
    RedisStore,
    Secret,
    SubjectToken,
)
from proxy.config.secrets import SecretError, is_local, read_secret
from proxy.config.spelling import listed, suggestion
from proxy.config.tree import Value, every

_KINDS = ("env", "file", "exec", "credential", "value")
_KEY_OCTETS = 32
_TOKENS = {
    (Bearer, "token"), (InitialToken, "access_token"), (InitialToken, "refresh_token"), (OAuth2, "client_assertion"),
    (OAuth2, "refresh_token"), (OAuth2, "assertion"), (OAuth2, "subject_token"), (OAuth2, "actor_token"),
}  # fmt: skip
"""Where a token is meant and no password can be."""


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    uses: dict[str, list[tuple[str, KeyPath]]] = {}
    for found in every(config):
        if not isinstance(found.value, Secret):
            continue
        secret, path = found.value, found.path
        _shape(secret, path, context)
        if secret.credential is not None:
            at = (*path, "credential")
            if secret.credential not in config.credentials:
                hint = suggestion(secret.credential, config.credentials)
                needs: list[KeyPath] = [("credentials", secret.credential)]
                context.refuse(at, f"there is no credential `{secret.credential}`", hint, needs=needs)
            elif path[0] == "credentials":
                uses.setdefault(str(path[1]), []).append((secret.credential, at))
                _usable(secret.credential, config, found, at, context)
            else:
                context.refuse(at, "only a credential can use another one")
        elif is_local(secret):
            _resolve(secret, path, found.owner, context)
    _circles(uses, context)


def _usable(name: str, config: Config, found: Value, at: KeyPath, context: ParseContext) -> None:
    """The other credential must have a single token that can be used here."""
    other = config.credentials[name]
    each = one_for_each(other)
    needs: list[KeyPath] = [("credentials", name)]
    if each is not None:
        context.refuse(at, f"`{name}` has a token for each {each}, and none for others to use", needs=needs)
    elif isinstance(other, OAuth1 | AwsSigV4):
        context.refuse(at, f"`{name}` signs requests and has no token", needs=needs)
    elif isinstance(other, Basic) and _means_token(found):
        context.refuse(at, f"`{name}` has a user name and a password, and no token", needs=needs)


def _means_token(found: Value) -> bool:
    if isinstance(found.owner, Header):
        return found.owner.prefix.strip() != ""
    return (type(found.owner), found.path[-1]) in _TOKENS


def _shape(secret: Secret, path: KeyPath, context: ParseContext) -> None:
    kinds = [kind for kind in _KINDS if getattr(secret, kind) is not None]
    kinds += [kind for kind in _own_kinds(secret) if getattr(secret, kind) is not None]
    needs = [(*path, key) for key in (*_KINDS, *_own_kinds(secret))]
    if not kinds:
        choice = "env, file, exec, credential or value" + _more(secret)
        context.refuse(path, "this secret refers to nothing", f"give one of {choice}", needs=needs)
    for extra in kinds[1:]:
        context.refuse((*path, extra), f"a secret has one source: `{kinds[0]}` or `{extra}`", needs=needs)
    if secret.ttl is not None and secret.exec is None:
        context.refuse((*path, "ttl"), "`ttl` belongs to `exec`", needs=needs)
    if secret.json_pointer is not None and secret.exec is None and secret.file is None:
        context.refuse((*path, "json_pointer"), "`json_pointer` belongs to `file` and `exec`", needs=needs)
    checks.pointer(secret.json_pointer, (*path, "json_pointer"), context)
    if secret.exec is not None and not secret.exec:
        context.refuse((*path, "exec"), "`exec` is an empty list", "[program, argument, …]")
    if secret.value is not None:
        context.warn((*path, "value"), "a secret in the configuration file", "better {env: NAME} or {file: path}")


def _own_kinds(secret: Secret) -> tuple[str, ...]:
    if isinstance(secret, Assertion):
        return ("request_header", "key", "google_service_account")
    if isinstance(secret, EncodedSecret | FieldValue):
        return ("base64",) if isinstance(secret, EncodedSecret) else ("kept",)
    return ("request_header",) if isinstance(secret, SubjectToken) else ()


def _more(secret: Secret) -> str:
    own = _own_kinds(secret)
    return f", or {listed(own)}" if own else ""


def _resolve(secret: Secret, path: KeyPath, owner: object, context: ParseContext) -> None:
    kinds = [kind for kind in _KINDS if getattr(secret, kind) is not None]
    kind = kinds[0] if len(kinds) == 1 else None
    if kind is None or not context.sound((*path, kind)) or not context.sound((*path, "json_pointer")):
        return
    if secret.env is not None and (not secret.env or "=" in secret.env):
        context.refuse((*path, "env"), "this is no name of an environment variable")
        return
    try:
        text = read_secret(secret, context.environ)
    except SecretError as error:
        context.refuse((*path, kind), str(error))
        return
    if isinstance(owner, FileStore | RedisStore) and path[-1] == "encryption_key":
        if not all(map(_is_key, text.split())):
            context.refuse((*path, kind), "an encryption key is 32 bytes in base64", "openssl rand -base64 32")
        return
    secret_text_rules.judge(text, path, kind, owner, context)


def _is_key(line: str) -> bool:
    try:
        return len(base64.b64decode(line, validate=True)) == _KEY_OCTETS
    except (binascii.Error, ValueError):
        return False


def _circles(uses: dict[str, list[tuple[str, KeyPath]]], context: ParseContext) -> None:
    """A credential whose token is needed to obtain its own token."""
    for start, targets in uses.items():
        for target, at in targets:
            if start in _reached(target, uses):
                context.refuse(at, f"`{start}` would need its own token to obtain it")


def _reached(name: str, uses: dict[str, list[tuple[str, KeyPath]]]) -> set[str]:
    reached: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in reached:
            reached.add(current)
            waiting += [target for target, _ in uses.get(current, [])]
    return reached
