from __future__ import annotations

import asyncio
import io
import json
import logging
import re
import socket
import struct
from contextlib import suppress

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from support.program import Served, Standing, StandingProgram, admin_of

from proxy.admin.ports import CredentialView
from proxy.config.schema import UpdateGuard


async def _exchange(port: int, octets: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(octets)
    await writer.drain()
    try:
        return await asyncio.wait_for(reader.read(), 30)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "octets",
    [
        b"s3cret\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization Bearer s3cret\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret" + b"x" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: s3cret\x00\r\n\r\n",
        b"GET /?s3cret=\x01 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01s3cret\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_neither_echoed_nor_logged(octets, caplog):
    caplog.set_level(logging.DEBUG)
    async with admin_of(StandingProgram()) as served:
        answer = await _exchange(served.port, octets)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.0 400 ", b"HTTP/1.1 400 "))
    assert b"application/problem+json" in head
    assert b"Server: auth-sidecar" in head
    assert json.loads(body)["title"] == "Malformed request"
    assert b"s3cret" not in answer
    assert "s3cret" not in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET http://localhost/status HTTP/1.1\r\nHost: localhost\r\n\r\n", 200),
        (b"GET /%ff%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET / HTTP/1.0\r\n\r\n", 403),
        (b"GET /status HTTP/1.1\r\nHost: localh\xffost\r\n\r\n", 403),
        (b"GET /status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic \xff\r\n\r\n", 200),
        (b"POST /reload HTTP/1.1\r\nHost: localhost\r\nOrigin: \xff\r\nContent-Length: 0\r\n\r\n", 403),
        (b"POST /reload HTTP/1.1\r\nHost: localhost\r\nExpect: x\r\nContent-Length: 0\r\n\r\n", 417),
        (b"PUT /credentials/%C3%28/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}", 401),
    ],
)
async def test_odd_requests_are_answered_without_a_trace(octets, status, caplog):
    async with admin_of(StandingProgram()) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(octets)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
        writer.close()
        await writer.wait_closed()

    assert head.split(b" ")[1] == b"%d" % status
    assert b"Server: auth-sidecar\r\n" in head
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("path", ["/status", "/nowhere", "/reload", "/credentials/none/token"])
@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Encoding: deflate\r\nContent-Length: 8\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_a_body_that_cannot_be_read_leaves_no_trace(path, rest, caplog):
    async with admin_of(StandingProgram()) as served:
        answer = await _exchange(served.port, b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b" % (path.encode(), rest))

    assert answer.split(b" ")[1] in {b"200", b"400", b"404", b"405"}
    assert "Traceback" not in caplog.text


@settings(max_examples=150)
@given(
    st.sampled_from(
        [b"GET ", b"PUT /credentials/crm/token", b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"POST /reload", b""]
    ),
    st.binary(max_size=80)
    | st.sampled_from([b"//[::", b"http://[", b"/%", b"/?\xff", b"*", b"/\x85\x9b2J", b"//", b"///@:"]),
    st.sampled_from([b"", b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n\r\n", b" HTTP/2.0\r\n\r\n", b"\n\n"]),
    st.booleans(),
)
async def test_no_octets_leave_a_trace_or_end_anything_but_their_connection(begin, middle, end, reset):
    records = io.StringIO()
    handler = logging.StreamHandler(records)
    handler.setLevel(logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        async with admin_of(StandingProgram()) as served:
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(begin + middle + end)
            await writer.drain()
            if reset:
                option = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
            assert (await served.ask("GET", "/healthz")).status == 200
    finally:
        logging.getLogger().removeHandler(handler)

    assert records.getvalue() == ""


_FIELDS = [
    "Host",
    "Origin",
    "Authorization",
    "If-Match",
    "Sec-Fetch-Site",
    "Accept",
    "Content-Type",
    "Content-Encoding",
]
_VALUES = st.sampled_from(
    [
        *(b"Bearer ", b"Basic ", b"Basic Og==", b"Bearer \xff.\xff.\xff", b"Bearer e30.e30.", b"Bearer W10.W10.W10"),
        *(
            b"[::",
            b"[::1]:x",
            b"localhost:99999999",
            b"a@b",
            b'"1"',
            b'W/"',
            b'"' + b"9" * 5000 + b'"',
            b"null",
            b"http://[",
            b"\xed\xa0\x80",
        ),
    ]
) | st.binary(max_size=30).filter(lambda octets: not re.search(rb"[\x00-\x08\x0a-\x1f\x7f]", octets))


@settings(max_examples=200)
@given(
    st.sampled_from(
        [b"GET /status", b"GET /", b"POST /reload", b"PUT /credentials/crm/token", b"GET /credentials/crm/token"]
    ),
    st.dictionaries(st.sampled_from(_FIELDS), _VALUES, max_size=4),
    st.booleans(),
)
async def test_fields_of_any_octets_are_refused_or_taken_and_fail_nowhere(line, fields, guarded):
    crm = CredentialView(
        type="external", tokens=Standing(), vend=True, update=UpdateGuard(), update_secret=lambda: "right"
    )
    program = StandingProgram(crm=crm)
    program.secret = "right" if guarded else None
    fields = {"Host": b"localhost", "Connection": b"close", **fields}
    head = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in fields.items())
    async with admin_of(program) as served:
        answer = await _exchange(served.port, line + b" HTTP/1.1\r\n" + head + b"Content-Length: 2\r\n\r\n{}")

    assert answer.split(b" ")[1] in {b"200", b"400", b"401", b"403", b"404", b"409", b"412"}


async def test_a_head_without_end_is_refused_before_it_is_read(caplog):
    """Each field is short enough; all together are not."""
    field = b"X-%04d: " + b"x" * 1000 + b"\r\n"
    octets = b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"".join(field % number for number in range(100))
    async with admin_of(StandingProgram()) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(octets)
        head = await asyncio.wait_for(reader.readline(), 30)
        writer.close()

    assert head.startswith(b"HTTP/1.1 400 ")
    assert "Traceback" not in caplog.text


async def test_a_failure_of_our_own_is_logged_and_not_told(caplog):
    async def fail(_: web.Request) -> web.Response:
        raise RuntimeError("s3cret")

    app = web.Application()
    app.router.add_get("/", fail)
    async with Served(app) as served:
        answer = await served.ask("GET", "/")

    assert (answer.status, answer.content_type) == (500, "application/problem+json")
    assert "s3cret" not in answer.text
    assert "failed on a request" in caplog.text


async def test_requests_are_not_logged(caplog):
    caplog.set_level(logging.DEBUG)
    async with admin_of(StandingProgram()) as served:
        assert (await served.ask("GET", "/status?q=s3cret")).status == 200

    assert "s3cret" not in caplog.text
