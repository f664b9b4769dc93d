"""What a stored token is bound to, from a credential's configuration: see `proxy.tokens.audience`.

Only keys that say whose token it is count, not those about how it is sent, guarded or renewed; and of these only values
that differ from their default: a key that a later version adds must not make the held token worthless.
"""

from __future__ import annotations

import hashlib
from typing import Any
from urllib.parse import urlsplit

from msgspec import NODEFAULT, Struct, structs

from proxy.config import schema
from proxy.default_ports import DEFAULT_PORTS
from proxy.tokens.audience import Binding, audience

_NOT_ASKED_FOR = frozenset(schema.Renewed.__struct_fields__)


def binding_of(config: schema.Fetched) -> Binding:
    """The hashes of audience and request (see `proxy.tokens.audience`)."""
    return Binding(_audience(config), _request(config))


def _audience(config: schema.Fetched) -> str:
    """Who receives the refresh token, and whose it is. If that changes, it is another grant.

    For type `http` all of `obtain` counts, because the user can be named anywhere in it; `refresh` does not count.
    """
    tag = tag_of(config)
    match config:
        case schema.OAuth2():
            url = config.token_endpoint or config.issuer or ""
            claims = _claims(config)
            user = config.username, claims.get("iss"), claims.get("sub")
            refresh = config.refresh_endpoint
            elsewhere = () if refresh is None else (_normal(refresh),)
            return audience(_server(refresh or url), tag, _normal(url), config.client_id, *user, *elsewhere)
        case schema.Http():
            obtain = config.obtain
            url = config.refresh.url or (obtain.url if obtain is not None else "")
            return audience(_server(url), tag, _normal(url), _stated(obtain) if obtain is not None else [])
    return audience("", tag)  # nobody is ever sent more of it than the access token


def _request(config: schema.Fetched) -> str:
    asked = {name: value for name, value in _stated(config) if name not in _NOT_ASKED_FOR}
    if isinstance(config, schema.OAuth2):
        asked["claims"] = _claims(config)  # an assertion does not show them, for it may be a secret
    return hashlib.sha256(repr((tag_of(config), sorted(asked.items()))).encode()).hexdigest()[:32]


def _claims(config: schema.OAuth2) -> dict[str, Any]:
    return config.assertion.claims if config.assertion is not None else {}


def _stated(config: Struct) -> list[tuple[str, Any]]:
    """The keys that differ from their default."""
    fields = [(field.name, getattr(config, field.name), _default(field)) for field in structs.fields(type(config))]
    return sorted((name, value) for name, value, default in fields if value != default)


def _default(field: structs.FieldInfo) -> Any:
    return field.default if field.default_factory is NODEFAULT else field.default_factory()


def tag_of(config: schema.Fetched | schema.Credential) -> str:
    """The type of a credential as the file names it."""
    return str(type(config).__struct_config__.tag)


def _server(url: str) -> str:
    """Scheme, host and port, however they are spelled."""
    context = urlsplit(url)
    scheme = context.scheme.lower()
    host = context.netloc.rpartition("@")[2].lower()
    return f"{scheme}://{host.removesuffix(f':{DEFAULT_PORTS.get(scheme)}')}"


def _normal(url: str) -> str:
    context = urlsplit(url)
    return f"{_server(url)}{context.path or '/'}?{context.query}"
