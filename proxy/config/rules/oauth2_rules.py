"""Rules of OAuth 2: the keys that each grant and each client authentication method needs, and those it excludes.

RFC 6749 §4, RFC 7523 §2, RFC 8693 §2.1 for grants; RFC 6749 §2.3.1, RFC 7521 §4.2, RFC 8705 §2 for the client.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from proxy.config.address import HIGHEST_PORT
from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.rules import checks
from proxy.config.schema import Assertion, Config, OAuth2
from proxy.config.spelling import suggestion, word

_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+(?: [\x21\x23-\x5b\x5d-\x7e]+)*")  # RFC 6749 §3.3
_WORDS = (
    "grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope", "audience",
    "resource", "refresh_token", "username", "password", "assertion", "subject_token", "subject_token_type",
    "actor_token", "actor_token_type", "requested_token_type",
)  # fmt: skip
"""The parameters of token requests."""
_SEEDLESS = ("initial_token", "update", "issuer", "authorization_endpoint", "device_authorization_endpoint")
"""With one of these keys a refresh token can come from a push or from `auth-sidecar login`."""


_OF_LOGIN = (
    "authorization_endpoint", "device_authorization_endpoint", "redirect_port", "authorization_parameters",
    "scope_separator", "pkce",
)  # fmt: skip
_GUARDS = frozenset(
    {"response_type", "response_mode", "redirect_uri", "state", "code_challenge", "code_challenge_method", "client_id"}
)


class _Demands(NamedTuple):
    """`needs`: keys that must be given; `takes`: keys that only this choice, and others that list them, may have."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()


_GRANTS = {
    "client_credentials": _Demands(),
    "refresh_token": _Demands(takes=("refresh_token",)),
    "password": _Demands(needs=("username", "password"), takes=("username", "password", "refresh_token")),
    _JWT_BEARER: _Demands(needs=("assertion",), takes=("assertion",)),
    _EXCHANGE: _Demands(
        needs=("subject_token",), takes=("subject_token", "actor_token", "actor_token_type", "requested_token_type")
    ),
}
_CLIENTS = {
    "client_secret_basic": _Demands(needs=("client_secret",), takes=("client_secret",)),
    "client_secret_post": _Demands(needs=("client_secret",), takes=("client_secret",)),
    "client_secret_jwt": _Demands(
        needs=("client_secret",),
        takes=(
            "client_secret",
            "client_assertion_audience",
            "client_assertion_claims",
            "client_assertion_headers",
            "key_encoding",
            "token_endpoint_auth_signing_alg",
        ),
    ),
    "private_key_jwt": _Demands(
        takes=(
            "client_assertion_key",
            "client_assertion_key_id",
            "client_assertion",
            "client_assertion_audience",
            "client_assertion_certificate",
            "client_assertion_claims",
            "client_assertion_headers",
            "key_password",
            "token_endpoint_auth_signing_alg",
        )
    ),
    "tls_client_auth": _Demands(needs=("tls",)),
    "none": _Demands(),
}


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    for name, credential in config.credentials.items():
        if isinstance(credential, OAuth2):
            path: KeyPath = ("credentials", name)
            _endpoints(credential, path, context)
            _demanded("grant_type", _GRANTS, credential, path, context)
            _demanded("token_endpoint_auth_method", _CLIENTS, credential, path, context)
            _token_request(credential, path, context)
            _client(credential, path, context)
            _grant(credential, path, context)
            _proofs(credential, path, context)
            _parameters(credential, path, context)
            _login(credential, path, context)


def _demanded(key: str, table: dict[str, _Demands], credential: OAuth2, path: KeyPath, context: ParseContext) -> None:
    choice = str(getattr(credential, key))
    demands = table[choice]
    chosen: list[KeyPath] = [(*path, key)]
    for name in demands.needs:
        if getattr(credential, name) is None:
            context.refuse(path, f"{_short(choice)} needs `{name}`", needs=[*chosen, (*path, name)])
    for name in dict.fromkeys(name for other in table.values() for name in other.takes):
        if name not in demands.takes and getattr(credential, name) not in (None, {}):
            owners = " or ".join(_short(other) for other, its in table.items() if name in its.takes)
            message = f"`{name}` does not belong to {key} {_short(choice)}"
            context.refuse((*path, name), message, f"it belongs to {owners}", needs=chosen)


