from __future__ import annotations

import asyncio
import socket

from support.program import Served, StandingProgram, admin_of

from proxy.admin.admin_server import Runner
from proxy.admin.applications import Applications
from proxy.clock import SystemClock
from proxy.config.schema import Duration, Limits


async def test_a_runner_closes_what_it_was_given():
    runner = Runner(Applications(StandingProgram()).health(), Limits, SystemClock())
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", 0))
    runner.listen([listening])
    await runner.cleanup()

    assert listening.fileno() == -1


async def test_whoever_reads_no_answer_does_not_hold_up_the_end():
    async with asyncio.timeout(30):
        async with admin_of(StandingProgram()) as served:
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500)
            await writer.drain()
        writer.close()


async def test_limits_are_asked_for_anew_for_each_connection():
    """A reload may have changed them."""
    now = [Limits(keep_alive=Duration(0.05))]
    async with Served(Applications(StandingProgram()).health(), limits=lambda: now[0]) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 200")
        writer.close()
        now[0] = Limits(header_timeout=Duration(0.05))
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()
