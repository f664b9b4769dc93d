"""The conversations that are known: what the service's answers told, and what became of it.

Ordered by their last use. The least recently used one goes first when there are too many, and each goes when it was not
used for long: its token is renewed until then, with traffic or without. App tokens are remembered by their hash only.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from proxy.clock import Clock
from proxy.defects import known
from proxy.model import Token
from proxy.tokens.credential import Tokens
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.source import TokenSource
from proxy.tokens.token_response import TokenResponse

_log = logging.getLogger("auth_sidecar.tokens")

_REMEMBERED = 16
"""Tokens of one conversation that the app may still come back with; older ones are found by what they claim."""


class ConversationTokens(Tokens, Protocol):
    """What the book needs of a `TokenManager`."""

    def held(self) -> Token | None:
        """The last token known, usable or not."""

    async def adopt(self, came: TokenResponse) -> Token:
        """Take in a token from outside."""

    async def stop(self) -> None:
        """End."""


class Conversation:
    """One conversation. `learning`: the last token on its way into `life`, there at the next turn of the loop.

    `forgotten`: the book knows it no more, and `life` must not be asked any longer.
    """

    __slots__ = ("__weakref__", "forgotten", "learning", "life", "tokens", "used")

    def __init__(self, life: ConversationTokens) -> None:
        """`life` keeps its token fresh from the first `adopt` on."""
        self.life = life
        self.forgotten = False
        self.used = 0.0
        self.tokens: list[bytes] = []
        self.learning: asyncio.Task[Token] | None = None

    def learned(self, task: asyncio.Task[Token]) -> None:
        """Drop the finished task: there may be thousands of conversations."""
        if self.learning is task:
            self.learning = None
        if not task.cancelled() and (error := task.exception()) is not None:
            known(_log, "while a conversation's token was taken in", error)


class Book:
    """Needs a running loop from the first lesson on."""

    def __init__(
        self,
        source: Callable[[str, Callable[[str], None]], TokenSource],
        manager: Callable[[TokenSource], ConversationTokens],
        clock: Clock,
        scheduler: RefreshScheduler,
        *,
        idle: float = 86400.0,
        most: int = 10_000,
    ) -> None:
        """`source` makes a conversation's source, `manager` the life of its token; `idle`: seconds.

        What a source is given besides the conversation's name is to be called with it if the conversation is lost.
        """
        self._source = source
        self._manager = manager
        self._clock = clock
        self._scheduler = scheduler
        self._idle = idle
        self._most = most
        self._known: OrderedDict[str, Conversation] = OrderedDict()
        self._by_token: dict[bytes, str] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many conversations are known."""
        return len(self._known)

    def find(self, conversation: str) -> Conversation | None:
        """A known conversation, which is hereby used."""
        found = self._known.get(conversation)
        if found is not None:
            found.used = self._clock.elapsed()
            self._known.move_to_end(conversation)
        return found

    def of_token(self, token: str) -> str | None:
        """The conversation that the service gave this very token for, if it is still known."""
        return self._by_token.get(_hashed(token))

    def learn(self, conversation: str, token: Token) -> Conversation:
        """Take in what an answer told: a token of a conversation, known or not."""
        known = self.find(conversation)
        if known is None:
            known = self._open(conversation)
        self._remember(conversation, known, token.access_token)
        if _lives_longer(token, known.life.held()):
            known.learning = asyncio.create_task(known.life.adopt(TokenResponse(token)))
            known.learning.add_done_callback(known.learned)
        return known

    def forget(self, conversation: str) -> None:
        """Drop a conversation: its token is renewed no longer, and its requests go with the secret."""
        forgotten = self._known.pop(conversation, None)
        if forgotten is None:
            return
        forgotten.forgotten = True
        for digest in forgotten.tokens:
            self._by_token.pop(digest, None)
        ending = asyncio.create_task(_end(forgotten))
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def renew_if_due(self) -> bool:
        """Forget the conversations that were idle for too long: a turn of the scheduler."""
        now = self._clock.elapsed()
        while self._known and next(iter(self._known.values())).used + self._idle <= now:
            self.forget(next(iter(self._known)))
        self._schedule()
        return False

    async def close(self) -> None:
        """Forget all, and wait for what that ends."""
        self._scheduler.forget(self)
        while self._known:
            self.forget(next(iter(self._known)))
        if self._ending:
            await asyncio.wait(set(self._ending))

    def _open(self, conversation: str) -> Conversation:
        known = self._known[conversation] = Conversation(self._manager(self._source(conversation, self.forget)))
        known.used = self._clock.elapsed()
        while len(self._known) > self._most:
            self.forget(next(iter(self._known)))
        self._schedule()
        return known

    def _remember(self, conversation: str, known: Conversation, token: str) -> None:
        digest = _hashed(token)
        if digest in known.tokens:
            return
        if len(known.tokens) == _REMEMBERED:
            self._by_token.pop(known.tokens.pop(0), None)
        known.tokens.append(digest)
        self._by_token[digest] = conversation

    def _schedule(self) -> None:
        if self._known:
            self._scheduler.schedule(self, next(iter(self._known.values())).used + self._idle)


async def _end(conversation: Conversation) -> None:
    if conversation.learning is not None:
        await asyncio.wait((conversation.learning,))
    await conversation.life.stop()


def _lives_longer(token: Token, held: Token | None) -> bool:
    """Every token of a conversation works until its own end, whichever came last."""
    if held is None or held.expires_wall is None or token.expires_wall is None:
        return True
    return token.expires_wall > held.expires_wall


def _hashed(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
