"""Answers that break off: what had come is delivered, however slowly the app reads, and no mark of an end follows."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from typing import Any

import pytest
from msgspec.structs import replace
from support.clock import FakeClock
from support.front import Client, Gate, request
from support.tls import Authority

from proxy.config import schema
from proxy.forward import proxy_server

BODY = bytes(range(250)) * 4000
PROMISED = 2 * len(BODY)
SSE = b"Content-Type: text/event-stream\r\n"
HEADS = {
    "length": b"HTTP/1.1 200 OK\r\n" + SSE + b"Content-Length: %d\r\n\r\n" % PROMISED,
    "chunks": b"HTTP/1.1 200 OK\r\n" + SSE + b"Transfer-Encoding: chunked\r\n\r\n",
}


def framed(framing: str) -> bytes:
    if framing == "length":
        return BODY
    return b"".join(b"%x\r\n%b\r\n" % (1000, BODY[at : at + 1000]) for at in range(0, len(BODY), 1000))


def deframed(octets: bytes) -> tuple[bytes, bool]:
    """The payload of chunks, and whether the last one came."""
    payload = bytearray()
    while octets:
        size, _, octets = octets.partition(b"\r\n")
        if int(size, 16) == 0:
            return bytes(payload), True
        payload += octets[: int(size, 16)]
        octets = octets[int(size, 16) + 2 :]
    return bytes(payload), False


class Breaking:
    """Sends the half of its answer, and then ends as it is told: `fin`, `reset`, `bad chunk`, or not (`stall`)."""

    def __init__(self, framing: str, end: str) -> None:
        self.framing, self.end = framing, end
        self.said = asyncio.Event()
        self.over = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.transport.set_write_buffer_limits(high=0)
            writer.write(HEADS[self.framing] + framed(self.framing))
            if self.end == "bad chunk":
                writer.write(b"zz\r\n")
            await writer.drain()
            self.said.set()
            if self.end == "stall":
                await self.over.wait()
            if self.end == "reset":
                await asyncio.sleep(0.2)  # a reset takes what has not arrived with it
                handle = writer.get_extra_info("socket")
                handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
        writer.close()


@contextlib.asynccontextmanager
async def narrow(gate: Gate, **options):
    """An app whose system takes next to nothing in advance."""
    plain = socket.socket(socket.AF_INET)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    plain.settimeout(0)
    await asyncio.get_running_loop().sock_connect(plain, ("127.0.0.1", gate.port))
    reader, writer = await asyncio.open_connection(sock=plain, limit=1024, **options)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def everybody_has_gone() -> None:
    """The servers' own tasks, too."""
    async with asyncio.timeout(30):
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.005)


async def read_slowly(client: Client) -> tuple[bytes, bool]:
    """Everything, a little at a time, and whether a reset ended it."""
    came = bytearray()
    for turn in itertools.count():
        try:
            piece = await client.reader.read(16 * 1024)
        except ConnectionResetError:
            return bytes(came), True
        if not piece:
            return bytes(came), False
        came += piece
        if turn % 10 == 0:
            await asyncio.sleep(0.01)
    raise AssertionError


ENDS = ("fin", "reset", "bad chunk", "idle", "total", "token")


@contextlib.asynccontextmanager
async def broken(framing, end, *, tls=None, upstream_tls=None, ca="", asked=None, pause=0.3):
    """An app that has asked, not read, and whose answer has broken off meanwhile."""
    upstream = Breaking(framing, "stall" if end in ("idle", "total", "token") else end)
    clock = FakeClock()
    short = {end: schema.Duration(0.5)} if end in ("idle", "total") else {}
    timeouts = replace(schema.RouteTimeouts(), **short)
    route = {"timeouts": timeouts, "on_token_expiry": "close"}
    if upstream_tls is not None:
        route["tls"] = schema.ClientTls(ca_file=ca)
    server = await asyncio.start_server(upstream, "127.0.0.1", 0, ssl=upstream_tls)
    url = f"http{'s' * (upstream_tls is not None)}://localhost:{server.sockets[0].getsockname()[1]}"
    async with server, Gate(url, route=route, tls=tls[0] if tls else None, clock=clock) as gate:
        gate.tokens.token = replace(gate.tokens.token, expires_elapsed=clock.elapsed() + 3600.0)
        options = {"ssl": tls[1], "server_hostname": "localhost"} if tls else {}
        async with narrow(gate, **options) as client, asyncio.timeout(60):
            await client.send(asked or request())
            await asyncio.sleep(pause)
            if end == "token":
                await clock.advance(3601.0)
            await asyncio.sleep(0.5 * bool(short) + 3 * proxy_server.SWEEP_EVERY)
            yield gate, client, upstream
            upstream.over.set()
    await everybody_has_gone()


@pytest.mark.parametrize("framing", HEADS)
@pytest.mark.parametrize("end", ENDS)
async def test_a_slow_app_gets_all_that_had_come(framing, end):
    if (framing, end) == ("length", "bad chunk"):
        return
    async with broken(framing, end) as (gate, client, _):
        head = await client.reader.readuntil(b"\r\n\r\n")
        came, was_reset = await read_slowly(client)
        assert sum(gate.live_route.stats.counts.values()) == 1
        assert gate.front.in_flight == gate.live_route.stats.in_flight == 0
    payload, ended = deframed(came) if framing == "chunks" else (came, False)
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert (ended, was_reset) == (False, False), "an orderly end of the connection, and none of the answer"
    assert BODY.startswith(payload)
    assert len(payload) == len(BODY)


