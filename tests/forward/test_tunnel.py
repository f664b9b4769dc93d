"""After a 101."""

from __future__ import annotations

import asyncio
import contextlib
import select
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from msgspec.structs import replace
from support.clock import FakeClock
from support.front import Client, Gate, ScriptedTokens, request
from support.recording_upstream import CLOSE, ECHO, READ, RESET, RecordingUpstream
from support.tls import Authority

from proxy.config import schema
from proxy.forward import proxy_server
from proxy.forward.tunnel import Tunnel
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
        assert gate.live_route.stats.in_flight == 0
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
        (("Connection: Upgrade", "Upgrade: h2c, foo/2"), {}),
        (("Connection: Upgrade", "Upgrade: tcp"), {"upgrades": ("websocket", "SPDY/3.1")}),
        (("Connection: Upgrade", "Upgrade: SPDY"), {"upgrades": ("SPDY/3.1",)}),
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
        async with asyncio.timeout(30):
            await asyncio.gather(client.ended(), return_exceptions=True)
        assert not gate.front.connections
    upstream.script(SWITCHED, ECHO)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.ask(UPGRADE)
        client.reset()
        await upstream.until(lambda: True if not upstream.open_connections else None)
        assert not gate.front.connections


async def test_a_tunnel_in_which_nothing_is_said_ends(upstream, later):
    upstream.script(SWITCHED, ECHO)
    timeouts = replace(schema.RouteTimeouts(), idle=schema.Duration(100))
    async with Gate(upstream.url, clock=later, route={"timeouts": timeouts}) as gate, gate.client() as client:
        await client.ask(UPGRADE)
        for _ in range(3):
            later(60)
            await asyncio.sleep(2 * proxy_server.SWEEP_EVERY)
            await client.send(b"x")
            assert await client.reader.readexactly(1) == b"x"
        later(101)
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
            async with asyncio.timeout(30):
                while not any(one.transport.get_write_buffer_size() for one in gate.front.connections):
                    await asyncio.sleep(0.005)
            await asyncio.sleep(0.2)
            (connection,) = gate.front.connections
            assert connection.transport.get_write_buffer_size() < 1024 * 1024
            assert (await client.answer()).status == 101
            assert await client.reader.readexactly(len(flood)) == flood


def of_an_hour(clock: FakeClock) -> ScriptedTokens:
    tokens = ScriptedTokens("short")
    tokens.token = Token(access_token="short", expires_wall=clock.wall() + 3600)
    return tokens


@pytest.mark.parametrize(("choice", "closes"), [("close", True), ("keep", False)])
async def test_a_tunnel_ends_with_its_token_if_the_route_says_so(upstream, choice, closes):
    upstream.script(SWITCHED, ECHO)
    clock = FakeClock()
    gate = Gate(upstream.url, tokens=of_an_hour(clock), clock=clock, route={"on_token_expiry": choice})
    async with gate, gate.client() as client:
        await client.ask(UPGRADE)
        for seconds in (3599, 1):
            assert gate.front.connections
            await client.send(b"x")
            assert await client.reader.readexactly(1) == b"x"
            clock.suspend(seconds)
            await asyncio.sleep(3 * proxy_server.SWEEP_EVERY)
        if closes:
            assert await client.ended() == b""
        assert bool(gate.front.connections) is not closes
    assert not gate.front.expiring


