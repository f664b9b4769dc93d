"""What strangers send, as the log of the whole program shows it."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.process import Program, free_port

TARGETS = [
    b"/none\x85\x9b2J\x80\x9f",
    b"/none\xc2\x85\xc2\x9b2J",
    b"/none\xe2\x80\xae\xe2\x80\xa8",
    b"/none\xff\xfe",
    b"/none\xa0\xad",
]


@pytest.mark.parametrize("form", ["json", "text"])
async def test_no_control_of_a_target_reaches_the_log(tmp_path, form):
    config = {
        "log": {"format": form, "access": "all"},
        "routes": [{"match": "/x", "upstream": f"http://127.0.0.1:{free_port()}", "credential": None}],
    }
    async with Program(config, tmp_path) as program:
        port = int(program.url.rpartition(":")[2])
        for target in TARGETS:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"GET " + target + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.1 404 ")
            writer.close()
            await writer.wait_closed()
    told = [line for line in program.log.splitlines() if "none" in line]

    assert len(told) == len(TARGETS)
    assert all(line.isprintable() for line in program.log.split("\n"))
    if form == "json":
        assert json.loads(told[0])["path"] == TARGETS[0].decode("latin-1")
