"""The answer as the app gets it."""

from __future__ import annotations

import asyncio

import pytest
from support.front import Gate, request
from support.recording_upstream import CLOSE, ECHO, OK
from support.tls import Authority


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


AROUND = b'Alt-Svc: h3=":443"; ma=86400\r\nstrict-TRANSPORT-security: max-age=31536000\r\n'
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
ENDS = {
    "answer": (b"HTTP/1.1 200 OK\r\n" + AROUND + b"Content-Length: 2\r\n\r\nok",),
    "refusal": (b"HTTP/1.1 401 No\r\n" + AROUND + b"Content-Length: 2\r\n\r\nno",),
    "interim answer": (b"HTTP/1.1 103 Hints\r\n" + AROUND + b"\r\n", OK),
    "trailers": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + AROUND + b"X-Sum: 1\r\n\r\n",),
    "spaced names": (b"HTTP/1.1 200 OK\r\n" + AROUND.replace(b":", b" :", 1) + b"Content-Length: 0\r\n\r\n",),
    "nominated": (b"HTTP/1.1 200 OK\r\nConnection: X\r\nX: 1\r\n" + AROUND + b"Content-Length: 0\r\n\r\n",),
    "tunnel": (b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" + AROUND + b"\r\n", CLOSE),
}


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("kind", ENDS)
async def test_nothing_of_an_answer_leads_the_app_around_us(upstream, kind, tls):
    """Alt-Svc never passes; Strict-Transport-Security where the app's own connection is one of https."""
    upstream.script(*ENDS[kind])
    authority = Authority()
    async with Gate(
        upstream.url, tls=authority.server_context() if tls else None, token=None, credential=False
    ) as gate:
        options = {"ssl": authority.client_context(), "server_hostname": "localhost"} if tls else {}
        async with gate.client(**options) as client:
            await client.send(request("GET", "/crm/x", *(UPGRADE if kind == "tunnel" else ())))
            came = (await client.answer()).raw.lower()
    assert b"alt-svc" not in came
    assert (b"strict-transport-security" in came) is (tls)


@pytest.mark.parametrize("head", [b"204 No Content", b"103 Hints"])
async def test_no_length_is_said_of_a_body_that_cannot_be(upstream, head):
    upstream.script(b"HTTP/1.1 " + head + b"\r\nContent-Length: 5\r\nX: 1\r\n\r\n", *([OK] if head < b"2" else []))
    async with Gate(upstream.url) as gate, gate.client() as client:
        assert (await client.ask(request())).raw == b"HTTP/1.1 " + head + b"\r\nX: 1\r\n\r\n"
        if head < b"2":
            assert (await client.answer()).body == b"ok"
        assert (await client.ask(request())).body == b"ok"


async def test_nor_of_a_tunnel(upstream):
    upstream.script(b"HTTP/1.1 101 Go\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\n", ECHO)
    async with Gate(upstream.url) as gate, gate.client() as client:
        assert (await client.ask(request("GET", "/crm", *UPGRADE))).field(b"content-length") is None
        await client.send(b"anything")
        assert await client.reader.readexactly(8) == b"anything"


@pytest.mark.parametrize("version", [b"1.2", b"1.9"])
async def test_an_answer_of_a_later_minor_version_passes_as_ours(upstream, version):
    upstream.script(b"HTTP/%b 200 OK\r\nTransfer-Encoding : chunked\r\nX\t: 1\r\n\r\n2 \r\nok\r\n0 \r\n\r\n" % version)
    async with Gate(upstream.url) as gate, gate.client() as client:
        answer = await client.ask(request())
        assert answer.raw == b"HTTP/1.1 200 OK\r\nX: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        assert (await client.ask(request())).body == b"ok"
    assert upstream.connections == 1
