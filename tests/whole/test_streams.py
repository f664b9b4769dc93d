"""Long conversations through the whole program: Server-Sent Events, WebSockets, large bodies both ways."""

from __future__ import annotations

import asyncio
import hashlib

import aiohttp
import pytest
from support.process import Program
from support.settings import client_credentials, one_route


@pytest.fixture
async def program(sandbox, tmp_path):
    config = one_route(sandbox.url + "/api", client_credentials(sandbox.token_endpoint))
    async with Program(config, tmp_path) as running:
        yield running


async def test_events_arrive_as_they_are_sent(program, upstream, sandbox, http):
    go = asyncio.Event()
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    upstream.script(head, b"9\r\ndata: 1\n\n\r\n", go, b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
    program.write(one_route(upstream.url, client_credentials(sandbox.token_endpoint)))
    async with http.post(program.admin + "/reload") as answer:
        assert answer.status == 200
    async with http.get(program.url + "/api/events") as answer:
        assert await answer.content.readexactly(9) == b"data: 1\n\n"
        go.set()
        assert await answer.content.read() == b"data: 2\n\n"


async def test_a_websocket_is_opened_with_the_credential_and_carries_both_ways(program, http, sandbox):
    async with http.ws_connect(program.url + "/api/socket") as socket:
        for size in (0, 1, 125, 126, 65536, 1 << 20):
            await socket.send_bytes(bytes(size))
            assert await socket.receive_bytes() == bytes(size)
        await socket.send_str("héllo")
        assert await socket.receive_str() == "héllo"
    assert socket.close_code == 1000
    assert sandbox.counters.api_accepted == 1


async def test_a_websocket_is_refused_as_the_upstream_refuses_it(program, http, sandbox):
    sandbox.script.change(api_faults=[{"kind": "status", "status": 403}])
    with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
        await http.ws_connect(program.url + "/api/socket")


async def test_a_websocket_whose_token_was_revoked_is_opened_with_a_new_one(program, http, sandbox, fetch):
    await fetch(program.url + "/api/x")
    sandbox.ledger.revoke_access_tokens()
    async with http.ws_connect(program.url + "/api/socket") as socket:
        await socket.send_str("x")
        assert await socket.receive_str() == "x"
    assert sandbox.counters.grants == {"client_credentials": 2}


async def test_a_large_upload_arrives_whole_chunked_or_counted(program, http):
    piece, count = bytes(range(256)) * 256, 512  # 32 MiB
    digest = hashlib.sha256(piece * count).hexdigest()

    async def pieces():
        for _ in range(count):
            yield piece

    async with http.put(program.url + "/api/x", data=pieces()) as answer:
        echo = await answer.json()
        assert (echo["body_length"], echo["body_sha256"]) == (len(piece) * count, digest)
    headers = {"Content-Length": str(len(piece) * count)}
    async with http.put(program.url + "/api/x", data=pieces(), headers=headers) as answer:
        echo = await answer.json()
        assert (echo["body_length"], echo["body_sha256"]) == (len(piece) * count, digest)


async def test_a_large_download_waits_for_a_slow_reader_and_arrives_whole(program, upstream, sandbox, http):
    """The upstream must not get rid of more than what buffers on the way hold while nobody reads."""
    piece, count = bytes(range(256)) * 4096, 64  # 64 MiB
    written = []

    class Counted(asyncio.Event):
        async def wait(self):
            written.append(len(piece))
            return True

    steps = [part for _ in range(count) for part in (piece, Counted())]
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * count), *steps)
    program.write(one_route(upstream.url, client_credentials(sandbox.token_endpoint)))
    async with http.post(program.admin + "/reload") as answer:
        assert answer.status == 200
    digest = hashlib.sha256()
    async with http.get(program.url + "/api/x") as answer:
        before = -1
        while len(written) != before:
            before = len(written)
            await asyncio.sleep(0.3)
        assert len(written) < count // 2
        async for part in answer.content.iter_any():
            digest.update(part)
    assert digest.digest() == hashlib.sha256(piece * count).digest()
