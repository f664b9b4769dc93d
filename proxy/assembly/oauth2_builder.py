"""A credential of type `oauth2`: its issuer, its secrets, its keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from msgspec import UNSET, structs

from proxy.assembly.build_context import BuildContext
from proxy.assembly.credential_runtime import CredentialRuntime
from proxy.assembly.renewed_builders import per_caller, scheme_of, seed_of
from proxy.assembly.unusable import under
from proxy.auth.dpop import DpopScheme
from proxy.auth.dpop_issuer import TokenEndpointProofs
from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.auth.scheme import Scheme
from proxy.auth.skew import ServerTime
from proxy.config import schema
from proxy.config.secrets import is_local, read_secret
from proxy.errors import ConfigurationError
from proxy.tokens.answer_reader import AnswerReader
from proxy.tokens.credential import Credential
from proxy.tokens.http_client import HttpClient
from proxy.tokens.per_caller import OnBehalf, PerCaller
from proxy.tokens.secret import CredentialSecret, LiveSecret
from proxy.tokens.signing_keys import SigningKeys
from proxy.tokens.sources.issuer import IssuerSecrets, IssuerSource, Read, not_dated
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
    per, subject = config.per, config.subject_token
    many = per is not None or (subject is not None and subject.request_header is not None)
    asked_for = structs.replace(config, initial_token=None) if many else config  # one token is no beginning for many
    make = partial(_source, asked_for, client, context, keys, follow, AnswerReader(config.response, name))
    if subject is not None and subject.request_header is not None:
        picker: PerCaller = OnBehalf(
            subject.request_header,
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
    manager = context.manager(
        name,
        make(secrets, None),
        config,
        inputs=inputs,
        seed=seed_of(config, config.refresh_token, context),
        keys=keys,
        keeps_key=not (isinstance(config.dpop, schema.Dpop) and config.dpop.key is not None),
    )
    return CredentialRuntime(config, Credential(name, "oauth2", scheme, tokens=manager), manager)


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
    signed = assertion is not None and assertion.key is not None
    return context.same(
        IssuerSecrets(
            client_secret=reader(config.client_secret),
            client_assertion_key=reader(config.client_assertion_key),
            client_assertion=asserting(config.client_assertion),
            password=reader(config.password),
            assertion=None if signed else asserting(assertion),
            assertion_key=reader(assertion.key) if assertion is not None else None,
            subject_token=None if subject is None or subject.request_header is not None else asserting(subject),
            actor_token=asserting(config.actor_token),
            dated_by=partial(_times, asserted) if asserted else not_dated,
        )
    )


def _times(asserted: Sequence[CredentialSecret]) -> Sequence[ServerTime]:
    return [time for secret in asserted if (time := secret.time) is not None]


def _check_keys(config: schema.OAuth2, context: BuildContext) -> None:
    """Raises ConfigurationError for a key that assertions cannot be signed with."""
    if config.client_assertion_key is not None:
        with under("client_assertion_key"):
            context.check_key(config.client_assertion_key, config.token_endpoint_auth_signing_alg or "RS256")
    if config.assertion is not None and config.assertion.key is not None:
        with under("assertion", "key"):
            context.check_key(config.assertion.key, config.assertion.alg)


def _with_subject(secrets: IssuerSecrets, subject: str) -> IssuerSecrets:
    async def read() -> str:
        return subject

    return IssuerSecrets(
        client_secret=secrets.client_secret,
        client_assertion_key=secrets.client_assertion_key,
        client_assertion=secrets.client_assertion,
        subject_token=read,
        actor_token=secrets.actor_token,
        dated_by=secrets.dated_by,
    )


def _keys(
    name: str, config: schema.OAuth2, context: BuildContext, inputs: list[LiveSecret]
) -> tuple[DpopKeys | None, Callable[[], object]]:
    """The keys that tokens are bound to, and what takes up another one once its file holds another."""
    if config.dpop is False:
        return None, _nothing
    dpop = config.dpop if isinstance(config.dpop, schema.Dpop) else schema.Dpop()
    if dpop.key is None:
        return DpopKeys(DpopKey.generate(dpop.alg)), _nothing
    with under("dpop", "key"):
        if not is_local(dpop.key):
            raise ConfigurationError("dpop.key: a key comes from a file or the environment, not from a command")
        pem = read_secret(dpop.key, context.environ)
        keys = DpopKeys(DpopKey.load(pem, dpop.alg))
    live = context.secret(dpop.key)
    inputs.append(live)
    following = SigningKeys(
        name, {"key": live}, lambda now: keys.use(DpopKey.load(now["key"], dpop.alg)), in_use={"key": pem}
    )
    return keys, following.ready


def _nothing() -> None:
    """A key that stays as it is."""


def _scheme(config: schema.OAuth2, keys: DpopKeys | None) -> Scheme:
    if keys is None:
        return scheme_of(config)
    prefix = "DPoP " if config.header_prefix is UNSET else str(config.header_prefix)
    htu_base = config.dpop.htu_base if isinstance(config.dpop, schema.Dpop) else None
    return DpopScheme(keys, header=config.header, prefix=prefix, htu_base=htu_base)
