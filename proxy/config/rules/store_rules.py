"""The store: an address of Redis that can be used, a lease that outlasts every renewal, keys that stay in one slot."""

from __future__ import annotations

from proxy.config.parse_context import KeyPath, ParseContext
from proxy.config.redis_url import RedisAddress, parse_redis_url
from proxy.config.schema import Config, RedisStore, Renewed
from proxy.config.secrets import SecretError, is_local, read_secret

LEASE_FACTOR = 3
"""A renewal is two requests at most (the grant, then the configured one instead), and time to save what came."""


def judge(config: Config, context: ParseContext) -> None:
    """Every rule of this subject."""
    store = config.store
    if not isinstance(store, RedisStore):
        return
    for key in ("url", "password", "encryption_key"):
        secret = getattr(store, key)
        if secret is not None and secret.exec is not None:
            context.refuse(("store", key, "exec"), "the store's secrets come from `env`, `file` or `value`")
    _prefix(store.key_prefix, context)
    _lease(store, config, context)
    if store.encryption_key is None:
        message = "whoever can read this Redis can read the tokens in it"
        context.warn(("store",), message, "add encryption_key: {file: …} (openssl rand -base64 32)")
    if (address := _address(store, context)) is not None:
        _login(store, address, context)
        if store.tls is not None and not address.tls:
            message = "`tls` says how to verify a server, and the URL asks for a connection without TLS"
            context.refuse(("store", "tls"), message, "write rediss:// in the URL")


def _address(store: RedisStore, context: ParseContext) -> RedisAddress | None:
    kind = next((kind for kind in ("env", "file", "value") if getattr(store.url, kind) is not None), None)
    if kind is None or not is_local(store.url):
        return None
    try:
        return parse_redis_url(read_secret(store.url, context.environ))
    except SecretError:
        return None  # told where references are judged
    except ValueError as error:
        context.refuse(("store", "url", kind), f"the URL that stands here cannot be used: {error}")
        return None


def _login(store: RedisStore, address: RedisAddress, context: ParseContext) -> None:
    needs: list[KeyPath] = [("store", "url")]
    for key in ("username", "password"):
        if getattr(store, key) is not None and getattr(address, key) is not None:
            context.refuse(("store", key), f"`{key}` stands in the URL too", "give it once", needs=needs)
    if store.username is not None and store.password is None and address.password is None:
        needs.append(("store", "password"))
        context.refuse(("store", "username"), "`username` needs a password next to it or in the URL", needs=needs)


def _prefix(prefix: str, context: ParseContext) -> None:
    at = ("store", "key_prefix")
    if not prefix.isprintable() or " " in prefix:
        context.refuse(at, "a key prefix has neither blanks nor control characters")
    elif "{" in prefix or "}" in prefix:
        context.refuse(at, "a key prefix has no braces: the sidecar sets its own, for the slots of a cluster")


def _lease(store: RedisStore, config: Config, context: ParseContext) -> None:
    totals = {
        name: float(credential.timeouts.total)
        for name, credential in config.credentials.items()
        if isinstance(credential, Renewed)
    }
    if not totals:
        return
    slowest = max(totals, key=lambda name: totals[name])
    least = LEASE_FACTOR * totals[slowest]
    if store.lease < least:
        message = (
            f"`{slowest}` may take {totals[slowest]:g} s for one token request (timeouts.total): a lease of "
            f"{store.lease:g} s could end while it renews"
        )
        needs: list[KeyPath] = [("credentials", slowest, "timeouts", "total")]
        context.refuse(("store", "lease"), message, f"{least:g}s or more, or shorter timeouts", needs=needs)
