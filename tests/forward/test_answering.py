"""The answer as the app gets it."""

from __future__ import annotations

import asyncio

import pytest
from support.front import Gate, request
from support.recording_upstream import CLOSE


async def test_events_arrive_as_they_are_sent(upstream):
    """Row 41: nothing is gathered."""
    steps = [asyncio.Event() for _ in range(5)]
    script = [part for number, step in enumerate(steps) for part in (b"data: %d\n\n" % number, step)]
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", *script, CLOSE)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(request())
        for number, step in enumerate(steps):
            async with asyncio.timeout(30):
                await client.reader.readuntil(b"data: %d\n\n" % number)
            step.set()


@pytest.mark.parametrize("status", [200, 205, 299, 404, 418, 500, 503, 599, 600, 999])
async def test_any_final_status_passes_and_none_is_repeated(upstream, status):
    upstream.answer = b"HTTP/1.1 %d Reason\r\nContent-Length: 2\r\n\r\nok" % status
    async with Gate(upstream.url) as gate:
        answer = await gate.ask(request())
    assert (answer.status, answer.body) == (status, b"ok")
    assert len(upstream.requests) == 1


async def test_nothing_is_added_to_an_answer(upstream):
    """Rows 20, 23, 32, 49 and 50."""
    octets = (
        b"HTTP/1.1 302 Caf\xe9\r\nLocation: https://elsewhere.example/\r\nSet-Cookie: sid=1\r\nContent-Encoding: br\r\n"
        b"X-B: \xff\r\nContent-Length: 3\r\n\r\n\x00\x01\x02"
    )
    upstream.answer = octets
    async with Gate(upstream.url) as gate:
        assert (await gate.ask(request())).raw == octets
        assert (await gate.ask(request("GET", "/crm", "Cookie: mine"))).raw == octets
    assert [one.field(b"cookie") for one in upstream.requests] == [None, b"mine"]


async def test_hop_by_hop_fields_of_the_answer_end_here(upstream):
    """Row 25."""
    upstream.script(
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Gone, Content-Length\r\nKeep-Alive: timeout=9\r\nX-Gone: 1\r\n"
        b"Proxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nok"
    )
    async with Gate(upstream.url) as gate:
        assert (await gate.ask(request())).raw == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize("framing", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_no_terminator_follows_an_answer_without_a_body(upstream, status, framing):
    """Row 34."""
    upstream.script(b"HTTP/1.1 " + status + b"\r\n" + framing + b"\r\n\r\n")
    async with Gate(upstream.url) as gate, gate.client() as client:
        answer = await client.ask(request())
        assert answer.field(b"transfer-encoding") is None
        assert (await client.ask(request())).body == b"ok"


async def test_a_head_request_with_a_chunked_answer_has_no_body(upstream):
    """Row 34."""
    upstream.script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    async with Gate(upstream.url) as gate, gate.client() as client:
        assert (await client.ask(request("HEAD"))).field(b"transfer-encoding") is None
        assert (await client.ask(request())).body == b"ok"


async def test_interim_answers_are_not_for_http_1_0(upstream):
    """Row 35."""
    upstream.script(
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    async with Gate(upstream.url) as gate:
        assert (await gate.ask(b"GET /crm HTTP/1.0\r\nHost: localhost\r\n\r\n")).status == 200


async def test_a_short_body_never_lets_the_connection_go_on(upstream):
    """Rows 28 and 29."""
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", CLOSE)
    async with Gate(upstream.url) as gate, gate.client() as client:
        await client.send(request() + request())
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await client.answer()
    assert len(upstream.requests) == 1


async def test_large_chunked_answers_come_whole(upstream):
    body = bytes(range(256)) * 4096
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[i : i + 999] for i in range(0, len(body), 999))
    )
    upstream.answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    async with Gate(upstream.url) as gate, gate.client() as client:
        for _ in range(3):
            assert (await client.ask(request())).body == body
    assert upstream.connections == 1
