"""A configured credential as live objects: scheme and source, one builder per type.

A new type is one builder and one line in `_BUILDERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from msgspec import structs

from proxy.assembly.aws_builder import build_aws
from proxy.assembly.binding import tag_of
from proxy.assembly.build_context import BuildContext
from proxy.assembly.credential_runtime import CredentialRuntime
from proxy.assembly.oauth2_builder import build_oauth2
from proxy.assembly.renewed_builders import build_direct_line, build_exec, build_external, build_http, build_jwt
from proxy.assembly.unusable import ErrorCollector, under
from proxy.auth.basic import BasicScheme
from proxy.auth.bearer import BearerScheme
from proxy.auth.body_value import BodyScheme
from proxy.auth.header import HeaderScheme
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.query import QueryScheme
from proxy.auth.scheme import Scheme
from proxy.auth.signature import OAuth1Keys
from proxy.config import schema
from proxy.config.secrets import is_local, read_secret
from proxy.errors import ConfigurationError
from proxy.model import WantsBody
from proxy.tokens.credential import Credential
from proxy.tokens.http_client import HttpClient
from proxy.tokens.joined_secret import JoinedSecret, PlainText, as_login
from proxy.tokens.secret import LiveSecret
from proxy.tokens.signing_keys import SigningKeys
from proxy.tokens.sources import python
from proxy.tokens.static_tokens import FixedTokens

_FOR_KEYS = schema.TokenTimeouts(connect=schema.Duration(5), total=schema.Duration(5))


def build_credentials(
    configured: Mapping[str, schema.Credential],
    context: BuildContext,
    old: Mapping[str, CredentialRuntime],
    errors: ErrorCollector,
) -> dict[str, CredentialRuntime]:
    """All credentials of a configuration. Those of `old` with the same configuration are kept, with their tokens.

    Those that cannot be built are left out, and their errors are added to `errors`.
    """
    built = {}
    try:
        for name, config in configured.items():
            with errors.collect("credentials", name):
                built[name] = _built(name, config, context, old.get(name))
    finally:
        context.forget()
    return built


def _built(
    name: str, config: schema.Credential, context: BuildContext, before: CredentialRuntime | None
) -> CredentialRuntime:
    built = _taken_over(config, before) or _BUILDERS[type(config)](name, config, context)
    if built is not before:
        built.update_secret = context.update_secret(config)
    built.keys_client = _keys_client(config, context)
    return built


def _keys_client(config: schema.Credential, context: BuildContext) -> HttpClient | None:
    """The HTTP client for the key set of an update guard; None if it needs no egress proxy."""
    if not isinstance(config, schema.Renewed) or config.via_proxy is None:
        return None
    guard = config.update
    return context.client(None, config.via_proxy, _FOR_KEYS) if guard is not None and guard.jwt is not None else None


def _taken_over(config: schema.Credential, before: CredentialRuntime | None) -> CredentialRuntime | None:
    """The existing credential, if at most keys for the admin side have changed; None if a new one must be built."""
    if before is None or before.config == config:
        return before
    if not isinstance(config, schema.Fetched) or _lived(config) != _lived(before.config):
        return None
    return replace(before, config=config)


def _lived(config: schema.Credential) -> schema.Credential:
    """A configuration without the keys that only the admin side reads."""
    if isinstance(config, schema.Renewed):
        return structs.replace(config, update=None, vend=False, required=False)
    return structs.replace(config, required=False) if isinstance(config, schema.AwsSigV4) else config


def _fixed(
    scheme: Scheme, name: str, config: schema.Credential, secret: LiveSecret, *, body_buffer: int = 0
) -> CredentialRuntime:
    credential = Credential(name, tag_of(config), scheme, tokens=FixedTokens(secret), body_buffer=body_buffer)
    return CredentialRuntime(config, credential)


def _header(name: str, config: schema.Header, context: BuildContext) -> CredentialRuntime:
    whole = config.name.lower() == "authorization" and not config.prefix.strip()
    value = context.authorization(config.value) if whole else context.secret(config.value)
    return _fixed(HeaderScheme(config.name, config.prefix), name, config, value)


def _query(name: str, config: schema.Query, context: BuildContext) -> CredentialRuntime:
    return _fixed(QueryScheme(config.name), name, config, context.secret(config.value))


def _body(name: str, config: schema.Body, context: BuildContext) -> CredentialRuntime:
    scheme = BodyScheme(json_pointer=config.json_pointer, form=config.form)
    return _fixed(scheme, name, config, context.secret(config.value), body_buffer=config.body_buffer)


def _bearer(name: str, config: schema.Bearer, context: BuildContext) -> CredentialRuntime:
    return _fixed(BearerScheme(), name, config, context.secret(config.token))


def _basic(name: str, config: schema.Basic, context: BuildContext) -> CredentialRuntime:
    password = context.secret(config.password) if config.password is not None else PlainText("")
    return _fixed(BasicScheme(), name, config, JoinedSecret([context.text(config.username), password], as_login))


def _oauth1(name: str, config: schema.OAuth1, context: BuildContext) -> CredentialRuntime:
    given = {
        "consumer_secret": config.consumer_secret,
        "token": config.token,
        "token_secret": config.token_secret,
        "private_key": config.private_key,
        "key_password": config.key_password,
    }
    secrets = {key: context.secret(secret) for key, secret in given.items() if secret is not None}
    known = {
        key: read_secret(secret, context.environ)
        for key, secret in given.items()
        if secret is not None and is_local(secret)
    }
    if "private_key" in secrets and "private_key" not in known:
        with under("private_key"):
            raise ConfigurationError("private_key: a key comes from a file or the environment, not from a command")
    with under("private_key"):  # the rules have looked at all else
        scheme = OAuth1Scheme(
            config.consumer_key,
            OAuth1Keys(**known),
            method=config.signature_method,
            realm=config.realm,
            body_hash=config.body_hash,
            body_hash_empty=config.body_hash_empty,
            signing_base_url=config.signing_base_url,
            in_query=config.transmit == "query",
        )
    tokens = SigningKeys(name, secrets, lambda values: scheme.use(OAuth1Keys(**values)), in_use=known)
    credential = Credential(name, "oauth1", scheme, tokens=tokens, body_buffer=config.body_buffer)
    return CredentialRuntime(config, credential)


class _OfWholeRequests(BearerScheme):
    """For a callable that is given the body."""

    __slots__ = ()

    wants_body: WantsBody = "all"


def _python(name: str, config: schema.Python, context: BuildContext) -> CredentialRuntime:
    with under("callable"):
        function = python.load(config.callable, beside=context.directory)
    picker = python.PythonPicker(function, context.clock, header=config.header, cache=config.cache)
    scheme = (_OfWholeRequests if "body" in picker.wanted else BearerScheme)(config.header, "")
    return CredentialRuntime(config, Credential(name, "python", scheme, picker=picker))


_BUILDERS: dict[type, Callable[..., CredentialRuntime]] = {
    schema.OAuth2: build_oauth2,
    schema.OAuth1: _oauth1,
    schema.AwsSigV4: build_aws,
    schema.Header: _header,
    schema.Query: _query,
    schema.Body: _body,
    schema.Bearer: _bearer,
    schema.Basic: _basic,
    schema.External: build_external,
    schema.DirectLine: build_direct_line,
    schema.Jwt: build_jwt,
    schema.Exec: build_exec,
    schema.Http: build_http,
    schema.Python: _python,
}
