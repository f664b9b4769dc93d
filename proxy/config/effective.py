"""Defaults that depend on other keys are filled in here, so that no other code has to know the dependency."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator

from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.schema import Config, Credential, DiscoveredUpstream, Dpop, Http, OAuth2, Renewed, Route

_GOOGLE = "https://oauth2.googleapis.com/token"


def completed(config: Config, context: ParseContext) -> Config:
    """The configuration with names of routes, prefixes, `dpop: true` and the client authentication filled in.

    The mapping of credentials is changed in place: with thousands of them, a second one would cost memory.
    """
    credentials = config.credentials
    for route in config.routes:
        _keep_for(route, credentials)
    for name, credential in credentials.items():
        credentials[name] = _credential(credential, context, ("credentials", name))
    return replace(config, routes=_named(config.routes))


def _keep_for(route: Route, credentials: dict[str, Credential]) -> None:
    """Let the route's credential keep what names the route's upstream, under its own pointer."""
    pointer = route.upstream.from_token if isinstance(route.upstream, DiscoveredUpstream) else None
    credential = credentials.get(route.credential or "")
    if pointer and isinstance(credential, OAuth2 | Http) and pointer not in credential.response.keep:
        response = replace(credential.response, keep={**credential.response.keep, pointer: pointer})
        credentials[str(route.credential)] = replace(credential, response=response)


def name_from_path(path: str) -> str:
    """`/crm/v2/` is called `crm/v2`, `/` is called `root`."""
    return path.strip("/") or "root"


def _named(routes: tuple[Route, ...]) -> tuple[Route, ...]:
    """Names that are not given come from the path; where that is taken, with a number: `crm-2`."""
    taken = {route.name for route in routes if route.name is not None}
    numbers: dict[str, Iterator[int]] = defaultdict(lambda: itertools.count(2))
    named = []
    for route in routes:
        name = route.name
        if name is None:
            name = stem = name_from_path(route.match.path)
            while name in taken:
                name = f"{stem}-{next(numbers[stem])}"
            taken.add(name)
        named.append(replace(route, name=name))
    return tuple(named)


def _credential(credential: Credential, context: ParseContext, path: KeyPath) -> Credential:
    if isinstance(credential, OAuth2):
        method = credential.token_endpoint_auth_method
        credential = replace(
            credential,
            dpop=Dpop() if credential.dpop is True else credential.dpop,
            token_endpoint=credential.token_endpoint or _googles(credential),
            token_endpoint_auth_method=_auth_method(credential, context, path)
            if isinstance(method, UnsetType)
            else method,
        )
    if isinstance(credential, Renewed) and credential.header_prefix is UNSET:
        dpop = isinstance(credential, OAuth2) and bool(credential.dpop)
        credential = replace(credential, header_prefix="DPoP " if dpop else "Bearer ")
    return credential


def _googles(credential: OAuth2) -> str | None:
    """The token endpoint of Google's service accounts, where one of these is given and no other place to ask."""
    account = credential.assertion is not None and credential.assertion.google_service_account is not None
    return _GOOGLE if account and credential.issuer is None else None


def _auth_method(credential: OAuth2, context: ParseContext, path: KeyPath) -> str:
    """Basic is the default (RFC 7591 §2), a key means private_key_jwt, and neither secret nor key means none."""
    if credential.client_secret is not None or context.given((*path, "client_secret")):
        return "client_secret_basic"
    if credential.client_assertion_key is not None or credential.client_assertion is not None:
        return "private_key_jwt"
    return "none"
