from __future__ import annotations

import asyncio

import pytest

from support.recording_upstream import CLOSE, ECHO, OK, READ, RESET, RecordingUpstream
from support.tls import Authority


@pytest.fixture
async def upstream():
    async with RecordingUpstream() as running:
        yield running


@pytest.fixture
async def dial(upstream):
    writers = []

    async def connect(**tls):
        reader, writer = await asyncio.open_connection("127.0.0.1", upstream.port, **tls)
        writers.append(writer)
        return reader, writer

    yield connect
    for writer in writers:
        writer.transport.abort()


async def test_requests_on_one_connection_are_recorded_octet_for_octet(upstream, dial):
    reader, writer = await dial()
    first = b"POST /a HTTP/1.1\r\nhOST: x\r\nContent-Length: 3\r\n\r\nabc"
    second = (
        b"PUT /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2;e=1\r\nab\r\n1\r\nc\r\n0\r\nT: 1\r\n\r\n"
    )
    for octets in (first, second):
        writer.write(octets)
        assert await reader.readexactly(len(OK)) == OK
    assert [request.octets for request in upstream.requests] == [first, second]
    assert [request.body for request in upstream.requests] == [b"abc", b"abc"]
    assert upstream.requests[0].fields == [(b"hOST", b"x"), (b"Content-Length", b"3")]
    assert (upstream.connections, upstream.open_connections) == (1, 1)


async def test_an_answer_waits_for_its_event_and_may_end_half_way(upstream, dial):
    event = asyncio.Event()
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", event, b"half", CLOSE)
    reader, writer = await dial()
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    event.set()
    assert await reader.read() == b"half"
    await upstream.until(lambda: upstream.open_connections == 0 or None)


async def test_a_reset_is_a_reset(upstream, dial):
    upstream.script(RESET)
    reader, writer = await dial()
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()


async def test_an_answer_may_come_before_the_body(upstream, dial):
    upstream.script(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", READ)
    reader, writer = await dial()
    writer.write(b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    assert not upstream.requests[0].complete
    writer.write(b"abc")
    assert (await upstream.received(1)).body == b"abc"


async def test_after_a_101_octets_are_said_back(upstream, dial):
    upstream.script(b"HTTP/1.1 101 Switching\r\n\r\n", ECHO)
    reader, writer = await dial()
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x00\xff")
    assert await reader.readexactly(2) == b"\x00\xff"
    assert upstream.requests[0].echoed == b"\x00\xff"


async def test_it_speaks_tls_and_comes_back_on_its_port():
    authority = Authority()
    upstream = RecordingUpstream(tls=authority.server_context())
    for _ in range(2):
        async with upstream:
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", upstream.port, ssl=authority.client_context(), server_hostname="localhost"
            )
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await reader.readexactly(len(OK)) == OK
            writer.transport.abort()
            await upstream.until(lambda: upstream.open_connections == 0 or None)
    assert upstream.url == f"https://localhost:{upstream.port}"
    assert upstream.connections == 2
