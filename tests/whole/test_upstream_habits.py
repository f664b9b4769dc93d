"""Upstreams and apps with habits that other proxies stumble over, through the whole program."""

from __future__ import annotations

import asyncio

import pytest
from support.front import Client
from support.recording_upstream import OK, RecordingUpstream
from support.running import Running
from support.settings import one_route
from support.tls import Authority

KEY = {"type": "bearer", "token": {"value": "t0ken"}}
BODY = bytes(range(256)) * 12_000
FRAMINGS = {
    "length": b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
    "chunks": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
}


async def connect(running):
    host, _, port = running.url.removeprefix("http://").partition(":")
    return Client(*await asyncio.open_connection(host, int(port), limit=2**16))


def get(path="/api/x"):
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.mark.parametrize("encrypted", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_an_upstream_that_has_said_all_and_closes_its_side_cuts_nothing_off_for_a_slow_app(
    tmp_path, framing, encrypted
):
    """Row 42: most of the answer is still on its way through us when the end of the connection is seen."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    said_all = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n" + FRAMINGS[framing])
        if writer.can_write_eof():
            writer.write_eof()
            said_all.set()
            await reader.read()
        writer.close()
        said_all.set()
        await writer.wait_closed()

    context = authority.server_context() if encrypted else None
    async with await asyncio.start_server(serve, "localhost", 0, ssl=context, family=2) as server:
        url = f"http{'s' if encrypted else ''}://localhost:{server.sockets[0].getsockname()[1]}"
        config = one_route(url, KEY)
        if encrypted:
            config["routes"][0]["tls"] = {"ca_file": "ca.pem"}
        async with Running(config, tmp_path) as running:
            client = await connect(running)
            await client.send(get())
            head = await client.reader.readuntil(b"\r\n\r\n")
            await said_all.wait()
            body = bytearray()
            while len(body) < len(BODY):
                if framing == "length":
                    body += await client.reader.read(2**16)
                elif size := int(await client.reader.readuntil(b"\r\n"), 16):
                    body += (await client.reader.readexactly(size + 2))[:-2]
            client.writer.close()
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == BODY


async def test_a_kept_connection_may_rest_for_longer_than_an_answer_may_take(upstream, tmp_path):
    """Row 42: no clock of the request before goes on ticking for it."""
    limits = {"response_header": "2s", "idle": "2s"}
    async with Running(one_route(upstream.url, KEY, timeouts=limits), tmp_path) as running:
        client = await connect(running)
        assert (await client.ask(get())).body == b"ok"
        await asyncio.sleep(2.5)  # both limits, and the sweep that sees to them, have passed by then
        assert (await client.ask(get())).body == b"ok"
        client.writer.close()
    assert upstream.connections == 1


@pytest.mark.parametrize("answered", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"], ids=["head", "body"])
async def test_the_rest_of_an_answer_that_nobody_waits_for_is_no_answer_to_the_next_request(
    upstream, tmp_path, answered
):
    """Row 42: the connection of an app that hung up is not used again."""
    late = asyncio.Event()
    upstream.script(answered, late, OK if not answered else b"defghij")
    async with Running(one_route(upstream.url, KEY), tmp_path) as running:
        client = await connect(running)
        await client.send(get("/api/first"))
        await upstream.received(1)
        if answered:
            await client.reader.readuntil(b"abc")
        client.reset()
        upstream.script(OK.replace(b"ok", b"2!"))
        client = await connect(running)
        assert (await client.ask(get("/api/second"))).body == b"2!"
        late.set()
        assert (await client.ask(get("/api/third"))).body == b"ok"
        client.writer.close()
    assert [request.connection for request in upstream.requests] == [1, 2, 2]


async def test_a_websocket_request_goes_out_with_the_apps_own_words(tmp_path):
    """Row 66: whatever else `Connection` lists, and with its key, its protocols and its extensions."""
    own = [
        b"Sec-WebSocket-Version: 13",
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        b"Sec-WebSocket-Protocol: chat, superchat",
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-odd",
    ]
    refused = b"HTTP/1.1 426 No\r\nSec-WebSocket-Version: 14\r\nContent-Length: 2\r\n\r\nno"
    async with (
        RecordingUpstream(answer=refused) as upstream,
        Running(one_route(upstream.url, KEY), tmp_path) as running,
    ):
        client = await connect(running)
        lines = [b"GET /api/ws HTTP/1.1", b"Host: localhost", b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"]
        answer = await client.ask(b"\r\n".join([*lines, *own, b"", b""]))
        client.writer.close()
    assert (answer.status, answer.body, answer.field(b"sec-websocket-version")) == (426, b"no", b"14")
    (request,) = upstream.requests
    assert [line for line in request.head.split(b"\r\n") if line.lower().startswith(b"sec-")] == own
    assert (request.field(b"upgrade"), request.field(b"authorization")) == (b"websocket", b"Bearer t0ken")
    assert [one.lower() for one in request.all(b"connection")] == [b"upgrade"]