def _endpoints(credential: OAuth2, path: KeyPath, context: ParseContext) -> None:
    needs = [(*path, "issuer"), (*path, "token_endpoint")]
    account: list[KeyPath] = [(*path, "assertion"), (*path, "assertion", "google_service_account")]
    if credential.issuer is None and credential.token_endpoint is None:
        context.refuse(path, "oauth2 needs `token_endpoint`, or `issuer` to look it up", needs=[*needs, *account])
    if credential.issuer is not None and credential.token_endpoint is not None:
        context.refuse((*path, "token_endpoint"), "`token_endpoint` or `issuer`, not both", needs=needs)
    insecure = credential.allow_insecure
    checks.secure_url(credential.issuer, (*path, "issuer"), context, query=False, insecure=insecure)
    for key in ("token_endpoint", "refresh_endpoint", "authorization_endpoint", "device_authorization_endpoint"):
        checks.secure_url(getattr(credential, key), (*path, key), context, insecure=insecure)
    if credential.redirect_port is not None and credential.redirect_port > HIGHEST_PORT:
        context.refuse((*path, "redirect_port"), f"a port is a number up to {HIGHEST_PORT}")


def _token_request(credential: OAuth2, path: KeyPath, context: ParseContext) -> None:
    shape, at = credential.token_request, (*path, "token_request")
    checks.fields(shape.headers, (*at, "headers"), context)
    known = {*_WORDS, *credential.token_parameters}
    for name, sent in shape.names.items():
        if name not in known:
            hint = suggestion(name, known) or "known: " + ", ".join(sorted(known))
            context.refuse((*at, "names", name), f"no token request has a parameter `{word(name)}`", hint)
        if not sent:
            context.refuse((*at, "names", name), "a parameter needs a name")
    for name in ("dpop", "content-length"):
        if name in {field.lower() for field in shape.headers}:
            context.refuse((*at, "headers"), f"{name} is written by the sidecar itself")


def _client(credential: OAuth2, path: KeyPath, context: ParseContext) -> None:
    method, chosen = credential.token_endpoint_auth_method, [(*path, "token_endpoint_auth_method")]
    anonymous = method == "none" and credential.grant_type in (_JWT_BEARER, _EXCHANGE)
    if not credential.client_id and not anonymous and credential.client_assertion is None:
        needs = [*chosen, (*path, "client_id"), (*path, "grant_type"), (*path, "client_assertion")]
        context.refuse(path, "oauth2 needs `client_id`", needs=needs)
    if method == "private_key_jwt":
        keys = ("client_assertion_key", "client_assertion")
        given = [key for key in keys if getattr(credential, key) is not None]
        needs = [*chosen, *((*path, key) for key in keys)]
        if not given:
            context.refuse(
                path, "private_key_jwt needs `client_assertion_key` (or a ready-made `client_assertion`)", needs=needs
            )
        if len(given) > 1:
            context.refuse((*path, given[1]), "a key to sign with, or a ready-made assertion, not both", needs=needs)
    checks.jose_headers(credential.client_assertion_headers, (*path, "client_assertion_headers"), context)
    tls = credential.tls
    if method == "tls_client_auth" and tls is not None and tls.cert_file is None:
        needs = [*chosen, (*path, "tls", "cert_file")]
        context.refuse((*path, "tls"), "tls_client_auth needs `cert_file` and `key_file`", needs=needs)
    algorithms = {"client_secret_jwt": checks.SYMMETRIC, "private_key_jwt": checks.ASYMMETRIC}.get(str(method))
    algorithm = credential.token_endpoint_auth_signing_alg
    if algorithms and algorithm is not None and algorithm not in algorithms:
        at = (*path, "token_endpoint_auth_signing_alg")
        context.refuse(at, f"{method} does not sign with this", "one of " + ", ".join(algorithms), needs=chosen)
    if credential.basic_encoding != "form" and method != "client_secret_basic":
        context.refuse((*path, "basic_encoding"), "`basic_encoding` belongs to client_secret_basic", needs=chosen)


