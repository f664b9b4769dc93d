"""Routes: each reachable, each to somewhere else than ourselves, no credential in the clear."""

from __future__ import annotations

import re
from collections import defaultdict

from proxy.config.address import escapes
from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.rules import checks, cors_rules, upstream_rules
from proxy.config.rules.listener_rules import places
from proxy.config.schema import (
    Body,
    Config,
    Credential,
    FieldValue,
    Header,
    Http,
    Match,
    OAuth1,
    OAuth2,
    Python,
    Query,
    Renewed,
    Route,
)
from proxy.config.spelling import suggestion
from proxy.config.upstream_url import PLACE

_PATH = re.compile(r"/[\x21-\x22\x24-\x3e\x40-\x7e]*")
_PORT = re.compile(r":[1-9][0-9]{0,4}\Z")
_NAME = re.compile(r"[\x20-\x7e]{1,200}")
_PROTOCOL = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?")
_CARRIERS = re.compile(r"(?:h2c?|h3|https?|tls|ssl)(?![a-z])", re.IGNORECASE)
"""Protocols, drafts included, of which the next message is a request again, in whatever frames (RFC 9113, RFC 2817)."""
_STATUSES = range(200, 1000)
_MOST_ATTEMPTS = 10


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    if not config.routes:
        context.refuse(("routes",), "there is no route", "add one: - {match: /api, upstream: https://api.example}")
    ours = places(config)
    for index, route in enumerate(config.routes):
        path: KeyPath = ("routes", index)
        _match(route.match, (*path, "match"), context)
        _credential(route, config, path, context)
        in_path = isinstance(route.upstream, str) and PLACE in route.upstream
        written = set() if in_path else _written(config.credentials.get(route.credential or ""))
        upstream_rules.judge_route(route, config, written, path, context, ours)
        _headers(route, written, path, context)
        _query(route, config, path, context)
        _kept(route, config.credentials.get(route.credential or ""), path, context)
        _answers(route, path, context)
    _names(config, context)
    _twins(config, context)


def _match(match: Match, path: KeyPath, context: ParseContext) -> None:
    at = (*path, "path")
    if not _PATH.fullmatch(match.path):
        context.refuse(at, "a path starts with / and has no query, fragment, blank or character beyond ASCII")
    elif escapes(match.path):
        context.refuse(at, "no request can have `.` or `..` in its path once it is normalised")
    if match.host is not None:
        checks.host(match.host, (*path, "host"), context, port=True)
    if match.methods is not None and not match.methods:
        context.refuse((*path, "methods"), "no method at all matches this", "leave `methods` out for all of them")
    for index, method in enumerate(match.methods or ()):
        checks.method(method, (*path, "methods", index), context)
        if method in ("CONNECT", "TRACE"):
            context.refuse((*path, "methods", index), f"{method} is never forwarded")


def _credential(route: Route, config: Config, path: KeyPath, context: ParseContext) -> None:
    name = route.credential
    if name is None or name in config.credentials:
        return
    hint = suggestion(name, config.credentials) or "credentials: " + (", ".join(config.credentials) or "none are given")
    needs = [("credentials",), ("credentials", name)]
    context.refuse((*path, "credential"), f"there is no credential `{name}`", hint, needs=needs)


def _written(credential: Credential | None) -> set[str]:
    """Lower-case names of the header fields in which a credential goes out."""
    match credential:
        case None | Query() | Body() | OAuth1(transmit="query"):
            return set()
        case Header():
            return {credential.name.lower()}
        case Python():
            return {credential.header.lower()}
        case Renewed() if credential.query is not None or credential.cookie is not None:
            return set()
        case Renewed():
            proof = {"dpop"} if isinstance(credential, OAuth2) and credential.dpop is not False else set()
            return {credential.header.lower()} | proof
        case _:
            return {"authorization"}


def _headers(route: Route, written: set[str], path: KeyPath, context: ParseContext) -> None:
    seen: set[str] = set()
    for name, value in route.headers.set.items():
        at = (*path, "headers", "set", name)
        checks.header_name(name, at, context)
        if name.lower().replace("_", "-") == "proxy-authorization":
            hint = "via_proxy: {url: …, username: …, password: {env: …}}"
            context.refuse(at, f"{name} is for the egress proxy, not for the upstream", hint)
        if isinstance(value, str):
            checks.header_value(value, at, context)
        if name.lower() in seen:
            context.refuse(at, f"{name} is set twice: names of header fields have no case")
        seen.add(name.lower())
        if name.lower() in written:
            context.warn(at, f"the credential `{route.credential}` writes {name} too, and wins")
        elif name.lower().replace("_", "-") in {one.replace("_", "-") for one in written}:
            message = f"many servers take {name} for the field that the credential `{route.credential}` writes"
            context.warn(at, message, "choose another name: to them `_` and `-` are one")
    for index, name in enumerate(route.headers.remove):
        checks.header_name(name, (*path, "headers", "remove", index), context)


