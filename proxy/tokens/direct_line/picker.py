"""Which token a Direct Line request has, and what its answer teaches.

    tokens/generate                          the secret
    conversations/{id}/…                     that conversation's token; the secret while it has none that is usable
    tokens/refresh, POST conversations,      the newest token of the conversation that the app's own token belongs to:
    anything else                            remembered from an answer, or by its (unverified) `conv` claim
      … no conversation is known for it      tokens/refresh: the app's own token; else the secret

What the app sends is a hint about which conversation it means, never a credential, but for one case: a token of a
conversation that we do not know (we were restarted) asks for its own successor, or starts its own conversation.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from urllib.parse import urlsplit

from proxy.clock import Clock
from proxy.errors import CallerUnknown, CredentialError, CredentialRefused
from proxy.model import Request, Token
from proxy.tokens.credential import Tokens
from proxy.tokens.direct_line.book import Book, Conversation
from proxy.tokens.direct_line.conversation_source import Service
from proxy.tokens.direct_line.traffic import Operation, about, bearer, claimed_by, lesson
from proxy.tokens.lifetime import Asked, jwt_claims
from proxy.tokens.spelled_time import instant


class DirectLinePicker:
    """A Picker and a Learner. `secret` gives the Direct Line secret; it may change while we run."""

    strips: tuple[bytes, ...] = ()

    def __init__(
        self,
        book: Book,
        service: Service,
        secret: Tokens,
        clock: Clock,
        url: str,
        *,
        per_conversation: bool = True,
        assumed: float = 300.0,
    ) -> None:
        """`url`: the service's, of which the path counts; `assumed`: seconds that a token lives that states none."""
        self.book = book
        self._service = service
        self._secret = secret
        self._clock = clock
        self._base = urlsplit(url).path.rstrip("/").lower().encode("latin-1")
        self._per_conversation = per_conversation
        self._assumed = assumed

    def pick(self, request: Request, field: Callable[[bytes], bytes | None]) -> Tokens:
        """The tokens of a request. Raises CallerUnknown where there is no token to refresh."""
        asked = about(request, self._base)
        if asked.operation is Operation.GENERATE:
            return self._secret
        if not self._per_conversation:
            return self._own(field) if asked.operation is Operation.REFRESH else self._secret
        if asked.conversation is None:
            return self._by_own_token(asked.operation, field)
        known = self.book.find(asked.conversation)
        if known is None:
            return self._secret
        return (
            _Stream(known, self._secret)
            if asked.operation is Operation.STREAM
            else _OfConversation(known, self._secret)
        )

    def whose(self, tokens: Tokens) -> object:
        """The conversation, if it is one that we know."""
        return tokens.known if isinstance(tokens, _OfConversation) else self

    def wants_answer(self, request: Request) -> bool:
        """Whether the answer may hold a token."""
        return self._per_conversation and about(request, self._base).teaches

    def learn(self, request: Request, status: int, body: bytes) -> None:
        """Remember the token of an answer for its conversation."""
        if self.wants_answer(request):
            learned = lesson(status, body, Asked(self._clock.wall(), self._clock.elapsed()), self._assumed)
            if learned is not None:
                self.book.learn(learned.conversation, learned.token)

    async def recover(self, conversation: str) -> Token:
        """A token for a conversation that we do not know, which is known then. Raises CredentialError."""
        token = await self._service.reconnect(conversation)
        self.book.learn(conversation, token)
        return token

    def _by_own_token(self, operation: Operation, field: Callable[[bytes], bytes | None]) -> Tokens:
        own = bearer(field(b"authorization"))
        claimed = claimed_by(own) if own is not None else None
        meant = (self.book.of_token(own) if own is not None else None) or claimed
        fallback = self._own(field) if operation is Operation.REFRESH else self._secret
        known = self.book.find(meant) if meant is not None else None
        if known is not None:
            return _OfConversation(known, fallback)
        if own is not None and claimed is not None:
            return _OfStranger(self, own, claimed, fallback, self._clock)
        return fallback

    @staticmethod
    def _own(field: Callable[[bytes], bytes | None]) -> Tokens:
        own = bearer(field(b"authorization"))
        if own is None:
            raise CallerUnknown("There is no token to refresh")
        return _Own(own)


class _OfConversation:
    """The token of a known conversation; the fallback's while it has none that is usable, and once it is forgotten."""

    __slots__ = ("_fallback", "known")

    def __init__(self, known: Conversation, fallback: Tokens) -> None:
        self.known = known
        self._fallback = fallback

    def ready(self) -> Token | None:
        return self.known.life.ready()

    async def current(self) -> Token:
        if self.known.learning is not None:
            await asyncio.wait((self.known.learning,))
        if not self.known.forgotten:
            with contextlib.suppress(CredentialError):
                return await self.known.life.current()
        return await self._fallback.current()

    def predecessor(self, young: Token) -> Token | None:
        return None if self.known.forgotten else self.known.life.predecessor(young)

    async def renew(self, refused: Token) -> Token:
        if not self.known.forgotten:
            with contextlib.suppress(CredentialError):
                return await self.known.life.renew(refused)
        return await _other(self._fallback, refused)


class _Stream(_OfConversation):
    """The token in the URL is the one that the service judges: where it is refused, no token of ours helps."""

    __slots__ = ()

    def predecessor(self, young: Token) -> None:  # noqa: ARG002 - the interface
        return None

    async def renew(self, refused: Token) -> Token:  # noqa: ARG002 - the interface
        raise CredentialRefused("The token in the stream's URL was refused")


class _OfStranger:
    """The app's own token while it lives; once it does not, one that the secret gets for the conversation it claims."""

    __slots__ = ("_conversation", "_fallback", "_lives", "_own", "_picker")

    def __init__(self, picker: DirectLinePicker, own: str, conversation: str, fallback: Tokens, clock: Clock) -> None:
        self._picker = picker
        self._conversation = conversation
        self._fallback = fallback
        self._own = Token(access_token=own)
        ends = instant(jwt_claims(own).get("exp"))
        self._lives = ends is None or clock.wall() < ends

    def ready(self) -> Token | None:
        return self._own if self._lives else None

    async def current(self) -> Token:
        with contextlib.suppress(CredentialError):
            return await self._picker.recover(self._conversation)
        return await self._fallback.current()

    def predecessor(self, young: Token) -> None:  # noqa: ARG002 - the interface
        return None

    async def renew(self, refused: Token) -> Token:
        with contextlib.suppress(CredentialError):
            return await self._picker.recover(self._conversation)
        return await _other(self._fallback, refused)


class _Own:
    """The app's own token, as it is."""

    __slots__ = ("_token",)

    def __init__(self, own: str) -> None:
        self._token = Token(access_token=own)

    def ready(self) -> Token:
        return self._token

    async def current(self) -> Token:
        return self._token

    def predecessor(self, young: Token) -> None:  # noqa: ARG002 - the interface
        return None

    async def renew(self, refused: Token) -> Token:  # noqa: ARG002 - the interface
        raise CredentialRefused("The app's own token was refused")


async def _other(fallback: Tokens, refused: Token) -> Token:
    token = await fallback.current()
    return token if token.access_token != refused.access_token else await fallback.renew(refused)
