"""Rules of credentials that have many tokens: one for each caller, tenant or conversation.

Keys about a single token have no effect there and cause a warning; contradictions are errors.
"""

from __future__ import annotations

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.schema import Config, Credential, DirectLine, Exec, External, OAuth2, Python, Renewed
from proxy.config.tree import every

_ONE_TOKEN = ("update", "vend", "initial_token", "refresh_token", "required")
"""Keys about the one token of a credential."""
_PART = "{per}"


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    for name, credential in config.credentials.items():
        if isinstance(credential, Renewed):
            path: KeyPath = ("credentials", name)
            _contradictions(credential, path, context)
            each = one_for_each(credential)
            if each is not None:
                _without_effect(each, credential, path, context)
            if credential.per is None:
                _unfilled(credential, path, context)


def one_for_each(credential: Credential) -> str | None:
    """What this credential has a token for each of; None if it has one token."""
    if isinstance(credential, DirectLine):
        return "conversation"
    if isinstance(credential, Python):
        return "request"
    if _on_behalf(credential):
        return "caller"
    return "value of `per`" if isinstance(credential, Renewed) and credential.per is not None else None


def _on_behalf(credential: object) -> bool:
    given = (credential.subject_token, credential.assertion) if isinstance(credential, OAuth2) else ()
    return any(one is not None and one.request_header is not None for one in given)


def _contradictions(credential: Renewed, path: KeyPath, context: ParseContext) -> None:
    if credential.per is None:
        return
    needs: list[KeyPath] = [(*path, "per")]
    if _on_behalf(credential):
        needs += [(*path, "subject_token"), (*path, "assertion")]
        message = "a token per caller comes from `request_header` or from `per`, not from both"
        context.refuse((*path, "per"), message, needs=needs)
    elif isinstance(credential, External | DirectLine):
        why = "nothing says whom a push is for" if isinstance(credential, External) else "each conversation has its own"
        context.refuse((*path, "per"), f"this credential has no token per value: {why}", needs=needs)
    elif isinstance(credential, OAuth2) and credential.grant_type == "refresh_token":
        message = "a refresh token is one user's: with it there is no token per value"
        context.refuse((*path, "per"), message, needs=[*needs, (*path, "grant_type")])


def _without_effect(each: str, credential: Renewed, path: KeyPath, context: ParseContext) -> None:
    for key in _ONE_TOKEN:
        if getattr(credential, key, None):
            context.warn((*path, key), f"`{key}` has no effect: there is a token for each {each}")


def _unfilled(credential: Renewed, path: KeyPath, context: ParseContext) -> None:
    for found in every(credential):
        if isinstance(found.value, str) and _PART in found.value and not isinstance(credential, Exec):
            message = f"nothing fills in `{_PART}`: this credential has no `per`"
            context.refuse((*path, *found.path), message, "per: {header: X-Tenant}", needs=[(*path, "per")])