@pytest.mark.parametrize("encrypted", ["app", "upstream", "both"])
@pytest.mark.parametrize("end", ENDS)
async def test_over_tls_too(end, encrypted, tmp_path):
    """The goodbye of TLS says nothing of the answer, whose framing does."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    options: dict[str, Any] = {}
    if encrypted != "upstream":
        options["tls"] = (authority.server_context(), authority.client_context())
    if encrypted != "app":
        options |= {"upstream_tls": authority.server_context(), "ca": str(tmp_path / "ca.pem")}
    async with broken("chunks", end, **options) as (_, client, _):
        await client.reader.readuntil(b"\r\n\r\n")
        came, was_reset = await read_slowly(client)
    payload, ended = deframed(came)
    assert (ended, was_reset) == (False, False)
    assert len(payload) == len(BODY)
    assert payload == BODY


@pytest.mark.parametrize(("end", "half_closes"), [*((end, False) for end in ENDS), ("fin", True), ("idle", True)])
async def test_where_an_orderly_end_would_look_whole_there_is_a_reset_behind_all_of_it(end, half_closes):
    """An app of HTTP/1.0 gets no chunks: the end of the connection is that of the answer (RFC 9112 §6.3)."""
    asked = b"GET /crm HTTP/1.0\r\nHost: localhost\r\n\r\n"
    async with broken("chunks", end, asked=asked) as (gate, client, _):
        if half_closes:
            client.writer.write_eof()
        await client.reader.readuntil(b"\r\n\r\n")
        came, was_reset = await read_slowly(client)
        assert sum(gate.live_route.stats.counts.values()) == 1
    assert was_reset
    assert len(came) == len(BODY)
    assert came == BODY


async def test_a_length_tells_an_app_of_http_1_0_as_well():
    async with broken("length", "fin", asked=b"GET /crm HTTP/1.0\r\nHost: localhost\r\n\r\n") as (_, client, _):
        await client.reader.readuntil(b"\r\n\r\n")
        came, was_reset = await read_slowly(client)
    assert (len(came), was_reset) == (len(BODY), False)


async def test_an_app_that_reads_slower_than_idle_is_not_cut_off_while_it_reads():
    """It is the app that is slow, and the upstream would go on: `idle` runs while nothing is taken."""
    all_of_it = BODY * 4

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(all_of_it) + all_of_it)
            await writer.drain()
            await reader.read()
        writer.close()

    timeouts = replace(schema.RouteTimeouts(), idle=schema.Duration(0.5))
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Gate(url, route={"timeouts": timeouts}) as gate, narrow(gate) as client, asyncio.timeout(60):
        await client.send(request())
        came = 0
        await client.reader.readuntil(b"\r\n\r\n")
        while came < 100_000:
            came += len(await client.reader.read(8000))
            await asyncio.sleep(0.15)
        while came < len(all_of_it):
            piece = await client.reader.read(2**16)
            assert piece, "cut off"
            came += len(piece)
    assert came == len(all_of_it)
    await everybody_has_gone()


async def test_an_app_that_takes_nothing_is_not_waited_for_without_end():
    """`idle` ends the answer, and a while after that the connection."""
    async with broken("length", "idle", pause=0.5) as (gate, client, _):
        (app,) = gate.apps
        assert app.exchange is None
        app._lingering._until = 0.0
        app.deadline = 0.0
        while gate.front.connections:
            await asyncio.sleep(0.01)
        came, _ = await read_slowly(client)
        assert BODY.startswith(came.partition(b"\r\n\r\n")[2])


async def test_what_a_tunnel_has_said_is_heard_when_its_token_ends():
    """`on_token_expiry: close`: a WebSocket's messages that came before are the app's."""
    said = BODY

    async def serve(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + said[:60_000])
            await reader.read()
        writer.close()

    clock = FakeClock()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Gate(url, route={"on_token_expiry": "close"}, clock=clock) as gate, narrow(gate) as client:
        gate.tokens.token = replace(gate.tokens.token, expires_elapsed=clock.elapsed() + 3600.0)
        await client.send(request("GET", "/crm", "Connection: Upgrade", "Upgrade: websocket"))
        await client.reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.2)
        await clock.advance(3601.0)
        await asyncio.sleep(3 * proxy_server.SWEEP_EVERY)
        async with asyncio.timeout(30):
            came, was_reset = await read_slowly(client)
    assert (len(came), was_reset) == (60_000, False)
    await everybody_has_gone()


@pytest.mark.parametrize("end", ["fin", "reset", "idle"])
async def test_the_end_of_tls_is_reset_as_well_where_it_would_look_whole(end):
    """Behind all that had come, and without the goodbye of TLS (RFC 9112 §9.8)."""
    authority = Authority()
    tls = (authority.server_context(), authority.client_context())
    asked = b"GET /crm HTTP/1.0\r\nHost: localhost\r\n\r\n"
    async with broken("chunks", end, asked=asked, tls=tls) as (_, client, _):
        await client.reader.readuntil(b"\r\n\r\n")
        came, was_reset = await read_slowly(client)
    assert (len(came), was_reset) == (len(BODY), True)
