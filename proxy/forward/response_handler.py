"""What an upstream connection tells the exchange that uses it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from proxy.errors import ProxyError
from proxy.http1.answer import AnswerHead


class ResponseHandler(Protocol):
    """`done`: the answer is complete with this."""

    @property
    def onto(self) -> asyncio.Transport | None:
        """Where all that `more` is told goes at once, so that it may be a view; None while it might be kept."""

    def informed(self, head: AnswerHead) -> None:
        """An interim answer (1xx)."""

    def switched(self, head: AnswerHead, rest: bytes) -> None:
        """A 101: from here on the connection carries another protocol, `rest` first. Raises MalformedAnswer."""

    def answered(self, head: AnswerHead, pieces: list[bytes], *, done: bool) -> None:
        """The final head, with what came of the body in the same read."""

    def more(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the body."""

    def broken(self, error: ProxyError) -> None:
        """The answer will not become complete."""

    def upstream_full(self) -> None:
        """The upstream takes no more octets for now."""

    def upstream_drained(self) -> None:
        """It takes octets again."""
