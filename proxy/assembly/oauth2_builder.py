"""Builds a credential of type `oauth2`: its issuer, its secrets, its keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from msgspec import UNSET, structs

from proxy.assembly.build_context import BuildContext
from proxy.assembly.credential_runtime import CredentialRuntime
from proxy.assembly.renewed_builders import per_caller, scheme_of, seed_of
from proxy.assembly.unusable import under
from proxy.auth.dpop import DpopScheme
from proxy.auth.dpop_issuer import TokenEndpointProofs
from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.auth.private_key import certificate_thumbprints, load_private_key
from proxy.auth.scheme import Scheme
from proxy.auth.skew import ServerTime
from proxy.config import schema
from proxy.config.secrets import is_local, read_secret
from proxy.errors import ConfigurationError, CredentialRefused
from proxy.tokens.answer_reader import AnswerReader
from proxy.tokens.client_auth import service_account
from proxy.tokens.credential import Credential
from proxy.tokens.http_client import HttpClient
from proxy.tokens.parts import Read
from proxy.tokens.per_caller import OnBehalf, PerCaller
from proxy.tokens.secret import CredentialSecret, LiveSecret
from proxy.tokens.signing_keys import SigningKeys
from proxy.tokens.sources.issuer import IssuerSource
from proxy.tokens.sources.issuer_request import IssuerSecrets, not_dated
from proxy.tokens.template import fits


def build_oauth2(name: str, config: schema.OAuth2, context: BuildContext) -> CredentialRuntime:
    """Raises ConfigurationError for a secret, a key or a certificate that cannot be used."""
    inputs: list[LiveSecret] = []
    secrets = _secrets(config, context, inputs)
    keys, follow = _keys(name, config, context, inputs)
    _check_keys(config, context)
    with under("tls"):
        client = context.client(config.tls, config.via_proxy, config.timeouts)
    scheme = _scheme(config, keys)
    per, caller = config.per, _caller_field(config)
    many = per is not None or caller is not None
    asked_for = structs.replace(config, initial_token=None) if many else config  # one token cannot serve many callers
    make = partial(_source, asked_for, client, context, keys, follow, AnswerReader(config.response, name))
    if caller is not None:
        picker: PerCaller = OnBehalf(
            caller,
            lambda value: context.manager(
                name, make(_with_subject(secrets, value), None), config, inputs=inputs, stored=False, eager=False
            ),
            context.clock,
        )
        return CredentialRuntime(config, Credential(name, "oauth2", scheme, picker=picker))
    if per is not None:
        urls = [url for url in (config.token_endpoint, config.issuer, *config.resource) if url is not None]
        source = partial(make, secrets)
        picker = per_caller(
            name, config, per, context, source, inputs, lambda value: not all(fits(url, value) for url in urls)
        )
        return CredentialRuntime(config, Credential(name, "oauth2", scheme, picker=picker))
    issuer = make(secrets, None)
    manager = context.manager(
        name,
        issuer,
        config,
        inputs=inputs,
        seed=seed_of(config, config.refresh_token, context),
        keys=keys,
        keeps_key=not (isinstance(config.dpop, schema.Dpop) and config.dpop.key is not None),
    )
    return CredentialRuntime(config, Credential(name, "oauth2", scheme, tokens=manager), manager, issuer=issuer)


def _caller_field(config: schema.OAuth2) -> str | None:
    """The field of the request that holds the caller's own token, where that is what is exchanged."""
    given = (config.subject_token, config.assertion)
    return next((one.request_header for one in given if one is not None and one.request_header is not None), None)


def _source(
    config: schema.OAuth2,
    client: HttpClient,
    context: BuildContext,
    keys: DpopKeys | None,
    follow_key: Callable[[], object],
    answers: AnswerReader,
    secrets: IssuerSecrets,
    per: str | None,
) -> IssuerSource:
    proofs = TokenEndpointProofs(keys) if keys is not None else None
    discovery = context.discovery(client)
    return IssuerSource(
        config, client, discovery, context.clock, secrets, proofs, per, answers=answers, follow_key=follow_key
    )


