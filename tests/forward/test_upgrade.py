"""What a connection may change to: only what the route names, whatever the app or the upstream would like."""

from __future__ import annotations

import asyncio
import json
from typing import Self

import pytest
from support.front import Gate, request
from support.recording_upstream import ECHO, READ, RESET

from proxy.forward.upgrade import agreed, asked, hijacked
from proxy.http1.answer import AnswerHead, read_answer
from proxy.http1.request import RequestHead, read_request

LIMIT = 32 * 1024
START = json.dumps({"Detach": False, "Tty": True}).encode()


def head_of(method: str, upgrade: str, *fields: str) -> RequestHead:
    head = read_request(request(method, "/", "Connection: Upgrade", f"Upgrade: {upgrade}", *fields), 0, LIMIT, 100)
    assert head is not None
    return head


def answer_of(status: str, *fields: str) -> AnswerHead:
    octets = "\r\n".join([f"HTTP/1.1 {status}", *fields, "", ""]).encode()
    head = read_answer(octets, 0, LIMIT, 100)
    assert head is not None
    return head


@pytest.mark.parametrize(
    ("method", "upgrade", "goes_on"),
    [
        ("GET", "websocket", b"websocket"),
        ("GET", "WebSocket", b"WebSocket"),
        ("GET", "foo, websocket ,h2c", b"websocket"),
        ("GET", "websocket, TCP", b"websocket, TCP"),
        ("GET", "spdy/3.1,websocket", b"spdy/3.1, websocket"),
        ("GET", "spdy", b""),
        ("GET", "SPDY/3", b""),
        ("GET", "websocket/13", b""),
        ("GET", "xwebsocket", b""),
        ("GET", '"websocket"', b""),
        ("GET", "h2c", b""),
        ("GET", ",", b""),
        ("POST", "tcp", b"tcp"),
        ("POST", "websocket", b""),
        ("POST", "websocket, tcp", b"tcp"),
        ("get", "websocket", b""),
    ],
)
def test_what_the_route_names_goes_on_as_the_app_spelled_it(method, upgrade, goes_on):
    assert asked(head_of(method, upgrade), frozenset({b"websocket", b"tcp", b"spdy/3.1"})) == goes_on


@pytest.mark.parametrize(
    ("fields", "agreement"),
    [
        (["Upgrade: tcp"], b"tcp"),
        (["Upgrade: TCP"], b"TCP"),
        (["Upgrade: websocket"], b"websocket"),
        (["Upgrade: tcp, websocket"], b"tcp, websocket"),
        (["Upgrade: tcp", "Upgrade: websocket"], b"tcp, websocket"),
        (["Upgrade: h2c"], None),
        (["Upgrade: tcp, h2c"], None),
        (["Upgrade: tcp", "Upgrade: h2c"], None),
        (["Upgrade: tcp/2"], None),
        (["Upgrade:"], None),
        ([], None),
    ],
)
def test_the_upstream_changes_to_what_was_asked_for_and_to_nothing_else(fields, agreement):
    assert agreed(b"websocket, tcp", answer_of("101 X", *fields)) == agreement
    assert agreed(b"", answer_of("101 X", *fields)) is None


@pytest.mark.parametrize(
    ("status", "fields", "both_ways"),
    [
        ("200 OK", ["Content-Type: application/vnd.docker.raw-stream"], True),
        ("200 OK", ["content-type: Application/vnd.docker.multiplexed-stream; x=y"], True),
        ("200 OK", ["Content-Type: application/vnd.docker.raw-stream", "Content-Length: 5"], False),
        ("200 OK", ["Content-Type: application/vnd.docker.raw-stream", "Transfer-Encoding: chunked"], False),
        ("201 OK", ["Content-Type: application/vnd.docker.raw-stream"], False),
        ("200 OK", ["Content-Type: application/octet-stream"], False),
        ("200 OK", [], False),
    ],
)
def test_a_200_is_a_tunnel_only_as_container_engines_say_it(status, fields, both_ways):
    assert hijacked(answer_of(status, *fields)) is both_ways


# ---- through the data path -------------------------------------------------------------------------------------------


