"""All parts of one credential: what the data path, the admin side and a runtime need.

There may be thousands, most of them idle: the admin side's view of one is made on demand.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

from proxy.admin import ports
from proxy.assembly.printed_secret import CurrentSecret
from proxy.config import schema
from proxy.tokens.credential import Credential
from proxy.tokens.http_client import HttpClient
from proxy.tokens.manager import TokenManager
from proxy.tokens.secret import Signer
from proxy.tokens.sources.issuer import IssuerSource


@dataclass(eq=False, slots=True)
class CredentialRuntime:
    """All parts of one credential.

    `manager`: of its one token that is renewed or pushed. `update_secret`: its update guard's, as it is now. `close`:
    ends what else there is of it. `signer`: where its tokens are signed here, makes another one for whoever sends it as
    an assertion. `issuer`: the source of its one token, if a person can be asked for that. `keys_client`: the way to
    its guard's key set, where that is through an egress proxy.
    """

    config: schema.Credential
    credential: Credential
    manager: TokenManager | None = None
    update_secret: CurrentSecret | None = None
    close: Callable[[], Awaitable[None]] | None = None
    signer: Signer | None = None
    issuer: IssuerSource | None = None
    keys_client: HttpClient | None = None

    @property
    def life(self) -> int:
        """Identifies the tokens: the same for two that differ only in keys for the admin side."""
        return id(self.credential)

    async def start(self) -> None:
        """Start it. Never raises because there is no token."""
        if self.manager is not None:
            await self.manager.start()

    async def stop(self, *, within: float = math.inf) -> None:
        """Stop it. `within`: seconds for an answer that must not be lost."""
        if self.manager is not None:
            await self.manager.stop(within=within)
        if self.close is not None:
            await self.close()

    @property
    def entry(self) -> ports.CredentialView:
        """The admin side's view of it."""
        config, kind = self.config, self.credential.type
        if isinstance(config, schema.AwsSigV4):
            return ports.CredentialView(
                type=kind,
                tokens=self.manager,
                eager=self.manager is not None and config.refresh.eager,
                required=config.required,
                default_expires_in=config.default_expires_in,
            )
        if not isinstance(config, schema.Renewed):
            return ports.CredentialView(type=kind)
        return ports.CredentialView(
            type=kind,
            tokens=self.manager,
            eager=self.manager is not None and config.refresh.eager,
            required=config.required,
            vend=config.vend,
            kind="DPoP" if isinstance(config, schema.OAuth2) and config.dpop else "Bearer",
            default_expires_in=config.default_expires_in,
            update=config.update,
            update_secret=self.update_secret.current if self.update_secret is not None else None,
            keys_client=self.keys_client,
        )


class Entries(Mapping[str, ports.CredentialView]):
    """The admin side's view of credentials. Each entry is made on demand."""

    def __init__(self, built: Mapping[str, CredentialRuntime]) -> None:
        self._built = built

    def __getitem__(self, name: str) -> ports.CredentialView:
        """The view of one credential."""
        return self._built[name].entry

    def __iter__(self) -> Iterator[str]:
        """The names of all."""
        return iter(self._built)

    def __len__(self) -> int:
        """The number of credentials."""
        return len(self._built)