def _secrets(config: schema.OAuth2, context: BuildContext, inputs: list[LiveSecret]) -> IssuerSecrets:
    def reader(secret: schema.Secret | None) -> Read | None:
        if secret is None:
            return None
        live = context.secret(secret)
        inputs.append(live)
        return live.read

    asserted: list[CredentialSecret] = []

    def asserting(secret: schema.Secret | None) -> Read | None:
        found = reader(secret)
        if inputs and isinstance(inputs[-1], CredentialSecret) and secret is not None:
            asserted.append(inputs[-1])
        return found

    assertion, subject = config.assertion, config.subject_token
    of_caller = _caller_field(config) is not None
    signed = assertion is not None and (assertion.key is not None or assertion.google_service_account is not None)
    asserted_json = [assertion.claims, assertion.headers] if assertion is not None else []
    shown = [config.client_assertion_claims, config.client_assertion_headers, config.token_request.headers]
    return context.same(
        IssuerSecrets(
            client_secret=reader(config.client_secret),
            client_assertion_key=reader(config.client_assertion_key),
            client_assertion_certificate=reader(config.client_assertion_certificate),
            client_assertion=asserting(config.client_assertion),
            key_password=reader(config.key_password),
            password=reader(config.password),
            assertion=None if signed or of_caller else asserting(assertion),
            assertion_key=reader(assertion.key) if assertion is not None else None,
            assertion_key_password=reader(assertion.key_password) if assertion is not None else None,
            service_account=reader(assertion.google_service_account) if assertion is not None else None,
            subject_token=None if of_caller else asserting(subject),
            actor_token=asserting(config.actor_token),
            named=tuple((name, context.secret(secret).read) for name, secret in config.secrets.items()),
            references=tuple(context.references([config.secrets, asserted_json, shown], inputs).items()),
            dated_by=partial(_times, asserted) if asserted else not_dated,
        )
    )


def _times(asserted: Sequence[CredentialSecret]) -> Sequence[ServerTime]:
    return [time for secret in asserted if (time := secret.time) is not None]


def _check_keys(config: schema.OAuth2, context: BuildContext) -> None:
    """Raises ConfigurationError for a key that assertions cannot be signed with."""
    if config.client_assertion_key is not None:
        with under("client_assertion_key"):
            algorithm = config.token_endpoint_auth_signing_alg or "RS256"
            context.check_key(config.client_assertion_key, algorithm, config.key_password)
    certificate = config.client_assertion_certificate
    if certificate is not None and is_local(certificate):
        with under("client_assertion_certificate"):
            certificate_thumbprints(read_secret(certificate, context.environ))
    if config.assertion is not None and config.assertion.key is not None:
        with under("assertion", "key"):
            key = config.assertion
            context.check_key(config.assertion.key, key.alg, key.key_password, key.key_encoding)
    account = config.assertion.google_service_account if config.assertion is not None else None
    if account is not None and is_local(account):
        with under("assertion", "google_service_account"):
            _check_account(read_secret(account, context.environ))


def _check_account(text: str) -> None:
    try:
        load_private_key(service_account(text)[1])
    except CredentialRefused as error:
        raise ConfigurationError(error.detail) from None


def _with_subject(secrets: IssuerSecrets, subject: str) -> IssuerSecrets:
    async def read() -> str:
        return subject

    return replace(secrets, subject_token=read, assertion=read)


def _keys(
    name: str, config: schema.OAuth2, context: BuildContext, inputs: list[LiveSecret]
) -> tuple[DpopKeys | None, Callable[[], object]]:
    """The DPoP keys, and a function that loads a new key once its file has changed."""
    if config.dpop is False:
        return None, _nothing
    dpop = config.dpop if isinstance(config.dpop, schema.Dpop) else schema.Dpop()
    if dpop.key is None:
        return DpopKeys(DpopKey.generate(dpop.alg)), _nothing
    with under("dpop", "key"):
        if not is_local(dpop.key) or (dpop.key_password is not None and not is_local(dpop.key_password)):
            raise ConfigurationError("dpop.key: a key comes from a file or the environment, not from a command")
        given = {"key": dpop.key, **({"password": dpop.key_password} if dpop.key_password is not None else {})}
        known = {name: read_secret(secret, context.environ) for name, secret in given.items() if is_local(secret)}
        keys = DpopKeys(DpopKey.load(known["key"], dpop.alg, known.get("password")))
    secrets = {name: context.secret(secret) for name, secret in given.items()}
    inputs += secrets.values()
    following = SigningKeys(
        name,
        secrets,
        lambda now: keys.use(DpopKey.load(now["key"], dpop.alg, now.get("password"))),
        in_use=known,
    )
    return keys, following.ready


def _nothing() -> None:
    """For a key that does not come from a file: nothing to load."""


def _scheme(config: schema.OAuth2, keys: DpopKeys | None) -> Scheme:
    if keys is None:
        return scheme_of(config)
    prefix = "DPoP " if config.header_prefix is UNSET else str(config.header_prefix)
    htu_base = config.dpop.htu_base if isinstance(config.dpop, schema.Dpop) else None
    return DpopScheme(keys, header=config.header, prefix=prefix, htu_base=htu_base)
