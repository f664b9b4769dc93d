"""After a 101."""

from __future__ import annotations

import asyncio
import time

import pytest
from msgspec.structs import replace
from support.front import Gate, ScriptedTokens, request
from support.recording_upstream import ECHO, READ, RESET
from support.tls import Authority

from proxy.config import schema
from proxy.model import Token

UPGRADE = request(
    "GET", "/crm/ws", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
)


async def test_octets_go_both_ways_untouched_and_the_upgrade_carries_the_credential(upstream):
    """Rows 65, 66 and 67."""
    upstream.script(SWITCHED, ECHO)
    async with Gate(upstream.url) as gate, gate.client() as client:
        answer = await client.ask(UPGRADE)
        assert answer.raw == (
            b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        octets = bytes(range(256)) * 8192
        sending = asyncio.create_task(client.send(octets))
        assert await client.reader.readexactly(len(octets)) == octets
        await sending
        assert gate.lane.stats.in_flight == 0
    (asked,) = upstream.requests
    assert asked.field(b"authorization") == b"Bearer t0ken"
    assert asked.field(b"connection") == b"Upgrade"
    assert asked.field(b"upgrade") == b"websocket"
    assert asked.field(b"sec-websocket-key") == b"dGhlIHNhbXBsZSBub25jZQ=="


async def test_early_octets_are_held_until_the_101(upstream):
    """Row 68."""
    switch = asyncio.Event()
    upstream.script(switch, SWITCHED, ECHO)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(UPGRADE + b"early")
        await upstream.received()
        await asyncio.sleep(0.05)
        assert not upstream.requests[0].echoed
        switch.set()
        assert (await client.answer()).status == 101
        assert await client.reader.readexactly(5) == b"early"


async def test_early_octets_are_thrown_away_with_any_other_status(upstream):
    """Row 68: they may be a request in disguise."""
    upstream.script(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(UPGRADE + request("DELETE"))
        answer = await client.answer()
        assert answer.status == 403
        assert answer.field(b"connection") == b"close"
        assert await client.ended() == b""
    assert len(upstream.requests) == 1


async def test_what_the_upstream_says_with_its_101_comes_behind_it(upstream):
    upstream.script(SWITCHED + b"hello", ECHO)
    async with Gate(upstream.url) as gate, gate.client() as client:
        assert (await client.ask(UPGRADE)).status == 101
        assert await client.reader.readexactly(5) == b"hello"


async def test_a_refused_token_is_renewed_before_the_tunnel_opens(upstream):
    upstream.script(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n")
    upstream.script(SWITCHED, ECHO)
    async with Gate(upstream.url, tokens=ScriptedTokens("old", "new")) as gate, gate.client() as client:
        assert (await client.ask(UPGRADE)).status == 101
    assert [one.field(b"authorization") for one in upstream.requests] == [b"Bearer old", b"Bearer new"]


@pytest.mark.parametrize(
    ("fields", "route"),
    [
        (("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAA"), {}),
        (("Connection: Upgrade", "Upgrade: h2c, websocket"), {}),
        (("Upgrade: websocket",), {}),
        (("Connection: Upgrade", "Upgrade: websocket"), {"upgrades": ()}),
    ],
)
async def test_any_other_upgrade_is_dropped_and_later_requests_are_not_lost(upstream, fields, route):
    """Row 2."""
    async with Gate(upstream.url, route=route) as gate, gate.client() as client:
        await client.send(request("GET", "/crm", *fields) + request("GET", "/crm/second"))
        assert (await client.answer()).status == 200
        assert (await client.answer()).status == 200
    assert upstream.requests[0].field(b"upgrade") is None
    assert upstream.requests[0].field(b"http2-settings") is None
    assert upstream.requests[1].target == b"/second"


async def test_each_sides_end_is_passed_on_and_the_other_direction_stays_open(upstream):
    upstream.script(SWITCHED, ECHO)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.ask(UPGRADE)
        await client.send(b"last words")
        client.writer.write_eof()
        assert await client.ended() == b"last words"
        await upstream.until(lambda: True if not upstream.open_connections else None)


async def test_the_upstream_may_end_first_and_still_listen():
    heard = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        writer.write_eof()
        heard.set_result(await reader.read())
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Gate(f"http://127.0.0.1:{port}") as gate, gate.client() as client:
            await client.ask(UPGRADE)
            assert await client.ended() == b""
            await client.send(b"still here")
            client.writer.write_eof()
            assert await heard == b"still here"


async def test_a_reset_of_one_side_ends_the_other(upstream):
    upstream.script(SWITCHED, READ, RESET)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(UPGRADE)
        async with asyncio.timeout(5):
            await asyncio.gather(client.ended(), return_exceptions=True)
        assert not gate.front.connections
    upstream.script(SWITCHED, ECHO)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.ask(UPGRADE)
        client.reset()
        await upstream.until(lambda: True if not upstream.open_connections else None)
        assert not gate.front.connections


async def test_a_tunnel_in_which_nothing_is_said_ends(upstream):
    upstream.script(SWITCHED, ECHO)
    timeouts = replace(schema.RouteTimeouts(), idle=schema.Duration(0.1))
    async with Gate(upstream.url, route={"timeouts": timeouts}) as gate, gate.client() as client:
        await client.ask(UPGRADE)
        for _ in range(5):
            await asyncio.sleep(0.05)
            await client.send(b"x")
            assert await client.reader.readexactly(1) == b"x"
        assert await client.ended() == b""
        await upstream.until(lambda: True if not upstream.open_connections else None)


@pytest.mark.parametrize("tls", [False, True])
async def test_a_reader_that_does_not_read_stops_the_writer(upstream, tls):
    authority = Authority()
    flood = bytes(16 * 1024 * 1024)
    upstream.script(SWITCHED, flood, ECHO)
    async with Gate(upstream.url, tls=authority.server_context() if tls else None) as gate:
        options = {"ssl": authority.client_context(), "server_hostname": "localhost"} if tls else {}
        async with gate.client(limit=2**14, **options) as client:
            await client.send(UPGRADE)
            async with asyncio.timeout(5):
                while not any(one.full for one in gate.front.connections):
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.2)
            (connection,) = gate.front.connections
            assert connection.transport.get_write_buffer_size() < 1024 * 1024
            assert (await client.answer()).status == 101
            assert await client.reader.readexactly(len(flood)) == flood


class ShortLived(ScriptedTokens):
    def __init__(self, seconds: float) -> None:
        super().__init__("short")
        self.token = Token(access_token="short", expires_wall=time.time() + seconds)


@pytest.mark.parametrize(("choice", "closes"), [("close", True), ("keep", False)])
async def test_a_tunnel_ends_with_its_token_if_the_route_says_so(upstream, choice, closes):
    upstream.script(SWITCHED, ECHO)
    gate = Gate(upstream.url, tokens=ShortLived(0.3), route={"on_token_expiry": choice})
    async with gate, gate.client() as client:
        await client.ask(UPGRADE)
        await client.send(b"x")
        assert await client.reader.readexactly(1) == b"x"
        try:
            async with asyncio.timeout(0.8):
                ended = await client.ended() == b""
        except TimeoutError:
            ended = False
        assert ended is closes
    assert not gate.front.expiring


@pytest.mark.parametrize(("media", "closes"), [("text/event-stream; charset=utf-8", True), ("text/plain", False)])
async def test_an_event_stream_ends_with_its_token_if_the_route_says_so(upstream, media, closes):
    go = asyncio.Event()
    upstream.script(f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\n\r\n".encode(), b"data: 1\n\n", go, b"data: 2\n\n")
    gate = Gate(upstream.url, tokens=ShortLived(0.2), route={"on_token_expiry": "close"})
    async with gate, gate.client() as client:
        await client.send(request())
        await client.reader.readuntil(b"data: 1\n\n")
        asyncio.get_running_loop().call_later(0.7, go.set)
        if closes:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await client.reader.readuntil(b"data: 2\n\n")
        else:
            await client.reader.readuntil(b"data: 2\n\n")
