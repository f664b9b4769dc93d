"""The load: wrk for requests as fast as they go, and a thousand connections that do nothing."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from dataclasses import dataclass

from machine import LOAD_CORE, Program, find
from modes import Mode
from peers import HERE

ANSWER_WITHIN = 10.0
OPENING_AT_ONCE = 32


@dataclass(frozen=True)
class Load:
    """What a run of the load saw. `p50`, `p99`: milliseconds. `errors`: answers outside 2xx, connections broken."""

    requests: int
    seconds: float
    errors: int
    p50: float
    p99: float


def drive(mode: Mode, port: int, seconds: int) -> Load:
    """Requests over `mode.connections` connections for that long, one after the other on each."""
    environment = dict(
        os.environ,
        LOAD_BODY=str(mode.body),
        LOAD_CONNECTION="close" if mode.close else "keep-alive",
        LOAD_VARIED="yes" if mode.varied else "no",
    )
    options = [
        "-t1",
        f"-c{mode.connections}",
        f"-d{seconds}s",
        "--timeout",
        "10s",
        "-s",
        str(HERE / "parts" / "load.lua"),
    ]
    url = f"http://127.0.0.1:{port}{mode.path}"
    done = subprocess.run(
        ["taskset", "--cpu-list", str(LOAD_CORE), find("wrk"), *options, url],
        env=environment,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("FIGURES "))
    seen = json.loads(line.removeprefix("FIGURES "))
    return Load(
        requests=seen["requests"],
        seconds=seen["microseconds"] / 1e6,
        errors=seen["refused"] + seen["broken"],
        p50=seen["p50"] / 1000,
        p99=seen["p99"] / 1000,
    )


@dataclass(frozen=True)
class Idle:
    """What open connections cost that do nothing: memory per connection, and CPU per second of silence."""

    opened: int
    errors: int
    mib_before: float
    mib_open: float
    cpu_ms_per_second: float


def sit(mode: Mode, peer: Program, seconds: int) -> Idle:
    """Open `mode.connections` connections, send one request on each, then keep silent for that long."""
    return asyncio.run(_sit(mode, peer, seconds))


async def _sit(mode: Mode, peer: Program, seconds: int) -> Idle:
    before = peer.resident_mib()
    turn = asyncio.Semaphore(OPENING_AT_ONCE)

    async def visit() -> asyncio.StreamWriter:
        async with turn, asyncio.timeout(ANSWER_WITHIN):
            reader, writer = await asyncio.open_connection("127.0.0.1", peer.port)
            writer.write(f"GET {mode.path} HTTP/1.1\r\nHost: 127.0.0.1:{peer.port}\r\nAccept: */*\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200 "):
                raise ConnectionError(head.partition(b"\r\n")[0].decode("latin-1"))
            await reader.readuntil(b"}")  # the whole of the small answer
            return writer

    visits = await asyncio.gather(*(visit() for _ in range(mode.connections)), return_exceptions=True)
    writers = [visit for visit in visits if isinstance(visit, asyncio.StreamWriter)]
    await asyncio.sleep(1)
    started, cpu = time.monotonic(), peer.cpu_nanoseconds()
    await asyncio.sleep(seconds)
    silent = (peer.cpu_nanoseconds() - cpu) / 1e6 / (time.monotonic() - started)
    result = Idle(
        opened=len(writers),
        errors=len(visits) - len(writers),
        mib_before=before,
        mib_open=peer.resident_mib(),
        cpu_ms_per_second=silent,
    )
    for writer in writers:
        writer.close()
    await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
    return result
