"""AWS keys as a source of tokens: a token is the keys as JSON, and its life is theirs."""

from __future__ import annotations

from proxy.auth.aws_keys import as_text
from proxy.clock import Clock
from proxy.model import Token
from proxy.tokens.aws.keys import KeyGiver
from proxy.tokens.lifetime import Asked, LastStated, dated, life
from proxy.tokens.token_response import TokenPair, TokenResponse


class AwsKeySource:
    """Asks for keys anew each time."""

    def __init__(self, keys: KeyGiver, clock: Clock, assumed: float) -> None:
        """`assumed`: seconds after which keys without an end are asked for again."""
        self._keys = keys
        self._clock = clock
        self._assumed = assumed
        self._last_stated = LastStated()

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        """The keys of now. Raises CredentialUnavailable or CredentialRefused."""
        assumed = self._last_stated.after(previous.access, self._assumed)
        asked = Asked(self._clock.wall(), self._clock.elapsed())
        given = await self._keys.give()
        token = Token(access_token=as_text(given.keys), token_type="AWS4-HMAC-SHA256")  # noqa: S106 - a scheme's name
        return TokenResponse(dated(token, asked, life(asked, "", expires_at=given.expires_at, assumed=assumed)))
