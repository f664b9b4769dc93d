"""Rules of pushed tokens: the guards that a push needs, and the networks it may come from."""

from __future__ import annotations

import ipaddress

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.rules import checks
from proxy.config.schema import Config, External, Renewed, UpdateGuard, UpdateGuardJwt


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    for name, credential in config.credentials.items():
        path: KeyPath = ("credentials", name)
        if not isinstance(credential, Renewed):
            continue
        if credential.update is not None:
            _guard(credential.update, (*path, "update"), context)
            if config.admin.listen is None and config.update is None:
                needs: list[KeyPath] = [("admin",), ("admin", "listen"), ("update",)]
                message = "nothing listens for updates: `admin.listen` is off and there is no `update.listen`"
                context.refuse((*path, "update"), message, needs=needs)
        elif isinstance(credential, External):
            hint = "update: {secret: {env: NAME}}"
            context.refuse(
                path, "an external credential lives on pushes: it needs `update`", hint, needs=[(*path, "update")]
            )


def _guard(guard: UpdateGuard, path: KeyPath, context: ParseContext) -> None:
    if guard.secret is None and guard.jwt is None:
        needs = [(*path, "secret"), (*path, "jwt")]
        context.refuse(path, "an update needs a guard", "`secret`, `jwt` or both", needs=needs)
    if guard.jwt is not None:
        _jwt(guard.jwt, (*path, "jwt"), context)
    for index, network in enumerate(guard.allow_from or ()):
        try:
            ipaddress.ip_network(network)
        except ValueError:
            hint = "10.0.0.0/8, with no bits beyond the prefix; 192.0.2.7; fd00::/8"
            context.refuse((*path, "allow_from", index), "this is no network", hint)


def _jwt(jwt: UpdateGuardJwt, path: KeyPath, context: ParseContext) -> None:
    checks.secure_url(jwt.jwks_uri, (*path, "jwks_uri"), context)
    for key in ("issuer", "audience"):
        if not getattr(jwt, key):
            context.refuse((*path, key), f"`{key}` is empty")
    if not jwt.claims:
        hint = "name who may push, such as claims: {sub: refresher}"
        context.refuse((*path, "claims"), "without `claims`, whoever has a token of this issuer could push", hint)
    if not jwt.algorithms:
        context.refuse((*path, "algorithms"), "`algorithms` is an empty list", ", ".join(checks.ASYMMETRIC))
    for index, algorithm in enumerate(jwt.algorithms):
        if algorithm not in checks.ASYMMETRIC:
            hint = "one of " + ", ".join(checks.ASYMMETRIC)
            context.refuse((*path, "algorithms", index), "only asymmetric algorithms prove the issuer", hint)
