"""Apps that read slowly cost little memory, and it is given back when they have gone."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from support.process import Program
from support.tls import Authority

READERS = 60
BODY = 10 * 1024 * 1024
EACH = 200
"""KiB that one may cost at most."""
BACK = 4 * 1024
"""KiB that may stay when all have gone."""


def memory_of(pid: int) -> int:
    """KiB of its own that a process has in memory; what the system holds for its sockets is none of it."""
    rollup = Path(f"/proc/{pid}/smaps_rollup")
    if not rollup.exists():  # macOS
        return int(subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=True, capture_output=True).stdout)
    return next(int(line.split()[1]) for line in rollup.read_text().splitlines() if line.startswith("Anonymous:"))


async def settled(pid: int, most: int) -> int:
    """What it has within half a minute; free memory is returned every few seconds."""
    for _ in range(60):
        if memory_of(pid) <= most:
            break
        await asyncio.sleep(0.5)
    return memory_of(pid)


class Upstream:
    """Sends long bodies, as fast as they are taken."""

    def __init__(self, *, chunked: bool) -> None:
        self.begun = 0
        self._chunked = chunked

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.begun += 1
                framing = b"Transfer-Encoding: chunked" if self._chunked else b"Content-Length: %d" % BODY
                writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n" % framing)
                piece = bytes(64 * 1024)
                for _ in range(BODY // len(piece)):
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
                    await writer.drain()
                if self._chunked:
                    writer.write(b"0\r\n\r\n")
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_slow_reader_of_a_long_body_costs_little_and_gives_it_back(tmp_path, tls, chunked):
    authority, upstream = Authority(), Upstream(chunked=chunked)
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    certificate, key = authority.server().write(tmp_path, "server")
    server = await asyncio.start_server(
        upstream.serve, "127.0.0.1", 0, ssl=authority.server_context() if tls else None, backlog=1000
    )
    port = server.sockets[0].getsockname()[1]
    route: dict[str, Any] = {"match": "/x", "upstream": f"{'https' if tls else 'http'}://localhost:{port}"}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        mine = free.getsockname()[1]
    listen: dict[str, Any] = {"address": f"127.0.0.1:{mine}"}
    if tls:
        route["tls"] = {"ca_file": "ca.pem"}
        listen["tls"] = {"cert_file": str(certificate), "key_file": str(key)}
    trusting = ssl.create_default_context(cadata=authority.certificate.decode()) if tls else None

    async def ask(limit: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        app = await asyncio.open_connection("localhost", mine, ssl=trusting, limit=limit, family=socket.AF_INET)
        app[1].write(b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return app

    async with Program({"routes": [route], "listen": listen}, tmp_path) as program:
        reader, writer = await ask(2**20)
        head = await reader.readuntil(b"\r\n\r\n")
        if not chunked:
            assert b"200 OK" in head
            await reader.readexactly(BODY)
        writer.close()
        before = memory_of(program.pid)
        apps = [await ask(1) for _ in range(READERS)]
        while upstream.begun < READERS + 1:
            await asyncio.sleep(0.05)
        held = await settled(program.pid, before + READERS * EACH)
        assert (held - before) / READERS <= EACH
        for _, app in apps:
            app.transport.abort()
        assert await settled(program.pid, before + BACK) <= before + BACK
    server.close()
