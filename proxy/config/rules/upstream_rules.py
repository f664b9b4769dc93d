"""Rules of upstreams: no listener of ours, and no secret over http:// to another machine."""

from __future__ import annotations

import re

from proxy.config.address import Address, escapes, is_address, is_host, is_loopback, is_prohibited, no_host
from proxy.config.parse_context import KeyPath, ParseContext, spelled
from proxy.config.rules import checks, via_proxy_rules
from proxy.config.rules.per_caller_rules import one_for_each
from proxy.config.schema import (
    AwsSigV4,
    Bearer,
    Body,
    Config,
    Credential,
    DirectLine,
    Discover,
    DiscoveredUpstream,
    Header,
    Http,
    OAuth2,
    Query,
    Renewed,
    Route,
    Secret,
)
from proxy.config.spelling import suggestion
from proxy.config.upstream_url import PLACE, UpstreamUrl, parse_upstream

_PATH = re.compile(r"/[\x21\x22\x24-\x3e\x40-\x7e]*")

Listeners = list[tuple[KeyPath, Address]]


def judge_route(
    route: Route, config: Config, written: set[str], path: KeyPath, context: ParseContext, ours: Listeners
) -> None:
    """Every rule of this subject. `written`: the fields, in lower case, in which the credential goes out."""
    if route.host is not None:
        checks.host(route.host, (*path, "host"), context, port=True)
    at = (*path, "upstream")
    url: UpstreamUrl | None = None
    if isinstance(route.upstream, str):
        try:
            url = parse_upstream(route.upstream)
        except ValueError as error:
            context.refuse(at, str(error))
            return
        _written_down(url, at, context, ours)
        _with_credential(url, route, config, at, context)
        _in_the_clear(url, route, path, context)
    else:
        _named_elsewhere(route.upstream, route, config, at, context)
    via_proxy_rules.judge_route(route, url, written, path, context)


def _written_down(url: UpstreamUrl, at: KeyPath, context: ParseContext, ours: Listeners) -> None:
    if escapes(url.base):
        context.refuse(at, "the path of an upstream has no `.` or `..`")
    for listener, address in ours:
        if url.leads_to(address):
            context.refuse(
                at, f"this is our own listener ({spelled(listener)}): requests would go in circles", needs=[listener]
            )


def _with_credential(url: UpstreamUrl, route: Route, config: Config, at: KeyPath, context: ParseContext) -> None:
    """`{credential}` in the path: once, and of a credential that is a token and nothing more."""
    if PLACE not in str(route.upstream):
        return
    needs = [(*at[:-1], "credential"), ("credentials", route.credential or "")]
    credential = config.credentials.get(route.credential or "")
    if url.base.count(PLACE) != 1:
        context.refuse(at, f"{PLACE} stands in the path of an upstream, and there once")
    elif route.credential is None:
        context.refuse(at, f"{PLACE} needs a `credential` on this route", needs=needs)
    elif credential is not None and not _is_one_token(credential):
        message = f"the credential `{route.credential}` is no token that could stand in a path"
        context.refuse(at, message, "bearer, header, query, or one whose token is fetched or pushed", needs=needs)


def _is_one_token(credential: Credential) -> bool:
    if isinstance(credential, DirectLine) or (isinstance(credential, OAuth2) and credential.dpop is not False):
        return False
    return isinstance(credential, Header | Query | Bearer | Renewed)


def _in_the_clear(url: UpstreamUrl, route: Route, path: KeyPath, context: ParseContext) -> None:
    if url.scheme == "https":
        return
    at = (*path, "upstream")
    if route.tls is not None and url.socket is not None:
        context.refuse((*path, "tls"), "`tls` with a unix socket, which speaks http", needs=[at])
    elif route.tls is not None:
        context.refuse((*path, "tls"), "`tls` with an http:// upstream", "write https:// in `upstream`", needs=[at])
    if (secret := _secret_of(route)) and not url.loopback and not route.allow_insecure:
        hint = "use https://, or on purpose allow_insecure: true"
        needs = [(*path, "allow_insecure"), (*path, "credential"), (*path, "headers")]
        context.refuse(at, f"{secret} would leave this machine over http://", hint, needs=needs)


