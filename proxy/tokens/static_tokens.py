"""Tokens that are given, not fetched: API keys, passwords, projected tokens. They change when their giver says so."""

from __future__ import annotations

from proxy.errors import CredentialRefused
from proxy.model import Token
from proxy.tokens.secret import LiveSecret


class FixedTokens:
    """One secret, as the token that it is now."""

    def __init__(self, secret: LiveSecret) -> None:
        self._secret = secret
        self._ready = secret.ready
        self._token: Token | None = None

    def ready(self) -> Token | None:
        """The token; None where a command must be run first. The same object as long as it is the same secret."""
        value = self._ready()
        return None if value is None else self._as_token(value)

    async def current(self) -> Token:
        """The token. Raises CredentialError where it cannot be read."""
        return self._as_token(await self._secret.read())

    def predecessor(self, young: Token) -> None:
        """None: a secret that was exchanged on purpose is not sent again."""

    async def renew(self, refused: Token) -> Token:
        """The token, if it is another one by now. Raises CredentialRefused: nobody can be asked for another."""
        token = self.ready()
        if token is None or token.access_token == refused.access_token:
            token = self._as_token(await self._secret.read(anew=True))
        if token.access_token == refused.access_token:
            raise CredentialRefused("The configured value was refused, and it has not changed")
        return token

    def _as_token(self, value: str) -> Token:
        token = self._token
        if token is None or token.access_token != value:
            token = Token(access_token=value, generation=token.generation + 1 if token else 1)
            self._token = token
        return token
