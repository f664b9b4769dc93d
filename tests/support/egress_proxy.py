"""An egress proxy as companies run them: it wants a password, connects to few ports, and is sent all else itself.

async with EgressProxy(login="u:p", ports={upstream.port}) as egress:
    …
    egress.heads          # of all requests, as they came
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from collections.abc import Collection
from types import TracebackType
from typing import Self

_ABSOLUTE = re.compile(rb"([A-Z]+) http://(?:\[([0-9a-f:]+)\]|([^/:? ]+))(?::([0-9]+))?([^ ]*) HTTP/1\.1\r\n")
_DENIED = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\n"
    b"Content-Length: 15\r\n\r\nthe-proxys-text"
)


class EgressProxy:
    """`login`: user name and password, joined by a colon, in UTF-8; `ports`: where CONNECT may lead, None: anywhere.

    `answer`: what every CONNECT is answered instead. All names lead to this machine.
    """

    def __init__(
        self, *, login: str | None = None, ports: Collection[int] | None = None, answer: bytes | None = None
    ) -> None:
        self.login = login
        self.ports = ports
        self.answer = answer
        self.heads: list[bytes] = []
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[bytes]:
        """The request lines."""
        return [head.partition(b"\r\n")[0] for head in self.heads]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    pass
        finally:
            writer.transport.abort() if task.cancelling() else writer.close()
            self._open.discard(task)

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; False where no other comes behind it."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        connect = head.startswith(b"CONNECT ")
        if connect and self.answer is not None:
            writer.write(self.answer)
            return False
        body = await _body(head, reader)
        if not self._knows(head):
            writer.write(_DENIED)
            return not connect
        if not connect:
            writer.write(await _forwarded(head, body))
            return True
        port = int(head.split(b" ")[1].rpartition(b":")[2])
        if self.ports is not None and port not in self.ports:
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
            return False
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")
        try:
            await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            far_writer.transport.abort()
        return False

    def _knows(self, head: bytes) -> bool:
        if self.login is None:
            return True
        wanted = b"\r\nProxy-Authorization: Basic " + base64.b64encode(self.login.encode()) + b"\r\n"
        return head.count(wanted) == 1 and head.lower().count(b"\r\nproxy-authorization:") == 1


async def _body(head: bytes, reader: asyncio.StreamReader) -> bytes:
    length = re.search(rb"\r\nContent-Length: ([0-9]+)", head, re.IGNORECASE)
    return await reader.readexactly(int(length[1])) if length is not None else b""


async def _forwarded(head: bytes, body: bytes) -> bytes:
    """The answer to a request in absolute form, whose fields for the proxy stay here."""
    found = _ABSOLUTE.match(head)
    if found is None:
        return b"HTTP/1.1 400 Not in absolute form\r\nContent-Length: 0\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", int(found[4] or 80))
    try:
        target = found[5] or (b"*" if found[1] == b"OPTIONS" else b"/")
        rest = re.sub(rb"Proxy-Authorization:[^\r]*\r\n", b"", head[found.end() :])
        writer.write(found[1] + b" " + target + b" HTTP/1.1\r\n" + rest + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        return answer + await _body(answer, reader)
    finally:
        writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(2**16):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
