"""The configured store, made. Redis is spoken by a library that is installed only where it is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from msgspec import structs

from proxy.assembly.unusable import under
from proxy.clock import Clock
from proxy.config import schema
from proxy.config.redis_url import RedisAddress, parse_redis_url
from proxy.config.secrets import WatchedSecret, read_secret
from proxy.errors import ConfigurationError
from proxy.tokens.store.envelope import Envelope
from proxy.tokens.store.failures import StoreFailures
from proxy.tokens.store.file import FileTokenStore
from proxy.tokens.store.memory import MemoryTokenStore
from proxy.tokens.store.redis_scripts import RedisKeys
from proxy.tokens.store.token_store import TokenStore
from proxy.tokens.tls import FollowedTls

_LEAST_VERSION = (8, 1)
_INSTALL = "pip install 'auth-sidecar[redis]'"


def make_store(config: schema.Store, environ: Mapping[str, str], clock: Clock) -> TokenStore:
    """The configured store. Raises ConfigurationError, with its place, for what cannot be used."""
    with under("store"):
        with under("encryption_key"):
            envelope = read_envelope(config, environ)
        if isinstance(config, schema.FileStore):
            return FileTokenStore(Path(config.path), envelope, clock)
        if isinstance(config, schema.RedisStore):
            return _redis(config, envelope, environ, clock)
    return MemoryTokenStore()


def read_envelope(config: schema.Store, environ: Mapping[str, str]) -> Envelope:
    """The store's keys as they are now. Raises ConfigurationError where they cannot be used."""
    if isinstance(config, schema.MemoryStore) or config.encryption_key is None:
        return Envelope()
    return Envelope.from_lines(read_secret(config.encryption_key, environ))


def seal_with(store: TokenStore, envelope: Envelope) -> None:
    """Let a store that encrypts use these keys from now on."""
    if not isinstance(store, MemoryTokenStore):
        store.seal_with(envelope)  # type: ignore[attr-defined]


def redis_address(config: schema.RedisStore, environ: Mapping[str, str]) -> RedisAddress:
    """Where Redis is, and as whom. Raises ConfigurationError."""
    try:
        address = parse_redis_url(read_secret(config.url, environ))
    except ValueError as error:
        raise ConfigurationError(f"the URL that stands here cannot be used: {error}") from None
    return address if config.username is None else structs.replace(address, username=config.username)


def _redis(config: schema.RedisStore, envelope: Envelope, environ: Mapping[str, str], clock: Clock) -> TokenStore:
    with under("type"):
        _require_redis()
    with under("url"):
        address = redis_address(config, environ)
    with under("tls"):
        tls = FollowedTls(config.tls, protocols=()) if address.tls else None
    with under("password"):
        password = _password(config, address, environ, clock)
    client = import_module("proxy.tokens.store.redis_client").make_client(
        address, tls=tls, password=password, timeout=float(config.timeout)
    )
    operations = import_module("proxy.tokens.store.redis_operations").RedisOperations(
        client,
        address.place,
        clock,
        StoreFailures(),
        timeout=float(config.timeout),
        hops=1 + len(address.nodes) if address.topology != "single" else 1,
        degrade=config.on_unavailable == "degrade",
    )
    store: TokenStore = import_module("proxy.tokens.store.redis").RedisTokenStore(
        operations, RedisKeys(config.key_prefix), envelope, clock, lease=float(config.lease)
    )
    return store


def _password(
    config: schema.RedisStore, address: RedisAddress, environ: Mapping[str, str], clock: Clock
) -> Callable[[], str] | None:
    if config.password is not None:
        return WatchedSecret(config.password, environ, clock.elapsed).current
    return None if address.password is None else lambda: address.password or ""


def _require_redis() -> None:
    """Raises ConfigurationError where the library is missing or too old."""
    try:
        version = str(import_module("redis").__version__)
    except ImportError:
        raise ConfigurationError(f"`type: redis` needs the package redis, which is not installed: {_INSTALL}") from None
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < _LEAST_VERSION:
        raise ConfigurationError(f"`type: redis` needs redis 8.1 or newer, and {version} is installed: {_INSTALL}")
