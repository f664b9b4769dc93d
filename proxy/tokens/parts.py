"""What is filled into one token request: named secrets, chance, the time, the previous token, the caller's value.

Secrets are read anew for each request, so that whatever was rotated is used at once. Each value is the same wherever it
stands in one request.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from proxy.clock import Clock
from proxy.config.placeholders import is_now, now, places
from proxy.config.schema import Secret
from proxy.errors import CredentialRefused
from proxy.tokens.template import MissingPartError, UnfitPartError
from proxy.tokens.token_response import NOTHING, TokenPair

Read = Callable[[], Awaitable[str]]
"""Reads a secret as it is now; may wait for a command or another credential. Raises CredentialError."""

_UUID_OCTETS = 16
_MILLISECONDS = 1000


class Parts:
    """The values for one credential's placeholders. `secrets`: by their names; `per`: the caller's value.

    `references`: how to read each secret reference that stands in a template itself.
    """

    def __init__(
        self,
        clock: Clock,
        secrets: Mapping[str, Read] | None = None,
        references: Mapping[Secret, Read] | None = None,
        per: str | None = None,
    ) -> None:
        self._clock = clock
        self._secrets = secrets or {}
        self._references = references or {}
        self._per = per

    async def of(self, template: Any, previous: TokenPair = NOTHING) -> dict[str, str | None]:
        """A value for each placeholder in a template; None for what there is not (yet). Raises CredentialError."""
        wall = self._clock.wall()
        parts: dict[str, str | None] = {
            "access_token": previous.access.access_token if previous.access else None,
            "refresh_token": previous.refresh_token,
            "per": self._per,
        }
        for name in places(template) - parts.keys():
            if name in self._secrets:
                parts[name] = await self._secrets[name]()
            elif name == "uuid":
                parts[name] = str(uuid.UUID(bytes=self._clock.octets(_UUID_OCTETS), version=4))
            elif name == "timestamp":
                parts[name] = str(int(wall))
            elif name == "timestamp_ms":
                parts[name] = str(int(wall * _MILLISECONDS))
            elif is_now(name):
                parts[name] = now(name, wall)
        return parts

    async def resolved(self, value: Any) -> Any:
        """The same value with each secret reference in it read. Raises CredentialError."""
        if isinstance(value, Secret):
            return await self._references[value]()
        if isinstance(value, Mapping):
            return {name: await self.resolved(member) for name, member in value.items()}
        if isinstance(value, list | tuple):
            return [await self.resolved(member) for member in value]
        return value


def unfilled(error: MissingPartError | UnfitPartError) -> CredentialRefused:
    """Why a token request cannot be made."""
    if isinstance(error, MissingPartError):
        return CredentialRefused(f"The token request needs a value for {error}, and there is none")
    return CredentialRefused(f"The value for {error} would lead the token request elsewhere")
