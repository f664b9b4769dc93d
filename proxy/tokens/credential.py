"""A credential as the data path sees it: how requests are signed, and where the token for one request is at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from proxy.auth.scheme import Scheme
from proxy.config.schema import RefreshRule
from proxy.model import Request, Token


class Tokens(Protocol):
    """One token and its life."""

    def ready(self) -> Token | None:
        """A usable token, now; None where one must be waited for. Starts a background renewal when one is due."""

    async def current(self) -> Token:
        """A usable token, waiting for one if need be. Raises CredentialError."""

    def predecessor(self, young: Token) -> Token | None:
        """The token before this one, to be sent in its place, if this one is too new for every API to know of it.

        None where it is not that new, or its predecessor has ended or was itself refused.
        """

    async def renew(self, refused: Token) -> Token:
        """A token other than the one that was refused: one renewal, however many ask. Raises CredentialError."""


class Picker(Protocol):
    """Which of a credential's many tokens a request has: per caller, per tenant, per conversation, per URL.

    `strips`: lower-case names of request fields that the upstream must not see.
    """

    strips: tuple[bytes, ...]

    def pick(self, request: Request, field: Callable[[bytes], bytes | None]) -> Tokens:
        """`field` gives the caller's value of a lower-case field name. Raises CallerUnknown."""

    def whose(self, tokens: Tokens) -> object:
        """What stands for the caller or the conversation of picked tokens: the same object for each of its requests."""


class ResponseObserver(Protocol):
    """What finds tokens in the upstream's own answers (Direct Line hands out one with each new conversation).

    The answer goes to the app unchanged; only bodies up to 64 KiB are shown, whole, identity or gzip as they came. The
    data path lowers the caller's `Accept-Encoding` to these two where an answer is wanted.
    """

    def wants_answer(self, request: Request) -> bool:
        """Whether the answer to this request may hold a token; asked before the request goes out."""

    def learn(self, request: Request, status: int, body: bytes) -> None:
        """One whole answer. Never raises: an answer that says nothing teaches nothing."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What a route needs: `tokens` for a credential with one token, else `picker`; `observer` where answers teach.

    `refresh_on`: how this credential's API says that a token was refused, besides what the route says. `body_buffer`:
    octets of a body that are gathered to be signed; a larger one is refused with 413.
    """

    name: str
    type: str
    scheme: Scheme
    tokens: Tokens | None = None
    picker: Picker | None = None
    observer: ResponseObserver | None = None
    refresh_on: tuple[RefreshRule, ...] = ()
    body_buffer: int = 1024 * 1024
