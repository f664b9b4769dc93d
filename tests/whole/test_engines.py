"""A container engine behind the whole program: its socket, its API, and what happens on an `exec`."""

from __future__ import annotations

import asyncio
import json
import stat

import pytest
from aiohttp import web
from support.front import Client
from support.running import Running

KEY = {"type": "header", "name": "X-Registry-Auth", "value": {"value": "k3y"}}
START = json.dumps({"Detach": False, "Tty": True}).encode()


class Engine:
    """`/v1.43/info`, and an exec that says back what it is told, upside down, until its input ends."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await self._head(reader):
            line, *fields = head.decode().split("\r\n")
            method, target, _ = line.split(" ")
            found = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in fields if one)}
            body = await reader.readexactly(int(found.get("content-length", "0")))
            self.seen.append((method, target, found))
            if found.get("upgrade") == "tcp":
                assert body == START
                writer.write(b"HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n")
                writer.write(b"Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n")
                while line_in := await reader.readline():
                    writer.write(line_in.strip()[::-1] + b"\n")
                writer.write(b"exit 0\n")
                break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""


@pytest.fixture(params=["tcp", "unix", "http+unix"])
async def engine(request, tmp_path):
    running = Engine()
    if request.param == "tcp":
        server = await asyncio.start_server(running.serve, "127.0.0.1", 0)
        where = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1.43"
    else:
        server = await asyncio.start_unix_server(running.serve, tmp_path / "engine.sock")
        quoted = str(tmp_path / "engine.sock").replace("/", "%2F")
        where = "unix:engine.sock:/v1.43" if request.param == "unix" else f"http+unix://{quoted}/v1.43"
    yield running, where
    server.close()


def config(where, **route):
    return {
        "routes": [{"match": "/docker", "upstream": where, "credential": "main", **route}],
        "credentials": {"main": KEY},
    }


async def test_an_exec_runs_to_its_end_behind_ordinary_requests(engine, tmp_path):
    running_engine, where = engine
    async with Running(config(where, upgrades=["websocket", "TCP"], host="docker"), tmp_path) as running:
        assert (await running.ask(running.url + "/docker/info"))[0] == 200
        client = Client(*await asyncio.open_connection("127.0.0.1", int(running.url.rpartition(":")[2])))
        await client.send(
            b"POST /docker/exec/x/start HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(START) + START + b"early\n"
        )
        assert (await client.answer()).status == 101
        assert await client.reader.readline() == b"ylrae\n"
        for word in (b"one", b"two"):
            await client.send(word + b"\n")
            assert await client.reader.readline() == word[::-1] + b"\n"
        client.writer.write_eof()
        assert await client.ended() == b"exit 0\n"
        client.writer.close()
        assert (await running.ask(running.url + "/docker/info"))[0] == 200
    first, start, last = running_engine.seen
    assert (first[:2], last[:2]) == (("GET", "/v1.43/info"),) * 2
    assert start[:2] == ("POST", "/v1.43/exec/x/start")
    assert {one[2]["host"] for one in running_engine.seen} == {"docker"}
    assert {one[2]["x-registry-auth"] for one in running_engine.seen} == {"k3y"}


async def test_an_upgrade_that_the_route_does_not_name_reaches_no_engine(engine, tmp_path):
    running_engine, where = engine
    async with Running(config(where), tmp_path) as running:
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        status, _, _ = await running.ask(running.url + "/docker/exec/x/start", "POST", data=START, headers=headers)
    assert status == 200
    assert "upgrade" not in running_engine.seen[0][2]


async def test_our_own_socket_and_one_to_an_upstream_stand_side_by_side(tmp_path):
    async def echo(request: web.Request) -> web.Response:
        return web.json_response({"host": request.host, "key": request.headers["X-Registry-Auth"]})

    app = web.Application()
    app.router.add_get("/x", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "app.sock")).start()
    try:
        given = config("unix:app.sock") | {"listen": "unix:own.sock"}
        async with Running(given, tmp_path):
            assert stat.S_ISSOCK((tmp_path / "own.sock").stat().st_mode)
            client = Client(*await asyncio.open_unix_connection(str(tmp_path / "own.sock")))
            answer = await client.ask(b"GET /docker/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.writer.close()
    finally:
        await runner.cleanup()
    assert (answer.status, json.loads(answer.body)) == (200, {"host": "localhost", "key": "k3y"})
