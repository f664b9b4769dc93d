"""The configured beginning of a grant: a refresh token, or a whole token that somebody got elsewhere. Read when needed.

The seed is used once: after that the record holds newer tokens. It is used again only when its value changes.
"""

from __future__ import annotations

from proxy.clock import Clock
from proxy.config.schema import InitialToken
from proxy.model import Token
from proxy.tokens.lifetime import Asked, dated, life
from proxy.tokens.secret import LiveSecret
from proxy.tokens.spelled_time import instant
from proxy.tokens.token_response import TokenPair


class ConfiguredSeed:
    """`initial`: its numbers; `access_token` and `refresh_token`: its secrets. `assumed`: a lifetime nobody stated."""

    def __init__(
        self,
        clock: Clock,
        *,
        initial: InitialToken | None = None,
        access_token: LiveSecret | None = None,
        refresh_token: LiveSecret | None = None,
        assumed: float = 300.0,
    ) -> None:
        self._clock = clock
        self._initial = initial or InitialToken()
        self._access_token = access_token
        self._refresh_token = refresh_token
        self._assumed = assumed

    async def __call__(self) -> TokenPair:
        """The seed, expired or not. Raises CredentialError where it cannot be read."""
        access_token = await self._access_token.read() if self._access_token else ""
        refresh_token = await self._refresh_token.read() if self._refresh_token else ""
        access = self._lived(Token(access_token=access_token)) if access_token else None
        return TokenPair(access, refresh_token or None)

    def _lived(self, token: Token) -> Token:
        """When it was issued is when `timestamp` says, and never in the future; without one, now."""
        wall, elapsed = self._clock.wall(), self._clock.elapsed()
        said = instant(self._initial.timestamp)
        asked = Asked(wall, elapsed) if said is None else Asked(min(said, wall), elapsed - max(0.0, wall - said))
        lived = life(asked, token.access_token, expires_in=self._initial.expires_in, assumed=self._assumed)
        return dated(token, asked, lived)
