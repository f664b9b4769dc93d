"""What one request to a token endpoint holds: the grant's parameters, the client's proof, assertions signed here.

Secrets are read, and assertions are made, anew for each request. `config` here has its placeholders filled in already.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msgspec import UnsetType, structs

from proxy.auth.skew import ServerTime
from proxy.config.placeholders import places
from proxy.config.schema import OAuth2, Secret
from proxy.errors import CredentialRefused
from proxy.model import Moment
from proxy.tokens import client_auth, grants
from proxy.tokens.client_auth import Proof
from proxy.tokens.issuer_errors import NoGrant
from proxy.tokens.parts import Parts, Read, unfilled
from proxy.tokens.template import MissingPartError, UnfitPartError, fill, fill_url

_JTI_OCTETS = 18
_URLS = ("token_endpoint", "refresh_endpoint", "issuer")
_TEXTS = ("client_id", "scope", "audience", "username", "token_parameters")
_ASSERTED = ("client_assertion_claims", "client_assertion_headers")


def not_dated() -> Sequence[ServerTime]:
    """Where nothing is dated by another credential."""
    return ()


@dataclass(frozen=True, slots=True, repr=False)
class IssuerSecrets:
    """The secrets of a credential: how to read each, None where it has none.

    `named`: those for placeholders. `references`: those that stand in claims and headers. `dated_by`: the clocks by
    which other credentials date what is read here as an assertion.
    """

    client_secret: Read | None = None
    client_assertion_key: Read | None = None
    client_assertion_certificate: Read | None = None
    client_assertion: Read | None = None
    key_password: Read | None = None
    password: Read | None = None
    assertion: Read | None = None
    assertion_key: Read | None = None
    assertion_key_password: Read | None = None
    service_account: Read | None = None
    subject_token: Read | None = None
    actor_token: Read | None = None
    named: tuple[tuple[str, Read], ...] = ()
    references: tuple[tuple[Secret, Read], ...] = ()
    dated_by: Callable[[], Sequence[ServerTime]] = not_dated


async def filled(config: OAuth2, parts: Parts) -> OAuth2:
    """The configuration for one request. Raises CredentialError; CredentialRefused where a value does not fit."""
    assertion, shape = config.assertion, config.token_request
    templates: dict[str, Any] = {name: getattr(config, name) for name in (*_URLS, *_TEXTS, *_ASSERTED)}
    templates["client_assertion_audience"] = config.client_assertion_audience
    templates["resource"] = config.resource
    templates["headers"] = shape.headers
    templates["asserted"] = (assertion.claims, assertion.headers) if assertion is not None else ()
    templates = await parts.resolved({name: value for name, value in templates.items() if value})
    if not templates:
        return config
    values = await parts.of(templates) if places(templates) else {}
    try:
        changed = {name: _filled(name, value, values) for name, value in templates.items()}
    except (MissingPartError, UnfitPartError) as error:
        raise unfilled(error) from None
    headers, asserted = changed.pop("headers", {}), changed.pop("asserted", None)
    if asserted is not None and assertion is not None:
        changed["assertion"] = structs.replace(assertion, claims=asserted[0], headers=asserted[1])
    return structs.replace(config, token_request=structs.replace(shape, headers=headers), **changed)


def _filled(name: str, value: Any, values: Mapping[str, str | None]) -> Any:
    if name in _URLS:
        return fill_url(value, values)
    if name == "resource":
        return tuple(fill_url(url, values) for url in value)
    if name == "client_assertion_audience" and "://" in value:
        return fill_url(value, values)
    return fill(value, values)


async def grant(
    config: OAuth2, secrets: IssuerSecrets, refresh_token: str | None, url: str, moment: Moment
) -> tuple[grants.Parameters, str | None]:
    """What to post, and the subject token that the result must not outlive. Raises CredentialError.

    `refresh_token`: the one to go on from; None to begin anew. `url`: the endpoint.
    """
    wanted = grants.Wanted(config.scope, config.audience, config.resource, config.token_parameters)
    kind = config.grant_type
    if refresh_token is not None:
        return grants.refresh(refresh_token, wanted, scope=kind == grants.REFRESH_TOKEN), None
    if kind == grants.CLIENT_CREDENTIALS:
        return grants.client_credentials(wanted), None
    if kind == grants.PASSWORD:
        return grants.password(config.username or "", await _read(secrets.password), wanted), None
    if kind == grants.JWT_BEARER:
        return grants.jwt_bearer(await _assertion(config, secrets, url, moment), wanted), None
    if kind == grants.TOKEN_EXCHANGE:
        subject = await _read(secrets.subject_token)
        actor = (await secrets.actor_token(), config.actor_token_type or "") if secrets.actor_token else None
        return grants.token_exchange(
            (subject, config.subject_token_type), wanted, actor=actor, requested_type=config.requested_token_type
        ), subject
    raise NoGrant("There is no refresh token: configure one, push one, or log in")


async def _assertion(config: OAuth2, secrets: IssuerSecrets, url: str, moment: Moment) -> str:
    """RFC 7523 §3: given, or signed here with the claims that the operator gave and those that follow."""
    assertion = config.assertion
    if assertion is None or (secrets.assertion_key is None and secrets.service_account is None):
        return await _read(secrets.assertion)
    issuer, key, key_id = config.client_id, "", assertion.kid
    if secrets.service_account is not None:
        issuer, key, account_key = client_auth.service_account(await secrets.service_account())
        key_id = key_id or account_key
    else:
        key = await _read(secrets.assertion_key)
    claims = {
        "iss": issuer,
        "aud": url,
        **client_auth.dates(moment.wall, assertion.lifetime),
        "jti": moment.octets(_JTI_OCTETS).hex(),
    } | assertion.claims
    signing = client_auth.SigningKey(
        key,
        assertion.alg,
        password=await secrets.assertion_key_password() if secrets.assertion_key_password else None,
        encoding=assertion.key_encoding,
        key_id=key_id,
        headers=assertion.headers,
    )
    return client_auth.sign({name: value for name, value in claims.items() if value is not None}, signing)


async def proof(config: OAuth2, secrets: IssuerSecrets, url: str, moment: Moment) -> Proof:
    """How the client proves who it is. Raises CredentialError."""
    client_id = config.client_id
    if secrets.client_assertion is not None:
        return client_auth.ready_made(client_id, await secrets.client_assertion())
    method = config.token_endpoint_auth_method
    if client_id is None or isinstance(method, UnsetType) or method in {"none", "tls_client_auth"}:
        return client_auth.public(client_id)
    if method == "client_secret_basic":
        return client_auth.basic(client_id, await _read(secrets.client_secret), config.basic_encoding)
    if method == "client_secret_post":
        return client_auth.post(client_id, await _read(secrets.client_secret))
    by_secret = method == "client_secret_jwt"
    headers = dict(config.client_assertion_headers)
    if secrets.client_assertion_certificate is not None:
        headers = client_auth.thumbprints(await secrets.client_assertion_certificate()) | headers
    key = client_auth.SigningKey(
        await _read(secrets.client_secret if by_secret else secrets.client_assertion_key),
        config.token_endpoint_auth_signing_alg or ("HS256" if by_secret else "RS256"),
        password=await secrets.key_password() if secrets.key_password else None,
        encoding=config.key_encoding,
        key_id=config.client_assertion_key_id,
        headers=headers,
    )
    audience = config.client_assertion_audience or config.issuer or url
    return client_auth.signed(client_id, key, audience, moment, claims=config.client_assertion_claims)


async def _read(secret: Read | None) -> str:
    if secret is None:
        raise CredentialRefused("A secret that this grant needs is not configured")
    return await secret()
