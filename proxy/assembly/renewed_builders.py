"""Builds credentials whose token is fetched or pushed: source, token manager, and the scheme that sends the token."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET

from proxy.assembly.binding import tag_of
from proxy.assembly.build_context import BuildContext
from proxy.assembly.credential_runtime import CredentialRuntime
from proxy.assembly.unusable import under
from proxy.auth.bearer import BearerScheme
from proxy.auth.cookie import CookieScheme
from proxy.auth.dated import DatedScheme
from proxy.auth.query import QueryScheme
from proxy.auth.scheme import Scheme
from proxy.auth.skew import ServerTime
from proxy.config import schema
from proxy.tokens.answer_reader import AnswerReader
from proxy.tokens.credential import Credential
from proxy.tokens.direct_line import wiring as direct_line
from proxy.tokens.parts import Read
from proxy.tokens.per_caller import PerCaller
from proxy.tokens.secret import LiveSecret
from proxy.tokens.seed import ConfiguredSeed
from proxy.tokens.source import TokenSource
from proxy.tokens.sources.exec import ExecSource
from proxy.tokens.sources.external import ExternalSource
from proxy.tokens.sources.http import HttpSource, prepared
from proxy.tokens.sources.jwt import JwtSource
from proxy.tokens.static_tokens import FixedTokens
from proxy.tokens.template import fill, fits


def scheme_of(config: schema.Renewed) -> Scheme:
    """The scheme that puts the token into a header field, a query parameter or a cookie."""
    if config.query is not None:
        return QueryScheme(config.query)
    if config.cookie is not None:
        return CookieScheme(config.cookie)
    return BearerScheme(config.header, "Bearer " if config.header_prefix is UNSET else str(config.header_prefix))


def seed_of(
    config: schema.Renewed, refresh_token: schema.Secret | None, context: BuildContext
) -> ConfiguredSeed | None:
    """`initial_token`, or the seed of a refresh token grant; None where neither is given."""
    initial = config.initial_token
    refresh_token = refresh_token or (initial.refresh_token if initial is not None else None)
    access_token = initial.access_token if initial is not None else None
    if access_token is None and refresh_token is None:
        return None
    return ConfiguredSeed(
        context.clock,
        initial=initial,
        access_token=context.secret(access_token) if access_token is not None else None,
        refresh_token=context.secret(refresh_token) if refresh_token is not None else None,
        assumed=config.default_expires_in,
    )


def per_caller(
    name: str,
    config: schema.Renewed,
    per: schema.Per,
    context: BuildContext,
    source: Callable[[str], TokenSource],
    inputs: list[LiveSecret],
    unfit: Callable[[str], bool],
) -> PerCaller:
    """One token for each caller; the arguments are those of `one_or_per`."""
    return PerCaller(
        per.header,
        lambda value: context.manager(name, source(value), config, inputs=inputs, stored=False, eager=False),
        pattern=per.pattern,
        most=per.max,
        unfit=unfit,
    )


def one_or_per(
    name: str,
    config: schema.Renewed,
    context: BuildContext,
    source: Callable[[str | None], TokenSource],
    inputs: list[LiveSecret],
    unfit: Callable[[str], bool] = lambda _: False,
    time: ServerTime | None = None,
) -> CredentialRuntime:
    """One token for all requests, or with `per` one for each caller.

    `source` takes the value of `{per}`; `unfit`: whether that cannot stand where it is filled in. `time`: the API's,
    where its tokens are dated here.
    """
    kind, scheme = tag_of(config), scheme_of(config)
    if time is not None:
        scheme = DatedScheme(scheme, time, context.clock.wall)
    if config.per is not None:
        picker = per_caller(name, config, config.per, context, source, inputs, unfit)
        return CredentialRuntime(config, Credential(name, kind, scheme, picker=picker))  # type: ignore[arg-type]
    manager = context.manager(name, source(None), config, inputs=inputs, seed=seed_of(config, None, context))
    credential = Credential(name, kind, scheme, tokens=manager)
    return CredentialRuntime(config, credential, manager)  # type: ignore[arg-type]


def build_external(name: str, config: schema.External, context: BuildContext) -> CredentialRuntime:
    """Its tokens are pushed."""
    manager = context.manager(name, ExternalSource(), config, seed=seed_of(config, None, context), renews=False)
    credential = Credential(name, "external", scheme_of(config), tokens=manager)
    return CredentialRuntime(config, credential, manager)


def build_jwt(name: str, config: schema.Jwt, context: BuildContext) -> CredentialRuntime:
    """Its tokens are signed here."""
    key = context.secret(config.key)
    with under("key"):
        context.check_key(config.key, config.alg, config.key_password, config.key_encoding)
    inputs = [key]
    password = context.secret(config.key_password) if config.key_password is not None else None
    inputs += [password] if password is not None else []
    references = context.references([config.claims, config.headers], inputs)
    time = ServerTime()

    def source(per: str | None) -> JwtSource:
        return JwtSource(
            key.read,
            context.clock,
            alg=config.alg,
            kid=config.kid,
            password=password.read if password is not None else None,
            encoding=config.key_encoding,
            claims=config.claims,
            headers=config.headers,
            references=references,
            lifetime=config.lifetime,
            per=per,
            time=time,
        )

    built = one_or_per(name, config, context, source, inputs, time=time)
    if config.per is None and config.update is None and config.initial_token is None:
        built.signer = source(None)  # else another token than one of ours may be meant
    return built


def build_exec(name: str, config: schema.Exec, context: BuildContext) -> CredentialRuntime:
    """Its tokens come from a command."""

    def source(per: str | None) -> TokenSource:
        command, env = (config.command, config.env) if per is None else fill((config.command, config.env), {"per": per})
        return ExecSource(command, context.clock, within=config.timeout, env=env, assumed=config.default_expires_in)

    options = any(
        argument.startswith("{per}") for argument in config.command
    )  # which an argument that begins with - is
    return one_or_per(name, config, context, source, [], lambda value: options and value.startswith("-"))


def build_http(name: str, config: schema.Http, context: BuildContext) -> CredentialRuntime:
    """Its tokens come from an HTTP API."""
    inputs: list[LiveSecret] = []

    def reader(live: LiveSecret) -> Read:
        inputs.append(live)
        return live.read

    def secret(given: schema.Secret) -> Read:
        return reader(context.secret(given))

    def authorization(given: schema.Secret) -> Read:
        return reader(context.authorization(given))

    obtain = prepared(config.obtain, secret, authorization)
    refresh = prepared(config.refresh, secret, authorization)
    with under("tls"):
        client = context.client(config.tls, config.via_proxy, config.timeouts)
    secrets = {called: secret(given) for called, given in config.secrets.items()}
    answers = AnswerReader(config.response, name)

    def source(per: str | None) -> TokenSource:
        return HttpSource(
            client,
            context.clock,
            obtain,
            refresh=refresh,
            answers=answers,
            assumed=config.default_expires_in,
            secrets=secrets,
            per=per,
        )

    urls = [call.url for call in (obtain, refresh) if call is not None]
    return one_or_per(name, config, context, source, inputs, lambda value: not all(fits(url, value) for url in urls))


def build_direct_line(name: str, config: schema.DirectLine, context: BuildContext) -> CredentialRuntime:
    """It has a token for each conversation."""
    picker = direct_line.assemble(
        config,
        FixedTokens(context.secret(config.secret)),
        lambda source: context.manager(name, source, config, stored=False),
        client=context.client(None, config.via_proxy, config.timeouts),
        clock=context.clock,
        scheduler=context.scheduler,
    )
    credential = Credential(
        name, "direct_line", scheme_of(config), picker=picker, observer=picker, refresh_on=direct_line.REFRESH_ON
    )
    return CredentialRuntime(config, credential, close=picker.book.close)
