"""The parts of one `direct_line` credential, put together."""

from __future__ import annotations

from collections.abc import Callable

from proxy.clock import Clock
from proxy.config.schema import DirectLine, RefreshRule
from proxy.tokens.credential import Tokens
from proxy.tokens.direct_line.book import Book, ConversationTokens
from proxy.tokens.direct_line.conversation_source import ConversationSource, Service
from proxy.tokens.direct_line.picker import DirectLinePicker
from proxy.tokens.http_client import HttpClient
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.source import TokenSource

REFRESH_ON = (RefreshRule(status=403, body_contains="TokenExpired"),)
"""How the service says that a token has expired; 400 `MissingProperty` is the app's to see."""


def assemble(
    config: DirectLine,
    secret: Tokens,
    manager: Callable[[TokenSource], ConversationTokens],
    *,
    client: HttpClient,
    clock: Clock,
    scheduler: RefreshScheduler,
) -> DirectLinePicker:
    """The picker and learner of a credential. `manager` makes a `TokenManager` that keeps its record in memory."""
    assumed = config.default_expires_in
    service = Service(client, clock, config.domain, secret, assumed=assumed)
    book = Book(
        lambda conversation, lost: ConversationSource(service, conversation, clock, lost),
        manager,
        clock,
        scheduler,
        idle=config.conversation_idle,
        most=config.max_conversations,
    )
    return DirectLinePicker(
        book, service, secret, clock, config.domain, per_conversation=config.per_conversation, assumed=assumed
    )
