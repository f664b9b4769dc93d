"""An upstream that listens on a unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

import pytest
from support.front import Gate, request
from support.recording_upstream import CLOSE, ECHO, RESET, RecordingUpstream

from proxy.config import schema
from proxy.forward.unix_socket import connected_to


@pytest.fixture
async def engine(tmp_path):
    """A recording upstream that is reached by a path."""
    path = str(tmp_path / "engine.sock")
    async with RecordingUpstream() as upstream:

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await upstream._serve(reader, writer)

        server = await asyncio.start_unix_server(serve, path, limit=2**26)
        yield upstream, path
        server.close()


@pytest.mark.parametrize(
    ("upstream", "target"),
    [
        ("unix:{path}", b"/x?y=z"),
        ("unix:{path}:/", b"/x?y=z"),
        ("unix:{path}:/v1.43", b"/v1.43/x?y=z"),
        ("unix://{path}", b"/x?y=z"),
        ("http+unix://{quoted}", b"/x?y=z"),
        ("http+unix://{quoted}/v1.43/", b"/v1.43/x?y=z"),
    ],
)
@pytest.mark.parametrize(("host", "seen"), [(None, b"localhost"), ("docker", b"docker"), ("a_b:81", b"a_b:81")])
async def test_requests_go_to_the_socket_with_the_credential(engine, upstream, target, host, seen):
    recording, path = engine
    url = upstream.format(path=path, quoted=path.replace("/", "%2F"))
    async with Gate(url, route={"host": host}) as gate, gate.client() as client:
        for body in (b"", b"x" * 1_000_000, b"end"):
            assert (await client.ask(request("POST", "/crm/x?y=z", body=body))).status == 200
    assert [bytes(one.body) for one in recording.requests] == [b"", b"x" * 1_000_000, b"end"]
    assert {one.connection for one in recording.requests} == {1}
    assert {one.target for one in recording.requests} == {target}
    assert {one.field(b"host") for one in recording.requests} == {seen}
    assert {one.field(b"authorization") for one in recording.requests} == {b"Bearer t0ken"}


@pytest.mark.parametrize("size", [3, 2_000_000])
async def test_answers_of_every_framing_come_back_whole(engine, size):
    recording, path = engine
    body = b"x" * size
    recording.script(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + body)
    recording.script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, body))
    recording.script(b"HTTP/1.1 200 OK\r\n\r\n" + body, CLOSE)
    async with Gate(f"unix:{path}") as gate, gate.client() as client:
        for _ in range(3):
            assert (await client.ask(request())).body == body


async def test_an_exec_is_a_tunnel_by_way_of_a_socket_too(engine):
    recording, path = engine
    recording.script(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", ECHO)
    octets = bytes(range(256)) * 4096
    async with Gate(f"unix:{path}:/v1.43", route={"upgrades": ("tcp",)}) as gate, gate.client() as client:
        start = request("POST", "/crm/exec/x/start", "Connection: Upgrade", "Upgrade: tcp", body=b'{"Tty":true}')
        await client.send(start)
        assert (await client.answer()).status == 101
        sending = asyncio.create_task(client.send(octets))
        assert await client.reader.readexactly(len(octets)) == octets
        await sending
        client.writer.write_eof()
        assert await client.ended() == b""
    assert recording.requests[0].body == b'{"Tty":true}'
    assert recording.requests[0].target == b"/v1.43/exec/x/start"


@pytest.mark.parametrize("kind", ["missing", "a file", "nobody listens", "a directory"])
async def test_a_socket_that_cannot_be_connected_to_is_502(tmp_path, kind):
    path = tmp_path / "x.sock"
    with contextlib.ExitStack() as stack:
        if kind == "a file":
            path.touch()
        elif kind == "a directory":
            path.mkdir()
        elif kind == "nobody listens":
            handle = stack.enter_context(socket.socket(socket.AF_UNIX))
            handle.bind(str(path))
        async with Gate(f"unix:{path}") as gate:
            answer = await gate.ask(request())
    assert (answer.status, answer.field(b"proxy-status")) == (502, b"auth-sidecar; error=connection_refused")
    assert str(path).encode() not in answer.body


async def test_a_server_that_comes_back_is_reached_again(engine):
    recording, path = engine
    async with Gate(f"unix:{path}") as gate:
        assert (await gate.ask(request())).status == 200
        recording.drop()
        assert (await gate.ask(request())).status == 200
        recording.script(RESET)
        assert (await gate.ask(request("POST"))).status == 502
        assert (await gate.ask(request())).status == 200


async def test_a_full_backlog_is_waited_for_until_the_time_is_up(tmp_path):
    """unix(7): connecting says EAGAIN then, which is no promise that it will succeed."""
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(path)
        listener.listen(0)
        while True:
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.settimeout(0)
            try:
                waiting.connect(path)
            except BlockingIOError:
                break
        timeouts = schema.RouteTimeouts(connect=schema.Duration(0.2))
        async with Gate(f"unix:{path}", route={"timeouts": timeouts}) as gate:
            answer = await gate.ask(request())
        assert (answer.status, answer.field(b"proxy-status")) == (504, b"auth-sidecar; error=connection_timeout")
        connecting = asyncio.create_task(connected_to(path))
        await asyncio.sleep(0)
        assert not connecting.done()
        stack.enter_context(listener.accept()[0])
        stack.enter_context(await asyncio.wait_for(connecting, 5))


@pytest.mark.parametrize(
    ("location", "here"),
    [
        (b"http://localhost/v1/a", b"http://localhost/crm/a"),
        (b"/v1/a", b"/crm/a"),
        (b"http://other/v1/a", b"http://other/v1/a"),
    ],
)
async def test_what_a_server_calls_itself_is_called_ours(engine, location, here):
    recording, path = engine
    recording.script(b"HTTP/1.1 302 Found\r\nLocation: %b\r\nContent-Length: 0\r\n\r\n" % location)
    rules: dict[str, Any] = {"rewrite_response": schema.RewriteResponse(location=True)}
    async with Gate(f"unix:{path}:/v1", route=rules) as gate:
        assert (await gate.ask(request())).field(b"location") == here
