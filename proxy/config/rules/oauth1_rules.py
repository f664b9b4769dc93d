"""Rules of OAuth 1: what each signature method needs (RFC 5849 §3.4)."""

from __future__ import annotations

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.rules import checks
from proxy.config.schema import Config, OAuth1


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    for name, credential in config.credentials.items():
        if isinstance(credential, OAuth1):
            _oauth1(credential, ("credentials", name), context)


def _oauth1(credential: OAuth1, path: KeyPath, context: ParseContext) -> None:
    method = credential.signature_method
    keys = ("private_key", "consumer_secret")
    needed, idle = keys if method.startswith("RSA") else reversed(keys)
    if getattr(credential, needed) is None:
        needs = [(*path, key) for key in ("signature_method", *keys)]
        context.refuse(path, f"{method} needs `{needed}`", f"{needed}: {{file: path}}", needs=needs)
    elif getattr(credential, idle) is not None:
        context.warn((*path, idle), f"`{idle}` has no effect: {method} signs with `{needed}`")
    if credential.key_password is not None and credential.private_key is None:
        needs = [(*path, "private_key")]
        context.refuse((*path, "key_password"), "`key_password` opens a `private_key`", needs=needs)
    if credential.token_secret is not None and credential.token is None:
        context.refuse((*path, "token_secret"), "`token_secret` belongs to a `token`", needs=[(*path, "token")])
    if method == "PLAINTEXT" and credential.body_hash is not None:
        needs = [(*path, "signature_method")]
        context.refuse((*path, "body_hash"), "a PLAINTEXT signature protects no body", needs=needs)
    if not credential.consumer_key:
        context.refuse((*path, "consumer_key"), "`consumer_key` is empty")
    if credential.realm is not None and not credential.realm.isprintable():
        context.refuse((*path, "realm"), "a realm has no control characters")
    if credential.realm is not None and credential.transmit == "query":
        needs = [(*path, "transmit")]
        context.refuse((*path, "realm"), "a realm goes into `Authorization` alone (RFC 5849 §3.5.1)", needs=needs)
    if credential.signing_base_url is not None:
        checks.url(credential.signing_base_url, (*path, "signing_base_url"), context)
