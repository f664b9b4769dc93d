"""What the builders of credentials share: clock, store, cache, scheduler, HTTP clients, other credentials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from msgspec import structs

from proxy.assembly.binding import binding_of
from proxy.assembly.printed_secret import CurrentSecret, PrintedSecret
from proxy.auth.dpop_key import DpopKeys
from proxy.auth.private_key import shared_key
from proxy.clock import Clock
from proxy.config import schema
from proxy.config.secrets import WatchedSecret, is_local, read_secret
from proxy.config.tree import every
from proxy.errors import ConfigurationError, CredentialRefused
from proxy.tokens.audience import UNBOUND
from proxy.tokens.cache import TokenCache
from proxy.tokens.client_auth import SigningKey, sign
from proxy.tokens.credential import Credential, Tokens
from proxy.tokens.http_client import HttpClient, HttpClients
from proxy.tokens.joined_secret import JoinedSecret, PlainText, as_base64
from proxy.tokens.manager import TokenManager
from proxy.tokens.parts import Read
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.renewal import Seed
from proxy.tokens.secret import CredentialSecret, LiveSecret, Signer, Spoken, as_it_is, live_secret, nobody_signs
from proxy.tokens.source import TokenSource
from proxy.tokens.sources.discovery import Discovery
from proxy.tokens.store.memory import MemoryTokenStore
from proxy.tokens.store.token_store import TokenStore

T = TypeVar("T")


def no_credential(name: str) -> Credential:
    """Where no credential is at hand. Raises CredentialRefused."""
    raise CredentialRefused(f"The credential {name} is not at hand")


@dataclass(eq=False)
class BuildContext:
    """`directory`: the configuration's. `tokens_of`: the current tokens of another credential, by its name.

    `signer_of`: by name, what signs the tokens of a credential that signs its own; None for others. `spoken`: what of a
    token is the secret where another credential names it; `authorizing`: the same as a whole `Authorization`.
    """

    environ: Mapping[str, str]
    clock: Clock
    directory: Path
    store: TokenStore
    cache: TokenCache
    scheduler: RefreshScheduler
    tokens_of: Callable[[str], Tokens]
    signer_of: Callable[[str], Signer | None] = nobody_signs
    credential_of: Callable[[str], Credential] = no_credential
    spoken: Spoken = as_it_is
    authorizing: Spoken = as_it_is
    clients: HttpClients = field(default_factory=HttpClients)
    _discoveries: dict[HttpClient, Discovery] = field(default_factory=dict)
    _followed: dict[schema.Secret, LiveSecret] = field(default_factory=dict)
    _known: dict[Any, Any] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget shared secrets and values, so that the next build reads all secrets again."""
        self._followed.clear()
        self._known.clear()

    def same(self, value: T) -> T:
        """An equal value that another credential has already; else this one."""
        known: T = self._known.setdefault(value, value)
        return known

    def secret(self, secret: schema.Secret) -> LiveSecret:
        """Follow a reference, once for all who read the same variable or file.

        Raises ConfigurationError where a variable or a file is missing.
        """
        if isinstance(secret, schema.EncodedSecret) and secret.base64 is not None:
            return JoinedSecret([self.text(part) for part in secret.base64], as_base64)
        if type(secret) is not schema.Secret or not is_local(secret):
            return live_secret(secret, self.environ, self.clock, self.tokens_of, self.signer_of, self.spoken)
        if secret not in self._followed:
            self._followed[secret] = live_secret(secret, self.environ, self.clock, self.tokens_of, self.signer_of)
        return self._followed[secret]

    def text(self, given: str | schema.Secret) -> LiveSecret:
        """The same for what may be no secret. Raises ConfigurationError."""
        return self.secret(given) if isinstance(given, schema.Secret) else PlainText(given)

    def authorization(self, secret: schema.Secret) -> LiveSecret:
        """Follow a reference whose value is a whole `Authorization`: another credential's is what that would send.

        Raises ConfigurationError where a variable or a file is missing.
        """
        if secret.credential is None:
            return self.secret(secret)
        return CredentialSecret(secret.credential, self.tokens_of, self.signer_of, self.authorizing)

    def check_key(
        self, secret: schema.Secret, algorithm: str, password: schema.Secret | None = None, encoding: str | None = None
    ) -> None:
        """Sign once with a local key, to try it. Raises ConfigurationError if it cannot sign.

        `password`: of an encrypted one; `encoding`: how a shared one is written.
        """
        known = (secret, algorithm, password, encoding)
        if not is_local(secret) or known in self._known or (password is not None and not is_local(password)):
            return
        if algorithm.startswith("HS"):
            shared_key(read_secret(secret, self.environ), encoding)
            return
        opens = read_secret(password, self.environ) if password is not None else None
        key = SigningKey(read_secret(secret, self.environ), algorithm, opens, encoding)
        try:
            sign({}, key)
        except CredentialRefused as error:
            raise ConfigurationError(error.detail.replace("The key", "this key")) from None
        self._known[known] = True

    def references(self, value: Any, inputs: list[LiveSecret]) -> dict[schema.Secret, Read]:
        """How to read each secret that stands in claims or in other JSON. Raises ConfigurationError."""
        found = {one.value: self.secret(one.value) for one in every(value) if isinstance(one.value, schema.Secret)}
        inputs += found.values()
        return {secret: live.read for secret, live in found.items()}

    def watched(self, secret: schema.Secret, where: str) -> CurrentSecret:
        """A secret whose current value must be available without waiting. Raises ConfigurationError.

        `where`: what messages call it.
        """
        if secret.exec is not None:
            return PrintedSecret(where, self.secret(secret))
        if not is_local(secret):
            raise ConfigurationError(f"{where}: only a credential can use another one")
        return WatchedSecret(secret, self.environ, self.clock.elapsed)

    def proxy_password(self, via: schema.ViaProxy | None) -> LiveSecret | None:
        """The password for an egress proxy. Raises ConfigurationError if a variable or a file is missing."""
        return self.secret(via.password) if via is not None and via.password is not None else None

    def client(
        self, tls: schema.ClientTls | None, via: schema.ViaProxy | None, timeouts: schema.TokenTimeouts
    ) -> HttpClient:
        """An HTTP client for token requests. Raises ConfigurationError."""
        return self.clients.get(tls, via, timeouts, self.proxy_password(via))

    def discovery(self, client: HttpClient) -> Discovery:
        """The issuer metadata that is fetched with this client."""
        if client not in self._discoveries:
            self._discoveries[client] = Discovery(client, self.clock)
        return self._discoveries[client]

    def manager(
        self,
        name: str,
        source: TokenSource,
        config: schema.Fetched,
        *,
        inputs: Sequence[LiveSecret] = (),
        seed: Seed | None = None,
        keys: DpopKeys | None = None,
        keeps_key: bool = True,
        renews: bool = True,
        stored: bool = True,
        eager: bool = True,
    ) -> TokenManager:
        """The life of a credential's one token, or of one of many: those are not `stored`.

        `eager`: whether it may be renewed without traffic; not where nobody would end that.
        """
        return TokenManager(
            name,
            source,
            store=self.store if stored else MemoryTokenStore(),
            clock=self.clock,
            cache=self.cache,
            scheduler=self.scheduler,
            refresh=config.refresh if eager else structs.replace(config.refresh, eager=False),
            deadline=_deadline(config),
            seed=seed,
            keys=keys,
            keeps_key=keeps_key,
            binding=self.same(binding_of(config)) if stored else UNBOUND,
            renews=renews,
            inputs=self.same(tuple(inputs)),
        )

    def update_secret(self, config: schema.Credential) -> CurrentSecret | None:
        """What guards pushes to a credential, as it is now. Raises ConfigurationError where it is unreadable."""
        guard = config.update if isinstance(config, schema.Renewed) else None
        return self.watched(guard.secret, "update.secret") if guard is not None and guard.secret is not None else None


def _deadline(config: schema.Fetched) -> float:
    """Seconds that a renewal may take. A command has its own limit; `http` may send `refresh` and then `obtain`."""
    if isinstance(config, schema.Exec):
        return config.timeout
    if isinstance(config, schema.Http) and config.refresh.url is not None and config.obtain is not None:
        return 2 * config.timeouts.total
    return config.timeouts.total


def present(value: str | None, name: str) -> str:
    """A string that is not None: the rules of the configuration have made sure."""
    if value is None:
        raise ConfigurationError(f"{name} is missing")
    return value
