"""The real stores must be what the tests of the sidecar take them for."""

from __future__ import annotations

import asyncio

import pytest

from support.redis_server import REDIS, RedisServer, Watched, ask, valkey

pytestmark = pytest.mark.peer("redis-server")

BINARIES = [
    pytest.param(REDIS, id="redis"),
    pytest.param(valkey(), id="valkey", marks=pytest.mark.skipif(valkey() is None, reason="no Valkey here")),
]


@pytest.mark.parametrize("binary", BINARIES)
async def test_a_server_that_is_paused_does_not_answer_and_one_that_was_killed_has_forgotten(tmp_path, binary):
    async with RedisServer(tmp_path, binary=binary) as server:
        assert await ask(server.port, "SET", "x", "1") == "+OK\r\n"
        server.pause()
        question = asyncio.create_task(ask(server.port, "GET", "x"))
        await asyncio.sleep(0.1)
        assert not question.done()
        server.resume()
        assert await question == "$1\r\n1\r\n"
        await server.kill()
        with pytest.raises(OSError, match=r"\d"):
            await ask(server.port, "PING")
        await server.start()
        assert await ask(server.port, "GET", "x") == "$-1\r\n"


@pytest.mark.parametrize("binary", BINARIES)
async def test_a_master_that_is_killed_is_replaced(tmp_path, binary):
    async with Watched(tmp_path, binary=binary) as watched:
        first, second = watched.servers
        assert await watched.master() is first
        await ask(first.port, "SET", "x", "1")
        assert await ask(first.port, "WAIT", "1", "5000") == ":1\r\n"
        await first.kill()
        async with asyncio.timeout(60):
            while await watched.master() is not second or not (await ask(second.port, "ROLE")).count("master"):
                await asyncio.sleep(0.1)
        assert await ask(second.port, "GET", "x") == "$1\r\n1\r\n"
