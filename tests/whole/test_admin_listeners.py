"""The admin side's three listeners as strangers find them: held open, filled with rubbish, without file descriptors."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys

import pytest
from support.process import Program, free_port
from support.tls import Authority

RUBBISH = [
    b"",
    b"\x16\x03\x01rubbish\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"GET / HT",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000,
    b"GET /\x85\x9b2J HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET //[:: HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\0" * 100,
    b"\r\n" * 100,
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nab",
    b"PUT /credentials/ext/token HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"PUT /credentials/\xc2\x85\x1b/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}",
    b"PUT /credentials/ext/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\n{}",
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n" + b"\xff" * 100,
    b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50,
    b"POST /reload HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    b"CONNECT x:1 HTTP/1.1\r\nHost: x:1\r\n\r\n\x16\x03\x01",
]


class Ports:
    """Of one program's listeners."""

    def __init__(self) -> None:
        self.admin, self.health, self.update, self.plain = (free_port() for _ in range(4))


def _config(ports, tls, **more):
    certificate, key = tls
    return {
        "admin": {"listen": f"127.0.0.1:{ports.admin}"},
        "health": {"listen": f"127.0.0.1:{ports.health}"},
        "update": {
            "listen": f"127.0.0.1:{ports.update}",
            "tls": {"cert_file": str(certificate), "key_file": str(key)},
        },
        "log": {"format": "json", "level": "info", "access": "all"},
        "routes": [{"match": "/x", "upstream": f"http://127.0.0.1:{ports.plain}", "credential": "ext"}],
        "credentials": {"ext": {"type": "external", "update": {"secret": {"env": "GUARD"}}}},
        **more,
    }


@pytest.fixture
def tls(tmp_path):
    return Authority().server().write(tmp_path, "own")


class Started(Program):
    """A program whose admin listener has a port of its own."""

    def __init__(self, ports, config, directory, **how) -> None:
        super().__init__(config, directory, environ={"GUARD": "hush"}, ready="/healthz", **how)
        self.admin = f"http://127.0.0.1:{ports.admin}"


async def _alive(port):
    async with asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
    return answer.startswith(b"HTTP/1.1 200 ")


def _lines(program):
    """Each line that it said, as the JSON that it must be."""
    return [json.loads(line) for line in program.log.splitlines()]


async def _send(port, octets, *, reset):
    with contextlib.suppress(ConnectionError):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(octets)
        await writer.drain()
        await asyncio.sleep(0.01)
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()
        await writer.wait_closed()


async def test_strangers_who_hold_every_connection_keep_no_probe_out(tmp_path, tls):
    ports = Ports()
    async with Started(ports, _config(ports, tls), tmp_path) as program:
        held = []
        for port in (ports.admin, ports.health, ports.update):
            held += [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        assert await _alive(ports.health)
        assert await _alive(ports.admin)
        for one in held:
            one.close()
    lines = _lines(program)

    assert {line["level"] for line in lines} <= {"info"}
    assert not [line for line in lines if "exception" in line]


async def test_nothing_that_strangers_send_leaves_a_traceback_or_a_line_that_is_no_json(tmp_path, tls):
    ports = Ports()
    async with Started(ports, _config(ports, tls), tmp_path) as program:
        for octets in RUBBISH:
            for port in (ports.admin, ports.health, ports.update):
                for reset in (False, True, True, True):
                    await _send(port, octets, reset=reset)
        assert await _alive(ports.health)
        assert await _alive(ports.admin)
    lines = _lines(program)

    assert {line["level"] for line in lines} <= {"info"}
    assert not [line for line in lines if "exception" in line]
    assert not [char for char in program.log if "\x7f" <= char <= "\x9f"]


async def test_strangers_who_hold_every_file_descriptor_keep_no_probe_out(tmp_path, tls):
    ports = Ports()
    few = ("/bin/sh", "-c", 'ulimit -n 160; exec "$0" -m proxy "$@"', sys.executable)
    async with Started(ports, _config(ports, tls), tmp_path, command=few) as program:
        port = int(program.url.rpartition(":")[2])
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(400)]
        async with asyncio.timeout(30):
            while "no file descriptors are left" not in program.log:
                await asyncio.sleep(0.02)
        for _ in range(20):
            assert await _alive(ports.health)
            assert await _alive(ports.admin)
        for one in held:
            one.close()
    lines = _lines(program)

    assert not [line for line in lines if "exception" in line]
