"""Rules of credentials of all types: their names, where the token goes, when it is renewed."""

from __future__ import annotations

import re

from proxy.config.address import parse_address
from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.rules import checks, token_answer_rules
from proxy.config.schema import (
    Basic,
    BasicLogin,
    Body,
    Callers,
    Config,
    Credential,
    DirectLine,
    Exec,
    External,
    Header,
    Http,
    HttpCall,
    HttpRefresh,
    Jwt,
    OAuth2,
    Python,
    Query,
    Renewed,
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_CALLABLE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*", re.ASCII)
_SIGNING = (*checks.ASYMMETRIC, *checks.SYMMETRIC)


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    for name, credential in config.credentials.items():
        path: KeyPath = ("credentials", name)
        if not _NAME.fullmatch(name):
            context.refuse(path, "a credential's name stands in URLs", "letters, digits, `.`, `_` and `-`, 100 at most")
        if isinstance(credential, Renewed):
            _renewed(credential, path, context)
            _vend(credential, config, path, context)
        if isinstance(credential, Http | OAuth2):
            token_answer_rules.judge(credential.response, (*path, "response"), context)
        _by_type(credential, path, context)


def _by_type(credential: Credential, path: KeyPath, context: ParseContext) -> None:
    match credential:
        case Header() | Query() | Body() | Basic():
            _fixed(credential, path, context)
        case DirectLine():
            checks.secure_url(credential.domain, (*path, "domain"), context, query=False)
        case Jwt() if credential.alg not in _SIGNING:
            context.refuse((*path, "alg"), "this is no algorithm to sign with", ", ".join(_SIGNING))
        case Jwt():
            checks.jose_headers(credential.headers, (*path, "headers"), context)
            checks.key_form(credential.alg, credential.key_password, credential.key_encoding, path, context)
        case Exec() if not credential.command:
            context.refuse((*path, "command"), "`command` is an empty list", "[program, argument, …]")
        case Python():
            checks.header_name(credential.header, (*path, "header"), context)
            if not _CALLABLE.fullmatch(credential.callable):
                context.refuse((*path, "callable"), "a callable is named module:function", "my_package.auth:get_token")
        case Http():
            _http(credential, path, context)


def _fixed(credential: Header | Query | Body | Basic, path: KeyPath, context: ParseContext) -> None:
    match credential:
        case Header():
            checks.header_name(credential.name, (*path, "name"), context)
            checks.header_value(credential.prefix, (*path, "prefix"), context)
        case Query():
            checks.parameter(credential.name, (*path, "name"), context)
        case Body():
            _body(credential, path, context)
        case Basic(username=str() as name) if ":" in name or _CONTROLS.search(name):
            context.refuse((*path, "username"), "a user name has no colon and no control characters (RFC 7617)")


def _renewed(credential: Renewed, path: KeyPath, context: ParseContext) -> None:
    checks.header_name(credential.header, (*path, "header"), context)
    if isinstance(credential.header_prefix, str):
        checks.header_value(credential.header_prefix, (*path, "header_prefix"), context)
    if credential.query is not None:
        checks.parameter(credential.query, (*path, "query"), context)
    if credential.cookie is not None and not checks.is_token(credential.cookie):
        context.refuse((*path, "cookie"), "this is no name of a cookie", "letters, digits, hyphens and underscores")
    places = [key for key in ("header", "query", "cookie") if context.given((*path, key))]
    for key in places[1:]:
        if getattr(credential, key) is not None and getattr(credential, places[0]) is not None:
            message = f"the token goes into one place: `{places[0]}` or `{key}`, not both"
            context.refuse((*path, key), message, needs=[(*path, places[0])])
    checks.refresh(credential.refresh, (*path, "refresh"), context)
    if credential.per is not None:
        checks.header_name(credential.per.header, (*path, "per", "header"), context)
        try:
            re.compile(credential.per.pattern)
        except (re.error, RecursionError, OverflowError):
            context.refuse((*path, "per", "pattern"), "this is no regular expression")
    seed = credential.initial_token
    if seed is not None and seed.access_token is None and seed.refresh_token is None:
        needs = [(*path, "initial_token", key) for key in ("access_token", "refresh_token")]
        context.refuse(
            (*path, "initial_token"),
            "`initial_token` holds no token",
            "access_token, refresh_token or both",
            needs=needs,
        )
    asks = credential.update is not None and credential.update.jwt is not None  # for its guard's keys
    if credential.via_proxy is not None and isinstance(credential, Exec | External | Jwt) and not asks:
        context.warn((*path, "via_proxy"), "`via_proxy` has no effect: nobody is asked for this token over the network")


def _vend(credential: Renewed, config: Config, path: KeyPath, context: ParseContext) -> None:
    if not credential.vend:
        return
    needs: list[KeyPath] = [
        ("admin",),
        ("admin", "listen"),
        ("admin", "bearer"),
        ("callers",),
        ("callers", "unix_uids"),
    ]
    if config.admin.listen is None:
        context.refuse((*path, "vend"), "tokens are vended on the admin listener, which is off", needs=needs)
    elif config.admin.bearer is None:
        uids = isinstance(config.callers, Callers) and config.callers.unix_uids
        if not (uids and _is_unix(config.admin.listen)):
            hint = "add admin.bearer, or let admin.listen be a unix socket and name callers.unix_uids"
            context.refuse((*path, "vend"), "anybody on this machine could fetch the token", hint, needs=needs)


def _is_unix(text: str) -> bool:
    try:
        return parse_address(text).path is not None
    except ValueError:
        return False


def _http(credential: Http, path: KeyPath, context: ParseContext) -> None:
    if credential.obtain is None:
        _without_obtain(credential, path, context)
    for key, call in (("obtain", credential.obtain), ("refresh", credential.refresh)):
        if call is not None:
            _call(call, (*path, key), context, insecure=credential.allow_insecure)


def _without_obtain(credential: Http, path: KeyPath, context: ParseContext) -> None:
    needs = [(*path, key) for key in ("obtain", "refresh", "initial_token", "update")]
    hint = "obtain: {url: …}, or refresh: {url: …} with initial_token: {refresh_token: {file: …}}"
    if credential.refresh.url is None:
        context.refuse(path, "http needs `obtain`, or `refresh` with a `url`", hint, needs=needs)
    elif credential.initial_token is None and credential.update is None:
        message = "without `obtain` there must be an `initial_token` that `refresh` goes on from"
        context.refuse(path, message, hint, needs=needs)


def _call(call: HttpCall | HttpRefresh, at: KeyPath, context: ParseContext, *, insecure: bool) -> None:
    checks.secure_url(call.url, (*at, "url"), context, insecure=insecure)
    checks.method(call.method, (*at, "method"), context)
    checks.fields(call.headers, (*at, "headers"), context)
    bodies = [name for name in ("json", "form", "body") if getattr(call, name) is not None]
    if len(bodies) > 1:
        needs = [(*at, name) for name in bodies]
        context.refuse((*at, bodies[1]), f"a request has one body: `{bodies[0]}` or `{bodies[1]}`", needs=needs)
    if call.basic is not None:
        _login(call, call.basic, at, context)


def _login(call: HttpCall | HttpRefresh, login: BasicLogin, at: KeyPath, context: ParseContext) -> None:
    if any(name.lower() == "authorization" for name in call.headers):
        needs = [(*at, "headers")]
        context.refuse((*at, "basic"), "`basic` and `headers` both write Authorization", needs=needs)
    if isinstance(login.username, str) and ":" in login.username:
        context.refuse((*at, "basic", "username"), "a user name in Basic has no colon (RFC 7617)")
    if not checks.is_token(login.scheme):
        context.refuse((*at, "basic", "scheme"), "this is no word to begin Authorization with", "Basic")


def _body(credential: Body, path: KeyPath, context: ParseContext) -> None:
    needs = [(*path, "json_pointer"), (*path, "form")]
    if credential.json_pointer is None and credential.form is None:
        hint = "json_pointer: /key for JSON, or form: key"
        context.refuse(path, "nothing says where in the body the value stands", hint, needs=needs)
    elif credential.json_pointer is not None and credential.form is not None:
        context.refuse((*path, "form"), "a body is JSON or a form: `json_pointer` or `form`", needs=needs)
    checks.pointer(credential.json_pointer, (*path, "json_pointer"), context)
    if credential.json_pointer == "":
        context.refuse((*path, "json_pointer"), "this is the whole body, in which the value is to stand", "/key")
    if credential.form is not None:
        checks.parameter(credential.form, (*path, "form"), context)