def _secret_of(route: Route) -> str:
    """What a message calls the secret that a route's requests carry; empty if they carry none."""
    if route.credential is not None:
        return "the credential"
    given = (*route.headers.set.items(), *route.query.set.items())
    return next((f"the secret in {name}" for name, value in given if isinstance(value, Secret)), "")


def _named_elsewhere(
    upstream: DiscoveredUpstream, route: Route, config: Config, at: KeyPath, context: ParseContext
) -> None:
    """`discover`, or `from_token` with its neighbours: one of the two."""
    needs = [(*at, "discover"), (*at, "from_token")]
    if (upstream.discover is None) == (upstream.from_token is None):
        hint = "discover: {url: …, allow_hosts: […]}, or from_token: /instance_url with allow_hosts: […]"
        context.refuse(at, "an upstream is looked up or named by the token: one of the two", hint, needs=needs)
    elif upstream.discover is not None:
        for key in ("allow_hosts", "scheme", "path"):
            if context.given((*at, key)):
                context.refuse((*at, key), f"`{key}` belongs to `from_token`", needs=needs)
        checks.secure_url(upstream.discover.url, (*at, "discover", "url"), context)
        _asker(upstream.discover, config, (*at, "discover"), context)
        checks.pointer(upstream.discover.json_pointer, (*at, "discover", "json_pointer"), context)
        _looked_up(upstream.discover, route, (*at, "discover"), context)
    else:
        _from_token(upstream, route, config, at, context)
        _looked_up(upstream.named, route, at, context)


def _asker(discover: Discover, config: Config, path: KeyPath, context: ParseContext) -> None:
    """`discover.credential`: one whose token a GET can carry, and which has one for everybody."""
    name = discover.credential
    if name is None:
        return
    at, needs = (*path, "credential"), [("credentials",), ("credentials", name)]
    credential = config.credentials.get(name)
    if credential is None:
        context.refuse(at, f"there is no credential `{name}`", suggestion(name, config.credentials), needs=needs)
    elif (each := one_for_each(credential)) is not None:
        context.refuse(at, f"`{name}` has a token for each {each}, and none for a look-up", needs=needs)
    elif isinstance(credential, Body | AwsSigV4):
        context.refuse(at, f"`{name}` cannot stand in a look-up, which is a GET", needs=needs)


def _from_token(upstream: DiscoveredUpstream, route: Route, config: Config, at: KeyPath, context: ParseContext) -> None:
    checks.pointer(upstream.from_token, (*at, "from_token"), context)
    if upstream.from_token == "":
        context.refuse((*at, "from_token"), "this is the whole answer, in which the URL stands", "/instance_url")
    if upstream.path and (not _PATH.fullmatch(upstream.path) or escapes(upstream.path)):
        context.refuse((*at, "path"), "a path starts with / and has no query, fragment, blank, `.` or `..`")
    needs = [(*at[:-1], "credential"), ("credentials", route.credential or "")]
    credential = config.credentials.get(route.credential or "")
    if route.credential is None or (credential is not None and not isinstance(credential, OAuth2 | Http)):
        message = "the token's answer names the upstream: the route needs a credential of type oauth2 or http"
        context.refuse((*at, "from_token"), message, needs=needs)
    if route.on_client_authorization == "keep":
        message = "the app's own Authorization names no upstream"
        context.refuse((*at[:-1], "on_client_authorization"), message, needs=[at])


def _looked_up(discover: Discover, route: Route, path: KeyPath, context: ParseContext) -> None:
    if not discover.allow_hosts:
        context.refuse((*path, "allow_hosts"), "`allow_hosts` must name the hosts that may be discovered")
    for index, host in enumerate(discover.allow_hosts):
        at = (*path, "allow_hosts", index)
        if not is_host(host.removeprefix("*.")) or (host.startswith("*.") and is_address(host[2:])):
            hint = "a name or address, or *.example.net for all names below it"
            context.refuse(at, no_host(host.removeprefix("*.")), hint if host.isascii() else None)
        elif is_prohibited(host):
            context.refuse(at, "a link-local address never is an upstream that was looked up")
    near = all(is_loopback(host) for host in discover.allow_hosts)
    if discover.scheme == "http" and (secret := _secret_of(route)) and not near and not route.allow_insecure:
        context.refuse((*path, "scheme"), f"{secret} would go over http://", "use https, or allow_insecure: true")
