"""A refused answer, kept while its credential is renewed: the app gets it if the renewal fails."""

from __future__ import annotations

from proxy.errors import ProxyError
from proxy.http1.answer import AnswerHead

MAX_HELD = 64 * 1024
"""Octets of a refused answer's body that are kept; a longer one waits in its connection."""


class HeldResponse:
    """`judged`: what the answer means has been decided; `full`: no more should be read for now."""

    __slots__ = ("done", "error", "head", "judged", "pieces", "size")

    def __init__(self, head: AnswerHead, pieces: list[bytes], *, done: bool) -> None:
        self.head = head
        self.pieces = pieces
        self.size = sum(map(len, pieces))
        self.done = done
        self.judged = False
        self.error: ProxyError | None = None

    @property
    def full(self) -> bool:
        """Whether as much is held as may be."""
        return self.size >= MAX_HELD

    def add(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the body."""
        self.pieces += pieces
        self.size += sum(map(len, pieces))
        self.done = done

    def body(self) -> bytes:
        """The body so far, up to the bound."""
        return b"".join(self.pieces)[:MAX_HELD]