@pytest.mark.parametrize(("media", "closes"), [("text/event-stream; charset=utf-8", True), ("text/plain", False)])
async def test_an_event_stream_ends_with_its_token_if_the_route_says_so(upstream, media, closes):
    go = asyncio.Event()
    upstream.script(f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\n\r\n".encode(), b"data: 1\n\n", go, b"data: 2\n\n")
    clock = FakeClock()
    gate = Gate(upstream.url, tokens=of_an_hour(clock), clock=clock, route={"on_token_expiry": "close"})
    async with gate, gate.client() as client:
        await client.send(request())
        await client.reader.readuntil(b"data: 1\n\n")
        clock.suspend(3600)
        await asyncio.sleep(3 * proxy_server.SWEEP_EVERY)
        go.set()
        if closes:
            with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
                await client.reader.readuntil(b"data: 2\n\n")
        else:
            await client.reader.readuntil(b"data: 2\n\n")


# ---- cut anywhere, in any size ---------------------------------------------------------------------------------------


async def test_a_101_and_what_comes_behind_it_may_be_cut_anywhere(upstream):
    async with Gate(upstream.url) as gate:
        for cut in range(1, len(SWITCHED) + 5):
            octets = SWITCHED + b"hello"
            upstream.script(octets[:cut], Soon(), octets[cut:], ECHO)
            async with gate.client() as client:
                assert (await client.ask(UPGRADE)).status == 101
                assert await client.reader.readexactly(5) == b"hello"


async def test_an_upgrade_and_what_comes_behind_it_may_be_cut_anywhere(upstream):
    async with Gate(upstream.url) as gate:
        for cut in range(1, len(UPGRADE) + 5, 3):
            octets = UPGRADE + b"hello"
            upstream.script(SWITCHED, ECHO)
            async with gate.client() as client:
                await client.send(octets[:cut])
                await asyncio.sleep(0)
                await client.send(octets[cut:])
                assert (await client.answer()).status == 101
                assert await client.reader.readexactly(5) == b"hello"


async def test_messages_arrive_whole_in_whatever_pieces_they_are_sent():
    """Real frames, a 1 MiB message among them, through a peer that looks at each of them."""

    async def converse(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_bytes(message.data)
        return socket

    application = web.Application()
    application.router.add_get("/ws", converse)
    async with (
        TestServer(application) as server,
        Gate(str(server.make_url("")).rstrip("/")) as gate,
        gate.client() as client,
    ):
        await client.send(UPGRADE.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Version: 13\r\n\r\n"))
        assert (await client.answer()).field(b"sec-websocket-accept") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        for size in (1, 125, 126, 65536):
            said, heard = masked(bytes(size)), answered(bytes(size))
            for cut in sorted({1, 2, 3, 5, 6, 9, len(said) // 2, len(said) - 1} - {len(said)}):
                await client.send(said[:cut])
                await asyncio.sleep(0)
                await client.send(said[cut:])
                assert await client.reader.readexactly(len(heard)) == heard
        several = masked(b"one") + masked(b"two") + masked(b"three")
        for octet in several:
            await client.send(bytes([octet]))
        heard = answered(b"one") + answered(b"two") + answered(b"three")
        assert await client.reader.readexactly(len(heard)) == heard
        large = bytes(range(256)) * 4096
        sending = asyncio.create_task(client.send(masked(large)))
        assert await client.reader.readexactly(len(large) + 10) == answered(large)
        await sending


class Soon(asyncio.Event):
    """A moment in which others come to their turn."""

    async def wait(self):
        for _ in range(3):
            await asyncio.sleep(0)
        return True


def head_of(size: int, mask: int) -> bytes:
    if size < 126:
        return bytes((0x82, mask | size))
    return (
        bytes((0x82, mask | 126)) + size.to_bytes(2, "big")
        if size < 65536
        else (bytes((0x82, mask | 127)) + size.to_bytes(8, "big"))
    )


def masked(payload: bytes, key: bytes = b"\x01\x02\x03\x04") -> bytes:
    return head_of(len(payload), 0x80) + key + bytes(one ^ key[i & 3] for i, one in enumerate(payload))


def answered(payload: bytes) -> bytes:
    return head_of(len(payload), 0) + payload


# ---- slow readers ----------------------------------------------------------------------------------------------------


async def test_an_upstream_that_does_not_read_stops_the_app():
    go, heard = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        await go.wait()
        heard.set_result(await reader.read())
        writer.close()

    flood = bytes(range(256)) * 4 * 16384
    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**14) as server,
        Gate(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as gate,
        gate.client() as client,
    ):
        await client.ask(UPGRADE)
        client.writer.write(flood)
        (up,) = gate.pool.open
        async with asyncio.timeout(30):
            while not up.transport.get_write_buffer_size():
                await asyncio.sleep(0.005)
        await asyncio.sleep(0.2)
        assert up.transport.get_write_buffer_size() < 1024 * 1024
        assert client.writer.transport.get_write_buffer_size() > 0
        go.set()
        client.writer.write_eof()
        assert await heard == flood


async def test_what_an_upstream_said_before_it_hung_up_waits_for_a_slow_app(upstream):
    flood = bytes(range(256)) * 4 * 8192
    upstream.script(SWITCHED, flood, CLOSE)
    async with Gate(upstream.url) as gate, gate.client(limit=2**14) as client:
        await client.send(UPGRADE)
        await asyncio.sleep(0.3)
        assert (await client.answer()).status == 101
        assert await client.ended() == flood


async def test_an_app_that_never_reads_the_last_words_is_not_waited_for_for_ever():
    """Even without an idle timeout."""
    asked = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED + bytes(64 * 1024 * 1024))
        asked.set_result(Client(reader, writer))

    timeouts = replace(schema.RouteTimeouts(), idle=None)
    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        Gate(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", route={"timeouts": timeouts}) as gate,
        gate.client(limit=2**14) as client,
    ):
        await client.send(UPGRADE)
        await until(lambda: any(one.transport.get_write_buffer_size() for one in gate.front.connections))
        (tunnel,), (up,) = gate.front.connections, gate.pool.open
        assert isinstance(tunnel, Tunnel)
        assert tunnel.deadline == float("inf")
        (await asked).reset()
        await until(lambda: was_reset(up.transport))
        await client.send(b"are you there?")
        await until(lambda: not gate.pool.open)
        assert tunnel.transport.get_write_buffer_size() > 0
        assert tunnel.deadline < float("inf")

        def ended() -> bool:
            tunnel.deadline = tunnel._lingering._until = 0.0  # as if nothing had been read until then
            return not gate.front.connections

        await until(ended)


def was_reset(transport) -> bool:
    """Whether the system knows of it; what came before may be unread."""
    poller = select.poll()
    poller.register(transport.get_extra_info("socket").fileno(), 0)
    return bool(poller.poll(0))


async def until(condition, seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


# ---- ends ------------------------------------------------------------------------------------------------------------


async def test_half_an_end_is_passed_on_through_a_unix_socket_too(upstream, tmp_path):
    upstream.script(SWITCHED, ECHO)
    async with Gate(upstream.url, address=f"unix:{tmp_path}/s") as gate, gate.client() as client:
        await client.ask(UPGRADE)
        await client.send(b"last words")
        client.writer.write_eof()
        assert await client.ended() == b"last words"
        await until(lambda: not gate.front.connections and not gate.pool.open)


async def test_an_app_that_was_done_before_the_101_still_hears_the_upstream(upstream):
    switch = asyncio.Event()
    upstream.script(switch, SWITCHED, ECHO)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(UPGRADE + b"early")
        client.writer.write_eof()
        await upstream.received()
        switch.set()
        assert (await client.answer()).status == 101
        assert await client.ended() == b"early"
        await until(lambda: not gate.front.connections and not gate.pool.open)


@pytest.mark.parametrize("tls", ["app", "upstream", "both"])
@pytest.mark.parametrize("first", ["app", "upstream"])
async def test_tls_cannot_be_half_closed_so_one_end_ends_both(tls, first, tmp_path, caplog):
    authority = Authority()
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.certificate)
    script = (SWITCHED, b"bye", CLOSE) if first == "upstream" else (SWITCHED, b"bye", ECHO)
    async with RecordingUpstream(tls=authority.server_context() if tls != "app" else None) as upstream:
        upstream.script(*script)
        route = {"tls": schema.ClientTls(ca_file=str(ca))} if tls != "app" else {}
        async with Gate(
            upstream.url, route=route, tls=authority.server_context() if tls != "upstream" else None
        ) as gate:
            options = {"ssl": authority.client_context(), "server_hostname": "localhost"} if tls != "upstream" else {}
            async with gate.client(**options) as client:
                await client.ask(UPGRADE)
                assert await client.reader.readexactly(3) == b"bye"
                if first == "app":
                    client.writer.close()
                else:
                    assert await client.ended() == b""
                await until(lambda: not gate.front.connections and not gate.pool.open)
                await upstream.until(lambda: True if not upstream.open_connections else None)
    assert not caplog.records


@pytest.mark.parametrize("who", ["app", "upstream"])
async def test_what_one_side_said_before_it_reset_the_connection_reaches_the_other(who):
    """A failed write ends a connection before it is read: the last message would be lost."""
    ends = asyncio.get_running_loop().create_future()
    heard = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCHED)
        ends.set_result(Client(reader, writer))
        with contextlib.suppress(ConnectionError):
            heard.set_result(await reader.read())
        writer.close()

    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        Gate(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as gate,
        gate.client() as client,
    ):
        await client.ask(UPGRADE)
        upstream = await ends
        (tunnel,), (up,) = gate.front.connections, gate.pool.open
        speaker, ours, listener = (
            (client, tunnel.transport, upstream) if who == "app" else (upstream, up.transport, client)
        )
        ours.pause_reading()
        await speaker.send(b"last words")
        speaker.reset()
        await until(lambda: was_reset(ours))
        await listener.send(b"too late")
        said = heard if who == "app" else client.ended()
        assert await said == b"last words"
        await until(lambda: not gate.front.connections and not gate.pool.open)


async def test_a_101_from_an_upstream_that_is_gone_opens_no_tunnel():
    asked = asyncio.get_running_loop().create_future()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        asked.set_result(Client(reader, writer))

    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        Gate(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as gate,
        gate.client() as client,
    ):
        await client.send(UPGRADE)
        upstream = await asked
        (up,) = gate.pool.open
        up.transport.pause_reading()
        await upstream.send(SWITCHED)
        upstream.reset()
        await until(lambda: was_reset(up.transport))
        up.transport.write(b"what fails to be sent")
        assert (await client.answer()).status == 502
        assert not gate.pool.open


async def test_a_tunnel_is_no_request_in_flight_but_a_connection(upstream):
    upstream.script(SWITCHED, ECHO)
    async with Gate(upstream.url, limits={"max_connections": 1}) as gate, gate.client() as client:
        await client.ask(UPGRADE)
        assert (gate.front.in_flight, gate.live_route.stats.in_flight, len(gate.front.connections)) == (0, 0, 1)
        assert (await gate.ask(request())).status == 503
        client.writer.close()
        await until(lambda: not gate.front.connections)
        assert (await gate.ask(request())).status == 200


async def test_who_drains_waits_for_a_tunnel_but_not_for_ever(upstream):
    upstream.script(SWITCHED, ECHO)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.ask(UPGRADE)
        assert not await gate.front.drain(0.1)
        await client.send(b"still here")
        assert await client.reader.readexactly(10) == b"still here"
        waiting = asyncio.create_task(gate.front.drain(5))
        await asyncio.sleep(0)
        client.writer.close()
        assert await waiting


async def test_an_app_whose_tls_connection_is_lost_as_the_101_comes_leaves_nothing_behind(upstream):
    """asyncio tells a connection over TLS of its end a turn late, and whoever was its protocol when it ended."""
    authority = Authority()
    switch = asyncio.Event()
    upstream.script(switch, CLOSE)
    options = {"ssl": authority.client_context(), "server_hostname": "localhost"}
    async with Gate(upstream.url, tls=authority.server_context()) as gate, gate.client(**options) as client:
        await client.send(UPGRADE)
        await upstream.received()
        (app,) = gate.apps
        exchange = app.exchange
        batched: Any = app.transport
        batched._transport._ssl_protocol._transport.abort()
        asyncio.get_running_loop().call_soon(exchange.up.data_received, SWITCHED)
        for _ in range(5):
            await asyncio.sleep(0)
        switch.set()
        assert gate.front.connections == set()
        assert gate.front.in_flight == gate.live_route.stats.in_flight == 0
        await upstream.until(lambda: True if not upstream.open_connections else None)
