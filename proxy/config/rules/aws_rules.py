"""AWS Signature Version 4: where the keys come from, and what a signature is good for."""

from __future__ import annotations

import re

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.rules import checks
from proxy.config.schema import AwsRole, AwsSigV4, Config

FROM_REQUEST = "from_request"
"""Stands for a region or a service that the app's own signature names."""

_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+", re.ASCII)
_SESSION = re.compile(r"[\w+=,.@-]{2,64}", re.ASCII)
_SHORTEST, _LONGEST = 900, 43200
_SOURCES = ("access_key_id", "profile", "metadata")


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    for name, credential in config.credentials.items():
        if isinstance(credential, AwsSigV4):
            path: KeyPath = ("credentials", name)
            for key, allowed in (("region", "allow_regions"), ("service", "allow_services")):
                _scope(credential, key, allowed, path, context)
            _keys(credential, path, context)
            if credential.assume_role is not None:
                _role(credential.assume_role, credential, (*path, "assume_role"), context)
            checks.refresh(credential.refresh, (*path, "refresh"), context)
            if credential.payload == "unsigned" and credential.service not in ("s3", FROM_REQUEST):
                context.warn((*path, "payload"), "only S3 takes requests whose payload is unsigned", "payload: signed")


def _scope(credential: AwsSigV4, key: str, allowed: str, path: KeyPath, context: ParseContext) -> None:
    value, names = getattr(credential, key), getattr(credential, allowed)
    needs = [(*path, key), (*path, allowed)]
    if value != FROM_REQUEST:
        _named(value, (*path, key), context)
        if names:
            context.refuse((*path, allowed), f"`{allowed}` belongs to `{key}: {FROM_REQUEST}`", needs=needs)
    elif not names:
        hint = f"{allowed}: [{'eu-west-1' if key == 'region' else 's3'}]"
        context.refuse((*path, key), f"`{key}: {FROM_REQUEST}` needs `{allowed}`", hint, needs=needs)
    for index, name in enumerate(names):
        _named(name, (*path, allowed, index), context)


def _named(name: str, path: KeyPath, context: ParseContext) -> None:
    if not _NAME.fullmatch(name):
        context.refuse(
            path, "this is no name of an AWS region or service", "letters, digits and hyphens: us-east-1, s3"
        )


def _keys(credential: AwsSigV4, path: KeyPath, context: ParseContext) -> None:
    """Exactly one source of keys; a web identity needs none."""
    checks.pairs(("access_key_id", "secret_access_key"), credential, path, context)
    keys = ("access_key_id", "secret_access_key", "session_token")
    needs = [(*path, key) for key in (*keys, *_SOURCES, "assume_role")]
    needs.append((*path, "assume_role", "web_identity"))
    if credential.session_token is not None and credential.access_key_id is None:
        context.refuse((*path, "session_token"), "`session_token` belongs to `access_key_id`", needs=needs)
    given = [key for key in _SOURCES if getattr(credential, key) not in (None, False)]
    role = credential.assume_role
    if role is not None and role.web_identity is not None:
        given.insert(0, "assume_role.web_identity")
    for extra in given[1:]:
        context.refuse((*path, extra), f"keys have one source: `{given[0]}` or `{extra}`", needs=needs)
    if not given and credential.secret_access_key is None:
        hint = "access_key_id and secret_access_key, profile, metadata: true, or assume_role with web_identity"
        context.refuse(path, "this credential has no AWS keys", hint, needs=needs)
    asks = role is not None or credential.metadata
    for key in ("via_proxy", "tls"):
        if getattr(credential, key) is not None and role is None:
            why = "the metadata endpoint is asked directly" if asks else "nobody is asked for these keys"
            context.warn((*path, key), f"`{key}` has no effect without `assume_role`: {why}")


def _role(role: AwsRole, credential: AwsSigV4, path: KeyPath, context: ParseContext) -> None:
    if not _ROLE.fullmatch(role.role_arn):
        context.refuse((*path, "role_arn"), "this is no ARN of a role", "arn:aws:iam::ACCOUNT:role/NAME")
    if not _SESSION.fullmatch(role.session_name):
        hint = "2 to 64 of letters, digits and _+=,.@-"
        context.refuse((*path, "session_name"), "this is no name of a role session", hint)
    if not _SHORTEST <= role.duration <= _LONGEST or role.duration % 1:
        context.refuse((*path, "duration"), "a role is assumed for whole seconds, from 15m to 12h")
    if role.region is not None:
        _named(role.region, (*path, "region"), context)
    elif credential.region == FROM_REQUEST and role.web_identity is None:
        needs = [(*path, "region")]
        message = "which region's STS is asked cannot follow from requests"
        context.refuse(path, message, "give assume_role a `region`", needs=needs)
    checks.secure_url(role.endpoint, (*path, "endpoint"), context, query=False)
