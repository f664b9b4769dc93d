"""A conversation's next token.

While the last one lives it is refreshed with itself. An expired one cannot be refreshed (the reference says so, and a
suspended machine makes it happen): the secret then asks for the conversation, and the answer holds a token for it. With
enhanced authentication the service refuses that (400 MissingProperty); then only the app can start anew.
"""

from __future__ import annotations

from collections.abc import Callable

from proxy.clock import Clock
from proxy.errors import CredentialError, CredentialRefused
from proxy.model import Token
from proxy.tokens import reply
from proxy.tokens.credential import Tokens
from proxy.tokens.direct_line.traffic import lesson
from proxy.tokens.http_client import HttpClient
from proxy.tokens.lifetime import Asked, ended
from proxy.tokens.template import UnfitPartError, quoted_segment
from proxy.tokens.token_response import TokenPair, TokenResponse


class Service:
    """The Direct Line service as we ask it ourselves. `url` ends in /v3/directline; `secret` gives the secret."""

    def __init__(self, client: HttpClient, clock: Clock, url: str, secret: Tokens, *, assumed: float = 300.0) -> None:
        """`assumed`: the lifetime of a token that states none, in seconds."""
        self._client = client
        self._clock = clock
        self._url = url.rstrip("/")
        self._secret = secret
        self._assumed = assumed

    async def refresh(self, conversation: str, token: str) -> Token:
        """The successor of a token that has not expired. Raises CredentialUnavailable or CredentialRefused."""
        return await self._ask("POST", "/tokens/refresh", token, conversation)

    async def reconnect(self, conversation: str) -> Token:
        """A token for a conversation that is going on. Raises CredentialUnavailable or CredentialRefused."""
        secret = await self._secret.current()
        try:
            segment = quoted_segment(conversation)
        except UnfitPartError:
            raise CredentialRefused("This names no conversation") from None
        return await self._ask("GET", f"/conversations/{segment}", secret.access_token, conversation)

    async def _ask(self, method: str, path: str, bearer: str, conversation: str) -> Token:
        asked = Asked(self._clock.wall(), self._clock.elapsed())
        headers = [("Authorization", f"Bearer {bearer}")]
        received = await self._client.send(method, self._url + path, headers=headers)
        learned = lesson(received.status, received.body, asked, self._assumed)
        if learned is not None and learned.conversation == conversation:
            return learned.token
        later = received.headers.get("Retry-After")
        try:
            reply.read(received.status, received.body, asked, reply.Expected(assumed=self._assumed), retry_later=later)
        except CredentialError as error:
            if error.refuses_grant:  # whatever the code: the service's are not those of OAuth
                raise CredentialRefused(error.detail) from None
            raise
        raise CredentialRefused("The service's answer is about another conversation")


class ConversationSource:
    """The tokens of one conversation."""

    def __init__(self, service: Service, conversation: str, clock: Clock, lost: Callable[[str], None]) -> None:
        """`clock` tells whether the previous token lives; `lost` hears of a conversation that cannot be had again."""
        self._service = service
        self._conversation = conversation
        self._clock = clock
        self._lost = lost

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        """Refresh the previous token, or ask for the conversation. Raises CredentialUnavailable, CredentialRefused."""
        access = previous.access
        if access is not None and not ended(access, self._clock.wall(), self._clock.elapsed()):
            try:
                return TokenResponse(await self._service.refresh(self._conversation, access.access_token))
            except CredentialRefused:
                return TokenResponse(await self._service.reconnect(self._conversation))
        try:
            return TokenResponse(await self._service.reconnect(self._conversation))
        except CredentialRefused:
            self._lost(self._conversation)
            raise
