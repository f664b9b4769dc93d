"""The APIs behind the routes: they answer what was ordered, and let nobody in without the route's own credential."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Self

from proxy.sandbox.sandbox_server import Sandbox
from soak.gate import Gate, account
from soak.order import SECURE, Order, ordered
from soak.wire import PIECE, Cut, Head, chunk, pieces, read_body, read_head

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_RESET = struct.pack("ii", 1, 0)
_ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3


def refusal(order: Order) -> bytes:
    """The body of a 401."""
    return b"order %d is refused" % order.number


class Apis:
    """One listener for all but `secure`, which has one with TLS.

    `generations`: of the configuration, as far as they were seen here. `leaves`: the share of answers behind which the
    connection ends without a word, though it could have been kept.
    """

    def __init__(self, sandbox: Sandbox, tls: ssl.SSLContext) -> None:
        self._sandbox = sandbox
        self._tls = tls
        self._mishaps = random.Random(7)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._complaints: list[str] = []
        self.generations: set[bytes] = set()
        self.leaves = 0.0

    async def __aenter__(self) -> Self:
        listening: dict[str, Any] = {"limit": 2 * PIECE, "backlog": 512}
        plain = await asyncio.start_server(self._serve, "127.0.0.1", 0, **listening)
        secure = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=self._tls, ssl_shutdown_timeout=2.0, **listening
        )
        self._servers = (plain, secure)
        self._plain, self._secure = (server.sockets[0].getsockname()[1] for server in self._servers)
        self._gate = Gate(self._sandbox, self.authority("bound"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        self.reset(1.0)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def authority(self, site: str) -> str:
        """Host and port of the API behind a route."""
        return f"localhost:{self._secure}" if site == SECURE else f"127.0.0.1:{self._plain}"

    @property
    def complaints(self) -> list[str]:
        """What arrived otherwise than it was sent, and credentials where they must not be."""
        return [*self._complaints, *self._gate.complaints]

    def reset(self, share: float) -> int:
        """Reset that share of all connections, whatever they are doing; how many that were."""
        chosen = [writer for writer in self._open if self._mishaps.random() < share and not writer.is_closing()]
        for writer in chosen:
            handle = writer.get_extra_info("socket")
            if handle.fileno() >= 0:  # else it is closed already, and its task about to notice
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        return len(chosen)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._open.add(writer)
        try:
            while (head := await read_head(reader)) is not None and await self._answer(head, reader, writer):
                if self._mishaps.random() < self.leaves:
                    break
        except (Cut, OSError):
            pass  # the sidecar's caller hung up, or `reset` was called
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self._open.discard(writer)
            self._tasks.discard(task)

    async def _answer(self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Serve one request; whether the connection can serve another."""
        self.generations.update(head.values(b"x-generation"))
        order = ordered(head.first.split(b" ")[1])
        if order is None:
            self._complaints.append("a request that nobody sent")
            return False
        challenge = self._gate.admits(order.site, head)
        if challenge is not None:
            return await self._refuse(order, challenge, head, reader, writer)
        if order.kind == "socket":
            await _echo(order, head, reader, writer)
            return False
        if order.expects_continue:
            writer.write(CONTINUE)
        body = [piece async for piece in read_body(reader, head, answer=False)]
        if b"".join(body) != (b"" if order.kind in ("download", "events") else order.content):
            self._complaints.append(f"{order.site}: the body of {order.kind} {order.number} arrived altered")
        known = account(head)
        framing = order.framing
        fields = {
            "length": b"Content-Length: %d\r\n\r\n" % (len(known) + len(order.payload)),
            "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
            "until_close": b"\r\n",
        }
        writer.write(order.answer_head + fields[framing])
        async for piece in _bit_by_bit(order, known):
            writer.write(chunk(piece) if framing == "chunked" else piece)
            await writer.drain()
        if framing == "chunked":
            writer.write(b"0\r\n\r\n")
        return framing != "until_close"

    @staticmethod
    async def _refuse(
        order: Order, challenge: bytes, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """401, before or behind the request's body: servers do either."""
        body = read_body(reader, head, answer=False)
        if order.number % 4 < 2:
            if order.expects_continue:
                writer.write(CONTINUE)
            _ = [piece async for piece in body]
        said = refusal(order)
        writer.write(
            b"HTTP/1.1 401 Who Are You\r\nWWW-Authenticate: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (challenge, len(said), said)
        )
        _ = [piece async for piece in body]
        return True


async def _bit_by_bit(order: Order, known: bytes) -> AsyncIterator[bytes]:
    yield known
    if order.kind == "events":
        for event in order.events:
            yield event
            await asyncio.sleep(0.01 + order.number % 5 * 0.01)
        return
    for piece in pieces(order.payload):
        yield piece
        if order.number % 3 == 0:
            await asyncio.sleep(0.005)


async def _echo(order: Order, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """RFC 6455 §4.2.2, then everything back: what the octets of a tunnel mean is for its ends."""
    key = b"".join(head.values(b"sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key + _ACCEPT).digest())
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\nX-Number: %d\r\n\r\n" % (accept, order.number)
    )
    while octets := await reader.read(PIECE):
        writer.write(octets)
        await writer.drain()
