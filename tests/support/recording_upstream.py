"""An API made of octets: it records exactly what each request was, and answers exactly what it was told to.

async with RecordingUpstream() as upstream:
    upstream.script(HEAD + b"half", RESET)               # the first request
    upstream.script(event, b"HTTP/1.1 204 No Content\\r\\n\\r\\n")   # the second: only once the event is set
    …                                                     # all others get `upstream.answer`
    (request,) = upstream.requests
    assert request.octets == b"GET /x HTTP/1.1\\r\\n…"
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import ssl
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeVar

T = TypeVar("T")

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Step(enum.Enum):
    """What an answer may hold besides octets and events."""

    RESET = "end the connection with a TCP reset"
    CLOSE = "end the connection in good order"
    ECHO = "say back whatever comes from now on, as after a 101"
    READ = "read the rest of the request; what stands before it is said as soon as the head is there"


RESET, CLOSE, ECHO, READ = Step.RESET, Step.CLOSE, Step.ECHO, Step.READ

Answer = tuple[bytes | asyncio.Event | Step, ...]


@dataclass
class Received:
    """One request. `head` ends with its empty line; `raw_body` has chunk framing and trailers where they came.

    `connection` counts connections from 1; `complete` is False while the body is still coming.
    """

    connection: int
    head: bytes
    raw_body: bytearray = field(default_factory=bytearray)
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False
    echoed: bytearray = field(default_factory=bytearray)

    @property
    def octets(self) -> bytes:
        """The whole request as it came."""
        return self.head + self.raw_body

    @property
    def line(self) -> bytes:
        """The request line."""
        return self.head.partition(b"\r\n")[0]

    @property
    def target(self) -> bytes:
        """The request target."""
        return self.line.split(b" ")[1]

    @property
    def fields(self) -> list[tuple[bytes, bytes]]:
        """Header fields, names as spelled."""
        lines = self.head.split(b"\r\n")[1:-2]
        return [(name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]

    def field(self, name: bytes) -> bytes | None:
        """The only value of a field, None where it is absent."""
        values = self.all(name)
        assert len(values) <= 1, f"{name!r} came {len(values)} times"
        return values[0] if values else None

    def all(self, name: bytes) -> list[bytes]:
        """All values of a field."""
        return [value for other, value in self.fields if other.lower() == name.lower()]


@dataclass
class RecordingUpstream:
    """`answer`: what every request gets that no script is for: octets, or a function of the request.

    `tls`: a server's context; the URL is https then.
    """

    answer: bytes | Callable[[Received], Answer] = OK
    tls: ssl.SSLContext | None = None
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    _scripts: deque[Answer] = field(default_factory=deque)
    _open: dict[asyncio.StreamWriter, asyncio.Task[None]] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Scheme and authority."""
        return f"{'http' if self.tls is None else 'https'}://{self.authority}"

    @property
    def authority(self) -> str:
        """As it must stand in `Host`; with TLS by name, for the certificate."""
        return f"{'127.0.0.1' if self.tls is None else 'localhost'}:{self.port}"

    @property
    def open_connections(self) -> int:
        """How many are open now."""
        return len(self._open)

    def script(self, *answer: bytes | asyncio.Event | Step) -> None:
        """What one more request gets: octets, pauses and endings, one after the other."""
        self._scripts.append(answer)

    async def received(self, count: int = 1) -> Received:
        """The request of that number (from 1), once it is complete."""
        return await self.until(
            lambda: (
                self.requests[count - 1] if len(self.requests) >= count and self.requests[count - 1].complete else None
            )
        )

    async def until(self, found: Callable[[], T | None]) -> T:
        """Wait for news until `found` finds something."""
        while (something := found()) is None:
            self._news.clear()
            await self._news.wait()
        return something

    def drop(self, *, reset: bool = False) -> None:
        """End every connection, idle or not."""
        for writer in self._open:
            _end(writer, reset=reset)

    async def start(self) -> None:
        """Listen; on the same port as before where it was stopped."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self.tls, limit=2**26)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections from now on, end all that are open."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._open.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
            self._server = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # ---- one connection ----

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[writer] = task
        self.connections += 1
        number = self.connections
        try:
            while await self._one(number, reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        except asyncio.CancelledError:
            writer.transport.abort()  # the other side of a TLS connection may be gone and never say goodbye
            raise
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, ssl.SSLError, asyncio.CancelledError):
                await writer.wait_closed()
            del self._open[writer]
            self._tell()

    async def _one(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False once the connection has ended."""
        request = Received(number, await reader.readuntil(b"\r\n\r\n"))
        self.requests.append(request)
        self._tell()
        answer = self._answer_for(request)
        if READ not in answer:
            answer = (READ, *answer)
        for step in answer:
            if isinstance(step, bytes):
                writer.write(step)
                await writer.drain()
            elif isinstance(step, asyncio.Event):
                await step.wait()
            elif step is READ:
                await self._read_body(request, reader)
            elif step is ECHO:
                await self._echo(request, reader, writer)
                return False
            else:
                _end(writer, reset=step is RESET)
                return False
        return True

    def _answer_for(self, request: Received) -> Answer:
        if self._scripts:
            return self._scripts.popleft()
        return (self.answer,) if isinstance(self.answer, bytes) else self.answer(request)

    async def _read_body(self, request: Received, reader: asyncio.StreamReader) -> None:
        length = request.field(b"content-length")
        if request.field(b"transfer-encoding") is not None:
            await self._read_chunks(request, reader)
        elif length is not None:
            while len(request.raw_body) < int(length):
                piece = await reader.read(min(2**20, int(length) - len(request.raw_body)))
                if not piece:
                    raise asyncio.IncompleteReadError(bytes(request.raw_body), int(length))
                request.raw_body += piece
                self._tell()
            request.body = request.raw_body
        request.complete = True
        self._tell()

    async def _read_chunks(self, request: Received, reader: asyncio.StreamReader) -> None:
        while True:
            size = await reader.readuntil(b"\r\n")
            request.raw_body += size
            octets = int(size.split(b";")[0], 16)
            if octets == 0:
                break
            piece = await reader.readexactly(octets + 2)
            request.raw_body += piece
            request.body += piece[:-2]
            self._tell()
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            request.raw_body += line
        request.raw_body += b"\r\n"

    async def _echo(self, request: Received, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(2**16):
            request.echoed += piece
            writer.write(piece)
            await writer.drain()
            self._tell()

    def _tell(self) -> None:
        self._news.set()


def _end(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    if not reset:
        writer.close()
        return
    plain = writer.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
