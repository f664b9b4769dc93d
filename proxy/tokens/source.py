"""The one interface of every origin of tokens."""

from __future__ import annotations

from typing import Protocol

from proxy.tokens.token_response import TokenPair, TokenResponse


class TokenSource(Protocol):
    """Where one credential's tokens come from. Knows nothing of caching, back-off or concurrency: the manager does."""

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        """One new token; `previous`: the last one known, expired or not, and the refresh token.

        Raises CredentialUnavailable (later may help; ReplyLost where what was sent may be spent) or CredentialRefused
        (only a change helps; GrantRefused where another grant may do). `generation` is the manager's to set.
        """
