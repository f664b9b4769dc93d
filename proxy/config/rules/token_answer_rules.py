"""`response`: where a token answer keeps things, and what of it is a refusal."""

from __future__ import annotations

import re

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.rules import checks
from proxy.config.schema import AnswerField, RefusedAnswer, TokenAnswer

_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
_STATUSES = range(200, 1000)
_PLACES = ("access_token", "refresh_token", "expires_in", "expires_at", "token_type")


def judge(answer: TokenAnswer, path: KeyPath, context: ParseContext) -> None:
    """Every rule of this subject; `path`: of `response`."""
    for name in _PLACES:
        place(getattr(answer, name), (*path, name), context)
    for name, kept in answer.keep.items():
        if not _NAME.fullmatch(name) and name != kept:  # what a route wants is kept under its own pointer
            context.refuse((*path, "keep", name), "a name for what is kept: letters, digits, `.`, `_` and `-`")
        place(kept, (*path, "keep", name), context)
    at = (*path, "access_token")
    if answer.format == "text" and isinstance(answer.access_token, str) and answer.access_token and context.given(at):
        message = "a bare text has no members: the whole of it is the token"
        context.refuse(at, message, 'access_token: ""', needs=[(*path, "format")])
    for index, rule in enumerate(answer.refused_on):
        _refusal(rule, (*path, "refused_on", index), context)


def place(value: object, path: KeyPath, context: ParseContext) -> None:
    """A JSON pointer, or a header field or a cookie."""
    if isinstance(value, str):
        checks.pointer(value, path, context)
    if not isinstance(value, AnswerField):
        return
    needs = [(*path, "header"), (*path, "cookie")]
    if (value.header is None) == (value.cookie is None):
        message = "a place in the head of an answer is a header field or a cookie"
        context.refuse(path, message, "{header: NAME} or {cookie: NAME}", needs=needs)
    for kind in ("header", "cookie"):
        name = getattr(value, kind)
        if name is not None and not checks.is_token(name):
            context.refuse((*path, kind), f"this is no name of a {'header field' if kind == 'header' else kind}")


def _refusal(rule: RefusedAnswer, path: KeyPath, context: ParseContext) -> None:
    if rule.status is None and rule.body_contains is None:
        needs = [(*path, "status"), (*path, "body_contains")]
        context.refuse(path, "every answer would be a refusal", "give `status`, `body_contains` or both", needs=needs)
    if rule.status is not None and rule.status not in _STATUSES:
        context.refuse((*path, "status"), "a status has three digits, 200 or more")
    if rule.body_contains == "":
        context.refuse((*path, "body_contains"), "every body contains nothing", "leave it out, or give a word")
