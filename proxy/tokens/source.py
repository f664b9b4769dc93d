"""The one interface of every origin of tokens."""

from __future__ import annotations

from typing import Protocol

from proxy.model import Token


class TokenSource(Protocol):
    """Where one credential's tokens come from. Knows nothing of caching, back-off or concurrency: the manager does."""

    async def fetch(self, previous: Token | None) -> Token:
        """One new token; `previous` is the last one known, expired or not, with its refresh token.

        Raises CredentialUnavailable (later may help) or CredentialRefused (only a change helps). `generation` is the
        manager's to set.
        """
