"""The data path alone, on a real socket, between raw octets and a recording upstream.

async with Gate(upstream, token="t") as gate:
    async with gate.client() as client:
        answer = await client.ask(b"GET /crm/x HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from proxy.assembly.live_routes import origins_of
from proxy.auth.bearer import BearerScheme
from proxy.auth.scheme import Scheme
from proxy.clock import Clock, SystemClock
from proxy.config import schema
from proxy.config.address import parse_address
from proxy.errors import ProxyError
from proxy.forward.caller_guard import CallerGuard
from proxy.forward.dial import Dialler, Origin
from proxy.forward.downstream import Downstream
from proxy.forward.live_route import LiveRoute
from proxy.forward.pool import Pool
from proxy.forward.proxy_server import ProxyServer
from proxy.forward.router import Router
from proxy.http1.host import HostGuard, parse_host
from proxy.model import Token
from proxy.routes import RouteEntry, Routes
from proxy.stats import RouteStats
from proxy.tokens.credential import Credential, Picker
from proxy.tokens.secret import live_secret


class ScriptedTokens:
    """`values`: what renewals bring, in order; an error is raised. No `token`: it must be waited for."""

    def __init__(self, token: str | None, *values: str | ProxyError) -> None:
        self.token = Token(access_token=token) if token is not None else None
        self.values = list(values)
        self.before: Token | None = None
        self.refused: list[str] = []
        self.waited = 0
        self.gate = asyncio.Event()
        self.gate.set()

    def ready(self) -> Token | None:
        return self.token

    async def current(self) -> Token:
        self.waited += 1
        await self.gate.wait()
        return self.token or self._next()

    def predecessor(self, young: Token) -> Token | None:
        return self.before if young is self.token else None

    async def renew(self, refused: Token) -> Token:
        self.refused.append(refused.access_token)
        await self.gate.wait()
        if self.token is not None and self.token.access_token != refused.access_token:
            return self.token
        return self._next()

    def _next(self) -> Token:
        value = self.values.pop(0)
        if isinstance(value, ProxyError):
            raise value
        self.token = Token(access_token=value)
        return self.token


@dataclass
class Answer:
    """One answer, taken apart by nothing but its framing. `raw`: every octet, chunk framing included."""

    head: bytes
    body: bytes
    raw: bytes

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def reason(self) -> bytes:
        return self.head.partition(b"\r\n")[0].split(b" ", 2)[2]

    def all(self, name: bytes) -> list[bytes]:
        lines = [line.partition(b":") for line in self.head.split(b"\r\n")[1:] if line]
        return [value.strip() for spelled, _, value in lines if spelled.lower() == name.lower()]

    def field(self, name: bytes) -> bytes | None:
        values = self.all(name)
        assert len(values) <= 1, values
        return values[0] if values else None


class Client:
    """A connection of the app, in octets."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, octets: bytes) -> None:
        self.writer.write(octets)
        await self.writer.drain()

    async def ask(self, octets: bytes) -> Answer:
        await self.send(octets)
        return await self.answer(head_only=octets.startswith(b"HEAD "))

    async def answer(self, *, head_only: bool = False) -> Answer:
        """The next answer; raises IncompleteReadError where it is cut short."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        answer = Answer(head, b"", head)
        if head_only or answer.status in (204, 304) or answer.status < 200:
            return answer
        if answer.field(b"transfer-encoding") is not None:
            body, raw = await self._chunks()
        elif (length := answer.field(b"content-length")) is not None:
            body = raw = await self.reader.readexactly(int(length))
        else:
            body = raw = await self.reader.read()
        return Answer(head, body, head + raw)

    async def ended(self) -> bytes:
        """What comes until the other side closes."""
        return await self.reader.read()

    def reset(self) -> None:
        """Hang up with a TCP reset. (A FIN alone may be a half-close: who sends it may still be reading.)"""
        plain = self.writer.get_extra_info("socket")
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def _chunks(self) -> tuple[bytes, bytes]:
        body = raw = b""
        while True:
            line = await self.reader.readuntil(b"\r\n")
            raw += line
            size = int(line, 16)
            if size == 0:
                break
            piece = await self.reader.readexactly(size + 2)
            raw += piece
            body += piece[:-2]
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            raw += line
        return body, raw + b"\r\n"


@dataclass
class Gate:
    """A running `ProxyServer` with one route (`/crm`, or what `route` says) to `upstream`.

    `route`: more keys of `schema.Route`, and `tokens` of its own; `credential=None`: pass through. `tokens` or `picker`
    beat `token`.
    """

    upstream: str
    token: str | None = "t0ken"
    tokens: Any = None
    picker: Picker | None = None
    scheme: Scheme = field(default_factory=BearerScheme)
    credential: bool = True
    route: Mapping[str, Any] = field(default_factory=dict)
    more_routes: tuple[Mapping[str, Any], ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict)
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1")
    set_fields: Mapping[str, str] = field(default_factory=dict)
    callers: CallerGuard | None = None
    clock: Clock = field(default_factory=SystemClock)
    tls: Any = None
    address: str = "127.0.0.1:0"
    access: str | None = None
    port: int = 0
    front: ProxyServer = field(init=False)
    live_routes: list[LiveRoute] = field(init=False)
    pools: dict[Origin, Pool] = field(default_factory=dict)

    async def __aenter__(self) -> Self:
        self.tokens = self.tokens or (None if self.picker else ScriptedTokens(self.token))
        limits = replace(schema.Limits(), **self.limits)
        self.live_routes = [self._live_route(limits, spec) for spec in (self.route, *self.more_routes)]
        entries = [
            RouteEntry(
                live_route.prefix,
                parse_host(live_route.config.match.host.encode()) if live_route.config.match.host else None,
                frozenset(m.encode() for m in live_route.config.match.methods)
                if live_route.config.match.methods
                else None,
                live_route,
            )
            for live_route in self.live_routes
        ]
        site = Router(limits, HostGuard(self.hosts), Routes(entries), self.callers)
        self.front = ProxyServer(site, self.clock, self.pools.values(), access=self.access)
        self.port = await self.front.listen(parse_address(self.address), self.tls)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.front.close()

    @property
    def live_route(self) -> LiveRoute:
        return self.live_routes[0]

    @property
    def apps(self) -> list[Downstream]:
        """The connections that speak HTTP."""
        return [one for one in self.front.connections if isinstance(one, Downstream)]

    @property
    def pool(self) -> Pool:
        """Of the first route, while there is no other origin."""
        return next(iter(self.pools.values()))

    @contextlib.asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Client]:
        options = {"limit": 2**24, **options}
        if self.address.startswith("unix:"):
            reader, writer = await asyncio.open_unix_connection(self.address.removeprefix("unix:"), **options)
        else:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, **options)
        try:
            yield Client(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def ask(self, octets: bytes) -> Answer:
        """One request on a connection of its own."""
        async with self.client() as client:
            return await client.ask(octets)

    def _live_route(self, limits: schema.Limits, spec: Mapping[str, Any]) -> LiveRoute:
        given: dict[str, Any] = {"match": schema.Match(path="/crm"), "upstream": self.upstream, **spec}
        own_tokens = given.pop("tokens", self.tokens)
        route = schema.Route(**given)
        origin, upgraded = origins_of(route)
        pool = self._pool(origin, limits)
        credential = None
        if self.credential:
            tokens = None if self.picker else own_tokens
            credential = Credential("crm", "oauth2", self.scheme, tokens=tokens, picker=self.picker)
        fields: list[tuple[bytes, Callable[[], str]]] = [
            (name.encode(), lambda value=value: value)  # type: ignore[misc]
            for name, value in self.set_fields.items()
        ]
        live_route = LiveRoute(route, route.match.path.strip("/") or "root", pool, RouteStats(), credential, fields)
        if upgraded is not None:
            live_route.connecting(self._pool(upgraded, limits))
        return live_route

    def _pool(self, origin: Origin, limits: schema.Limits) -> Pool:
        if origin not in self.pools:
            password = origin.via.password if origin.via is not None else None
            secret = live_secret(password, {}, self.clock, lambda _: self.tokens) if password is not None else None
            dialler = Dialler(origin, secret, self.clock.monotonic)
            self.pools[origin] = Pool(dialler, limits.max_header_size, limits.max_headers, self.clock)
        return self.pools[origin]


def request(method: str = "GET", target: str = "/crm/x", *fields: str, body: bytes = b"") -> bytes:
    """A plain HTTP/1.1 request; Content-Length is added where there is a body."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *fields]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
