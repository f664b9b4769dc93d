"""Heads and bodies of HTTP/1.1, as both ends of the sidecar see them: just enough, and every octet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

PIECE = 48 * 1024


@dataclass(frozen=True)
class Head:
    """First line and field lines, each without its CRLF."""

    first: bytes
    lines: tuple[bytes, ...]

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field."""
        split = (line.partition(b":") for line in self.lines)
        return [value.strip() for found, _, value in split if found.lower() == name]

    @property
    def status(self) -> int:
        """Of an answer."""
        return int(self.first.split(b" ", 2)[1])

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks."""
        return self.values(b"transfer-encoding") == [b"chunked"]

    @property
    def length(self) -> int | None:
        """The stated length of the body."""
        found = self.values(b"content-length")
        return int(found[0]) if found else None


class Cut(Exception):
    """The connection ended where it must not. `before`: in good order, and nothing of the answer had come."""

    def __init__(self, reason: str, *, before: bool = False) -> None:
        super().__init__(reason)
        self.before = before


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head; None where the connection ends instead. Raises Cut."""
    try:
        octets = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise Cut("the connection ended within a head") from None
    except OSError as error:
        raise Cut(type(error).__name__) from None  # a reset destroys what was not read yet: there may have been a head
    first, *lines = octets[:-4].split(b"\r\n")
    return Head(first, tuple(lines))


async def read_body(reader: asyncio.StreamReader, head: Head, *, answer: bool) -> AsyncIterator[bytes]:
    """The body, piece by piece. Raises Cut where it is not whole."""
    try:
        if head.chunked:
            while size := int(await reader.readuntil(b"\r\n"), 16):
                yield await reader.readexactly(size)
                await reader.readexactly(2)
            await reader.readexactly(2)
        elif (left := head.length) is not None:
            while left:
                piece = await reader.read(min(left, PIECE))
                if not piece:
                    raise Cut("the connection ended within a body")
                left -= len(piece)
                yield piece
        elif answer:
            while piece := await reader.read(PIECE):
                yield piece
    except (asyncio.IncompleteReadError, OSError) as error:
        raise Cut(type(error).__name__) from None


def chunk(octets: bytes) -> bytes:
    """One chunk."""
    return b"%x\r\n%b\r\n" % (len(octets), octets)


def pieces(octets: bytes, size: int = PIECE) -> list[bytes]:
    """A body as it is sent, bit by bit."""
    return [octets[at : at + size] for at in range(0, len(octets), size)]
