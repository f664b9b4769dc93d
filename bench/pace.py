"""Requests at a steady pace, whatever becomes of those before: what a stall costs is seen by all that it holds up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

Sample = tuple[float, float]
"""When a request was sent, on the monotonic clock, and how long its answer took, in seconds."""

_LAST_OCTET = b"}"


class _Connection(asyncio.Protocol):
    def __init__(self, done: Callable[[_Connection, bool], None]) -> None:
        self.sent = 0.0
        self._done = done
        self._seen = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_connection makes
        self._transport = transport

    def ask(self, octets: bytes) -> None:
        self.sent, self._seen = time.monotonic(), b""
        if self._transport is not None:
            self._transport.write(octets)

    def data_received(self, octets: bytes) -> None:
        self._seen += octets
        if self._seen.endswith(_LAST_OCTET):
            self._done(self, self._seen.startswith(b"HTTP/1.1 200 "))

    def connection_lost(self, _: Exception | None) -> None:
        if self.sent:
            self._done(self, False)  # noqa: FBT003 - a callback

    def close(self) -> None:
        self.sent = 0.0
        if self._transport is not None:
            self._transport.close()


class Pace:
    """`rate` requests per second for as long as it is entered; `samples` are the good ones, `errors` counts others.

    The answer is JSON that ends with a brace, as the bench's upstream gives it.
    """

    def __init__(self, port: int, path: str, rate: float, connections: int = 64) -> None:
        self.samples: list[Sample] = []
        self.errors = 0
        self._request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n\r\n".encode()
        self._port = port
        self._every = 1 / rate
        self._connections = connections
        self._free: list[_Connection] = []
        self._all: list[_Connection] = []

    async def run(self, until: Callable[[], bool]) -> None:
        """Keep the pace until somebody says so. A request that finds no free connection is an error."""
        loop = asyncio.get_running_loop()
        for _ in range(self._connections):
            _, connection = await loop.create_connection(lambda: _Connection(self._done), "127.0.0.1", self._port)
            self._all.append(connection)
        self._free = list(self._all)
        due = time.monotonic()
        while not until():
            due += self._every
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if self._free:
                self._free.pop(0).ask(self._request)
            else:
                self.errors += 1
        for connection in self._all:
            connection.close()

    def _done(self, connection: _Connection, good: bool) -> None:  # noqa: FBT001 - a callback
        if good:
            self.samples.append((connection.sent, time.monotonic() - connection.sent))
            connection.sent = 0.0
            self._free.append(connection)
        else:
            self.errors += 1