def _kept(route: Route, credential: Credential | None, path: KeyPath, context: ParseContext) -> None:
    """`{kept: name}`: what the route's own credential keeps of its token answers."""
    known = credential.response.keep if isinstance(credential, OAuth2 | Http) else {}
    of = ("credentials", route.credential or "")
    needs: list[KeyPath] = [(*path, "credential"), of, (*of, "response"), (*of, "response", "keep")]
    for name, value in route.headers.set.items():
        if isinstance(value, FieldValue) and value.kept is not None and value.kept not in known:
            hint = suggestion(value.kept, known) or f"response: {{keep: {{{value.kept}: /pointer}}}}"
            message = "the route's credential keeps nothing of this name"
            context.refuse((*path, "headers", "set", name, "kept"), message, hint, needs=needs)


def _query(route: Route, config: Config, path: KeyPath, context: ParseContext) -> None:
    credential = config.credentials.get(route.credential or "")
    own = credential.name if isinstance(credential, Query) else getattr(credential, "query", None)
    for name in route.query.set:
        at = (*path, "query", "set", name)
        checks.parameter(name, at, context)
        if name == own:
            context.warn(at, f"the credential `{route.credential}` writes {name} too, and wins")


def _answers(route: Route, path: KeyPath, context: ParseContext) -> None:
    for index, rule in enumerate(route.refresh_on):
        at = (*path, "refresh_on", index)
        if rule.status not in _STATUSES:
            context.refuse((*at, "status"), "a status has three digits, 200 or more")
        if rule.body_contains == "":
            context.refuse((*at, "body_contains"), "every body contains nothing", "leave it out, or give a word")
    if route.retry.max_attempts > _MOST_ATTEMPTS:
        context.refuse((*path, "retry", "max_attempts"), f"more than {_MOST_ATTEMPTS} attempts are a flood")
    if route.cors is not None:
        cors_rules.judge(route.cors, (*path, "cors"), context)
    _upgrades(route, (*path, "upgrades"), context)
    for index, name in enumerate(route.rewrite_response.headers if route.rewrite_response else ()):
        checks.header_name(name, (*path, "rewrite_response", "headers", index), context)
    for index, pointer in enumerate(route.rewrite_response.json_pointers if route.rewrite_response else ()):
        checks.pointer(pointer, (*path, "rewrite_response", "json_pointers", index), context)


def _upgrades(route: Route, path: KeyPath, context: ParseContext) -> None:
    seen: set[str] = set()
    for index, name in enumerate(route.upgrades):
        at = (*path, index)
        if not _PROTOCOL.fullmatch(name):
            context.refuse(at, "this is no name of a protocol", "as in an Upgrade field: websocket, tcp, SPDY/3.1")
        elif _CARRIERS.match(name):
            why = f"{name} carries requests (RFC 9110 §7.8): behind it they would go out without the credential"
            context.refuse(at, why, "leave it out: what is not named is dropped, and the request goes on")
        elif name.lower() in seen:
            context.refuse(at, f"{name} is named twice: names of protocols have no case")
        seen.add(name.lower())


def _names(config: Config, context: ParseContext) -> None:
    seen: dict[str, int] = {}
    for index, route in enumerate(config.routes):
        at: KeyPath = ("routes", index, "name")
        name = route.name or ""
        if not _NAME.fullmatch(name):
            context.refuse(at, "a name has 1 to 200 printable ASCII characters", needs=[("routes", index, "match")])
        elif name in seen:
            context.refuse(
                at, f"the name `{name}` is taken by routes[{seen[name]}]", needs=[("routes", seen[name], "name")]
            )
        seen.setdefault(name, index)


def _twins(config: Config, context: ParseContext) -> None:
    """Two routes that take the same requests."""
    earlier: dict[tuple[str, str], list[int]] = defaultdict(list)
    for index, route in enumerate(config.routes):
        match = route.match
        alike = earlier[match.path.rstrip("/"), (match.host or "").lower()]
        for other in alike:
            methods = config.routes[other].match.methods
            if methods == match.methods or (methods and match.methods and set(methods) & set(match.methods)):
                here, there = ("routes", index, "match"), ("routes", other, "match")
                needs = [(*base, key) for base in (here, there) for key in ("path", "host", "methods")]
                hint = "let them differ in path, host or methods"
                context.refuse(here, f"routes[{other}] takes the same requests", hint, needs=needs)
                break
        alike.append(index)