def _grant(credential: OAuth2, path: KeyPath, context: ParseContext) -> None:
    if credential.grant_type == "refresh_token" and credential.refresh_token is None:
        keys = ("refresh_token", *_SEEDLESS)
        if all(getattr(credential, key) is None for key in keys):
            needs = [(*path, key) for key in ("grant_type", *keys)]
            context.refuse(
                path, "the grant refresh_token needs `refresh_token`", "the first one, as a seed", needs=needs
            )
    for name in ("subject_token", "assertion"):
        given = getattr(credential, name)
        if given is not None and given.request_header is not None and not checks.is_token(given.request_header):
            context.refuse((*path, name, "request_header"), "this is no name of a header field")
    for key in ("subject_token", "actor_token"):
        if getattr(credential, key) is None and context.given((*path, f"{key}_type")):
            context.refuse((*path, f"{key}_type"), f"`{key}_type` goes with `{key}`", needs=[(*path, key)])
    assertion = credential.assertion
    if assertion is not None:
        _assertion(assertion, (*path, "assertion"), context)
    if credential.assertion is not None and credential.assertion.key is not None:
        at = (*path, "assertion", "alg")
        if credential.assertion.alg not in (*checks.ASYMMETRIC, *checks.SYMMETRIC):
            context.refuse(at, "this is no algorithm to sign with", ", ".join(checks.ASYMMETRIC))


def _assertion(assertion: Assertion, path: KeyPath, context: ParseContext) -> None:
    signed = assertion.key is not None or assertion.google_service_account is not None
    needs: list[KeyPath] = [(*path, "key"), (*path, "google_service_account")]
    for name in ("alg", "kid", "headers", "claims", "lifetime", "key_password", "key_encoding"):
        if not signed and context.given((*path, name)):
            message = f"`{name}` belongs to an assertion that is signed here"
            context.refuse((*path, name), message, "key: {file: key.pem}, or google_service_account", needs=needs)
    checks.jose_headers(assertion.headers, (*path, "headers"), context)
    if signed:
        checks.key_form(assertion.alg, assertion.key_password, assertion.key_encoding, path, context)


def _proofs(credential: OAuth2, path: KeyPath, context: ParseContext) -> None:
    if credential.dpop not in (True, False) and credential.dpop.htu_base is not None:  # type: ignore[union-attr]
        checks.url(credential.dpop.htu_base, (*path, "dpop", "htu_base"), context)  # type: ignore[union-attr]
    for key in ("query", "cookie"):
        if credential.dpop is not False and getattr(credential, key) is not None:
            message = "a token bound to a key goes into a header, beside its proof (RFC 9449 §7.1)"
            context.refuse((*path, key), message, needs=[(*path, "dpop")])


def _parameters(credential: OAuth2, path: KeyPath, context: ParseContext) -> None:
    if credential.scope is not None and not _SCOPE.fullmatch(credential.scope):
        hint = "words with one blank between them: read write"
        context.refuse((*path, "scope"), "this is no scope (RFC 6749 §3.3)", hint)
    for index, resource in enumerate(credential.resource):
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[\x21\x22\x24-\x7e]+", resource):
            context.refuse((*path, "resource", index), "a resource is an absolute URI without a fragment (RFC 8707 §2)")


def _login(credential: OAuth2, path: KeyPath, context: ParseContext) -> None:
    """What `auth-sidecar login` goes by."""
    for key in _OF_LOGIN:
        if context.given((*path, key)) and credential.grant_type != "refresh_token":
            hint = "grant_type: refresh_token"
            context.warn((*path, key), f"`{key}` has no effect: only the grant refresh_token begins with a login", hint)
    for name in credential.authorization_parameters:
        if name in _GUARDS:
            context.refuse((*path, "authorization_parameters", name), f"`{name}` is set for each login anew")
    if not re.fullmatch(r"[\x20-\x7e]{1,3}", credential.scope_separator):
        context.refuse((*path, "scope_separator"), "what stands between two scopes is a blank or a sign", '" " or ","')


def _short(choice: str) -> str:
    return choice.rpartition(":")[2]
