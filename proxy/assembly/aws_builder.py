"""A credential of type `aws_sigv4`: its keys, at hand or asked for, and what signs with them."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.assembly.build_context import BuildContext
from proxy.assembly.credential_runtime import CredentialRuntime
from proxy.assembly.unusable import under
from proxy.auth.aws_keys import AwsKeys
from proxy.auth.aws_sigv4 import AllowedScopes, SigV4Scheme
from proxy.config import schema
from proxy.config.rules.aws_rules import FROM_REQUEST
from proxy.config.secrets import is_local, read_secret
from proxy.tokens.aws.aws_key_source import AwsKeySource
from proxy.tokens.aws.keys import KeyGiver, ProfileKeys, SecretKeys, profile_keys
from proxy.tokens.aws.metadata import MetadataKeys
from proxy.tokens.aws.sts import Role, RoleKeys
from proxy.tokens.credential import Credential
from proxy.tokens.secret import LiveSecret
from proxy.tokens.signing_keys import SigningKeys

_TYPE = "aws_sigv4"
_WORLDWIDE = "us-east-1"


def build_aws(name: str, config: schema.AwsSigV4, context: BuildContext) -> CredentialRuntime:
    """Raises ConfigurationError for a secret that is missing and a profile that has no keys."""
    secrets = _secrets(config)
    follow = {key: context.secret(secret) for key, secret in secrets.items()}
    scheme = SigV4Scheme(_scopes(config), config.payload)
    if config.assume_role is not None or config.metadata:
        keys = _asked_for(config, follow, context)
        source = AwsKeySource(keys, context.clock, config.default_expires_in)
        manager = context.manager(name, source, config, inputs=tuple(follow.values()), stored=False)
        credential = Credential(name, _TYPE, scheme, tokens=manager, body_buffer=config.body_buffer)
        return CredentialRuntime(config, credential, manager)
    known: dict[str, str] = {}
    if all(map(is_local, secrets.values())):
        known = {key: read_secret(secret, context.environ) for key, secret in secrets.items()}

    def use(values: Mapping[str, str]) -> None:
        scheme.use(_keys(config, values))

    if known:
        with under(*(("profile",) if config.profile is not None else ())):
            use(known)
    tokens = SigningKeys(name, follow, use, in_use=known)
    return CredentialRuntime(config, Credential(name, _TYPE, scheme, tokens=tokens, body_buffer=config.body_buffer))


def _scopes(config: schema.AwsSigV4) -> AllowedScopes:
    return AllowedScopes(
        None if config.region == FROM_REQUEST else config.region,
        None if config.service == FROM_REQUEST else config.service,
        config.allow_regions,
        config.allow_services,
    )


def _secrets(config: schema.AwsSigV4) -> dict[str, schema.Secret]:
    """What the keys are read from, by the key of the configuration."""
    if config.profile is not None:
        return {"profile": schema.Secret(file=config.profile.file)}
    given = {
        "access_key_id": config.access_key_id,
        "secret_access_key": config.secret_access_key,
        "session_token": config.session_token,
    }
    return {key: secret for key, secret in given.items() if isinstance(secret, schema.Secret)}


def _keys(config: schema.AwsSigV4, values: Mapping[str, str]) -> AwsKeys:
    if config.profile is not None:
        return profile_keys(values["profile"], config.profile.name)
    return AwsKeys(
        access_key_id=values.get("access_key_id", str(config.access_key_id)),
        secret_access_key=values["secret_access_key"],
        session_token=values.get("session_token"),
    )


def _asked_for(config: schema.AwsSigV4, follow: dict[str, LiveSecret], context: BuildContext) -> KeyGiver:
    role = config.assume_role
    base = _base(config, follow, context)
    if role is None and base is not None:
        return base
    if role is None:
        raise ValueError("the rules have looked at this")
    identity = None
    if role.web_identity is not None:
        with under("assume_role", "web_identity"):
            identity = follow["web_identity"] = context.secret(role.web_identity)
    region = role.region or (_WORLDWIDE if config.region == FROM_REQUEST else config.region)
    asked = Role(
        arn=role.role_arn,
        session_name=role.session_name,
        external_id=role.external_id,
        duration=int(role.duration),
        region=region,
        endpoint=role.endpoint or _sts_of(region),
    )
    with under("tls"):
        client = context.client(config.tls, config.via_proxy, config.timeouts)
    return RoleKeys(asked, client, context.clock, base=base, web_identity=identity.read if identity else None)


def _base(config: schema.AwsSigV4, follow: Mapping[str, LiveSecret], context: BuildContext) -> KeyGiver | None:
    """The keys that there are before any role is assumed."""
    if config.metadata:
        return MetadataKeys(context.client(None, None, config.timeouts), context.environ)
    if config.profile is not None:
        return ProfileKeys(follow["profile"].read, config.profile.name)
    if config.secret_access_key is None:
        return None
    identifier, session = context.text(config.access_key_id or ""), follow.get("session_token")
    return SecretKeys(identifier.read, follow["secret_access_key"].read, session.read if session is not None else None)


def _sts_of(region: str) -> str:
    return f"https://sts.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")