class Engine:
    """A container engine, as far as an exec and an attach go: says back what it is told until it is told no more."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.heard = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        length = next((int(one[15:]) for one in head.lower().split(b"\r\n") if one.startswith(b"content-length:")), 0)
        self.bodies.append(await reader.readexactly(length))
        writer.write(self.answer + b"$ ")
        while piece := await reader.read(2**16):
            self.heard += piece
            writer.write(piece)
            await writer.drain()
        writer.write(b"exit")
        writer.close()

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self.server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()


UPGRADED = (
    b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n"
    b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
)
HIJACKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
EXEC = request("POST", "/crm/exec/x/start", "Connection: Upgrade", "Upgrade: tcp", body=START)


@pytest.mark.parametrize(("answer", "status"), [(UPGRADED, 101), (HIJACKED, 200)])
@pytest.mark.parametrize("early", [b"", b"early "])
async def test_an_exec_of_a_container_engine_is_a_tunnel_behind_its_body(answer, status, early):
    octets = bytes(range(256)) * 4096
    async with Engine(answer) as engine:
        async with Gate(engine.url, route={"upgrades": ("tcp",)}) as gate, gate.client() as client:
            await client.send(EXEC + early)
            head = await client.reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status)
            assert b"Content-Type: application/vnd.docker.raw-stream\r\n" in head
            assert b"Transfer-Encoding" not in head
            sending = asyncio.create_task(client.send(octets))
            assert await client.reader.readexactly(2 + len(early) + len(octets)) == b"$ " + early + octets
            await sending
            client.writer.write_eof()
            assert await client.ended() == b"exit"
            assert gate.live_route.stats.in_flight == 0
        assert engine.bodies == [START]
        assert engine.heard == early + octets
        assert b"\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nAuthorization: Bearer t0ken\r\n" in engine.heads[0]


@pytest.mark.parametrize("size", [0, 1, 200_000, 1_000_000])
async def test_the_tunnel_begins_behind_a_body_of_any_length_in_chunks_or_not(upstream, size):
    body = b"x" * size
    fields = ("Connection: upgrade", "Upgrade: Foo/2")
    for octets in (
        request("PUT", "/crm/x", *fields, f"Content-Length: {size}") + body,
        request("PUT", "/crm/x", *fields, "Transfer-Encoding: chunked")
        + (b"%x\r\n%b\r\n" % (size, body) if size else b"")
        + b"0\r\n\r\n",
    ):
        upstream.script(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: foo/2\r\n\r\n", ECHO)
        async with Gate(upstream.url, route={"upgrades": ("FOO/2",)}) as gate, gate.client() as client:
            await client.send(octets + b"GET /crm/not-a-request HTTP/1.1\r\n\r\n")
            assert (await client.answer()).status == 101
            assert await client.reader.readexactly(13) == b"GET /crm/not-"
        assert upstream.requests[-1].body == body


async def test_a_101_in_the_middle_of_a_request_is_malformed(upstream):
    upstream.script(b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: tcp\r\n\r\n", READ)
    async with Gate(upstream.url, route={"upgrades": ("tcp",)}) as gate, gate.client() as client:
        await client.send(
            request("POST", "/crm/x", "Connection: Upgrade", "Upgrade: tcp", "Content-Length: 9") + b"half"
        )
        answer = await client.answer()
    assert (answer.status, answer.field(b"proxy-status")) == (502, b"auth-sidecar; error=http_protocol_error")


@pytest.mark.parametrize("upgrade", ["h2c", "websocket", "foo", "tcp, foo", ""])
async def test_a_101_to_what_was_not_asked_for_is_malformed(upstream, upgrade):
    upstream.script(f"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: {upgrade}\r\n\r\n".encode())
    async with Gate(upstream.url, route={"upgrades": ("tcp",)}) as gate:
        answer = await gate.ask(EXEC)
    assert (answer.status, answer.field(b"proxy-status")) == (502, b"auth-sidecar; error=http_protocol_error")


@pytest.mark.parametrize(
    "octets",
    [
        request("POST", "/crm", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: A", body=b"b"),
        request("POST", "/crm", "Connection: HTTP2-Settings, upgrade", "upgrade: H2C", "HTTP2-Settings: A", body=b"b"),
        request("PUT", "/crm", "Connection: Upgrade", "Upgrade: TLS/1.0, HTTP/2.0", "Transfer-Encoding: chunked")
        + b"1\r\nb\r\n0\r\n\r\n",
        request("POST", "/crm", "Upgrade: h2c", body=b"b"),
    ],
)
async def test_an_upgrade_that_is_not_named_is_dropped_and_the_request_goes_on_with_its_body(upstream, octets):
    async with Gate(upstream.url, route={"upgrades": ("websocket", "tcp")}) as gate, gate.client() as client:
        assert (await client.ask(octets)).status == 200
        assert (await client.ask(request("GET", "/crm/second"))).status == 200
    first, second = upstream.requests
    assert first.body == b"b"
    assert not {b"upgrade", b"http2-settings", b"connection"} & {name.lower() for name, _ in first.fields}
    assert second.target == b"/second"


async def test_an_answer_that_is_no_101_ends_the_connection_and_what_came_behind_the_request_is_thrown_away(upstream):
    upstream.script(b"HTTP/1.1 409 No\r\nContent-Length: 2\r\n\r\nno")
    async with Gate(upstream.url, route={"upgrades": ("tcp",)}) as gate, gate.client() as client:
        await client.send(EXEC + request("DELETE"))
        answer = await client.answer()
        assert (answer.status, answer.field(b"connection")) == (409, b"close")
        assert await client.ended() == b""
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("target", "script", "status"),
    [
        ("/nowhere", None, 404),
        ("/crm/exec", RESET, 502),
        ("/crm/exec", b"HTTP/1.1 101 Go\r\nConnection: upgrade\r\nUpgrade: foo\r\n\r\n", 502),
        ("/crm/exec", b"nothing\r\n\r\n", 502),
    ],
)
@pytest.mark.parametrize("upgrade", ["tcp", "h2c"])
async def test_an_answer_of_our_own_ends_the_connection_too(upstream, target, script, status, upgrade):
    """What came behind the request may be of the other protocol, and no request of the app's."""
    if script is not None:
        upstream.script(script)
    async with Gate(upstream.url, route={"upgrades": ("tcp",)}) as gate, gate.client() as client:
        await client.send(request("GET", target, "Connection: Upgrade", f"Upgrade: {upgrade}") + request("DELETE"))
        answer = await client.answer()
        assert (answer.status, answer.field(b"connection")) == (status, b"close")
        assert await client.ended() == b""
    assert not any(one.line.startswith(b"DELETE") for one in upstream.requests)


async def test_a_426_says_what_to_upgrade_to(upstream):
    upstream.script(
        b"HTTP/1.1 426 No\r\nupGrade: TLS/1.0, HTTP/1.1\r\nX: y\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n"
    )
    async with Gate(upstream.url) as gate, gate.client() as client:
        answer = await client.ask(request())
        assert (answer.status, answer.field(b"upgrade")) == (426, b"TLS/1.0, HTTP/1.1")
        assert answer.all(b"connection") == [b"Upgrade"]
        assert (await client.ask(request())).status == 200
