"""SIGTERM ends the program within `shutdown.drain`, whatever waits; and who waits for an answer gets one."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
import time

import pytest
from support.issuer import scripted_issuer
from support.process import Program
from support.settings import client_credentials, one_route

DRAIN = 2.0
SLACK = 1.5
"""Seconds for a busy machine: what is looked for here would take ten and more."""

PUSHED = {"type": "external", "update": {"secret": {"value": "guard"}}}
HEAD = b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def sent(program, octets=HEAD):
    reader, writer = await asyncio.open_connection("127.0.0.1", int(program.url.rpartition(":")[2]))
    writer.write(octets)
    return reader, writer


async def ended(program, *, within=DRAIN + SLACK):
    """SIGTERM now: how long it took to end, with 0."""
    began = time.monotonic()
    program.signal(signal.SIGTERM)
    assert await program.wait() == 0, program.log
    took = time.monotonic() - began
    assert took < within, f"{took:.1f} s\n{program.log}"
    assert "Traceback" not in program.log
    return took


async def in_flight(program, fetch, count=1):
    """Until so many requests are under way."""
    async with asyncio.timeout(30):
        while True:
            status = json.loads((await fetch(program.admin + "/status"))[2])
            if sum(route["in_flight"] for route in status["routes"].values()) >= count:
                return
            await asyncio.sleep(0.02)


def refused_with(answer, status=503):
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"Connection: close\r\n" in answer
    assert b"application/problem+json" in answer
    assert b'Proxy-Status: auth-sidecar; error=proxy_internal_response; details="' in answer


@pytest.fixture
async def hanging():
    """A token endpoint that does not answer."""
    async with scripted_issuer() as issuer:
        issuer.script.extend(["hang"] * 20)
        yield issuer


def config(upstream, credential, **more):
    return {**one_route(upstream, credential), "shutdown": {"drain": f"{DRAIN}s"}, **more}


async def test_a_request_that_waits_for_another_push(upstream, tmp_path, fetch):
    credential = {**PUSHED, "timeouts": {"total": "60s"}}
    async with Program(config(upstream.url, credential), tmp_path) as program:
        headers = {"Authorization": "Bearer guard"}
        url = program.admin + "/credentials/main/token"
        pushed = {"access_token": "a", "expires_in": 1}
        assert (await fetch(url, "PUT", json=pushed, headers=headers))[0] == 200
        await asyncio.sleep(1.1)
        reader, writer = await sent(program)
        await in_flight(program, fetch)
        await ended(program)
        refused_with(await reader.read())
        writer.close()


async def test_a_request_that_waits_for_a_token_that_was_never_pushed(upstream, tmp_path):
    """It is answered by itself, after a second; the end does not wait for more."""
    credential = {**PUSHED, "timeouts": {"total": "60s"}}
    async with Program({**config(upstream.url, credential), "shutdown": {"drain": "20s"}}, tmp_path) as program:
        reader, writer = await sent(program)
        await asyncio.sleep(0.2)
        assert await ended(program, within=8) < 8
        refused_with(await reader.read(), 502)
        writer.close()


@pytest.mark.parametrize("grant", ["client_credentials", "refresh_token", "lazy"])
async def test_a_slow_issuer(upstream, hanging, tmp_path, fetch, grant):
    credential = client_credentials(hanging.url + "/token", timeouts={"total": "60s"})
    if grant == "refresh_token":
        credential |= {"grant_type": "refresh_token", "refresh_token": {"value": "seed"}}
    if grant == "lazy":
        credential |= {"refresh": {"eager": False}}
    async with Program(config(upstream.url, credential), tmp_path, ready="/healthz") as program:
        reader, writer = await sent(program)
        await in_flight(program, fetch)
        refreshing = asyncio.create_task(fetch(program.admin + "/credentials/main/refresh", "POST"))
        await asyncio.sleep(0.2)
        await ended(program)
        refused_with(await reader.read())
        writer.close()
        with contextlib.suppress(OSError):
            await refreshing


async def test_a_renewal_after_a_refusal(upstream, tmp_path, fetch):
    """The app gets what the API said."""
    async with scripted_issuer() as issuer:
        upstream.answer = b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\nno"
        credential = client_credentials(issuer.url + "/token", timeouts={"total": "60s"})
        async with Program(config(upstream.url, credential), tmp_path) as program:
            issuer.script.extend(["hang"] * 5)
            reader, writer = await sent(program)
            await upstream.received(1)
            await in_flight(program, fetch)
            await ended(program)
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 401 No"), answer
            writer.close()


async def test_an_upstream_that_takes_the_connection_and_says_nothing(upstream, sandbox, tmp_path):
    upstream.script(asyncio.Event())
    async with Program(config(upstream.url, client_credentials(sandbox.token_endpoint)), tmp_path) as program:
        reader, writer = await sent(program)
        await upstream.received(1)
        await ended(program)
        refused_with(await reader.read())
        writer.close()


async def test_an_upstream_that_takes_no_connection(sandbox, tmp_path, fetch):
    with socket.socket() as full, contextlib.ExitStack() as stack:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(8):  # fill its backlog: whoever comes now waits for an answer to his SYN
            one = stack.enter_context(socket.socket())
            one.settimeout(0)
            one.connect_ex(full.getsockname())
        route = one_route(
            f"http://127.0.0.1:{full.getsockname()[1]}",
            client_credentials(sandbox.token_endpoint),
            timeouts={"connect": "60s"},
        )
        async with Program({**route, "shutdown": {"drain": f"{DRAIN}s"}}, tmp_path) as program:
            reader, writer = await sent(program)
            await in_flight(program, fetch)
            await ended(program)
            refused_with(await reader.read())
            writer.close()


async def test_a_command_that_does_not_end(upstream, tmp_path, fetch):
    command = [sys.executable, "-c", "import time; time.sleep(600)"]
    credential = {"type": "exec", "command": command, "timeout": "60s", "timeouts": {"total": "60s"}}
    async with Program(config(upstream.url, credential), tmp_path, ready="/healthz") as program:
        reader, writer = await sent(program)
        await in_flight(program, fetch)
        await ended(program)
        refused_with(await reader.read())
        writer.close()


@pytest.mark.parametrize("which", ["lease", "lock"])
async def test_a_store_that_another_process_holds(upstream, sandbox, tmp_path, fetch, which):
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    credential = client_credentials(sandbox.token_endpoint, timeouts={"total": "60s"})
    held = os.open(store / f"main.{which}", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        settings = config(upstream.url, credential, store={"type": "file", "path": str(store)})
        async with Program(settings, tmp_path, ready="/healthz") as program:
            reader, writer = await sent(program)
            await in_flight(program, fetch)
            await ended(program)
            if which == "lease":
                refused_with(await reader.read())
            writer.close()
    finally:
        os.close(held)


async def test_a_store_that_is_locked_while_it_is_written(upstream, sandbox, tmp_path, fetch):
    """The thread that waits for the lock does not hold up the end, either."""
    store = tmp_path / "store"
    store.mkdir(mode=0o700)
    held = os.open(store / "main.lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        settings = config(
            upstream.url, client_credentials(sandbox.token_endpoint), store={"type": "file", "path": str(store)}
        )
        async with Program({**settings, "shutdown": {"drain": "1s"}}, tmp_path) as program:
            fcntl.flock(held, fcntl.LOCK_EX)
            refreshing = asyncio.create_task(fetch(program.admin + "/credentials/main/refresh", "POST"))
            await asyncio.sleep(0.3)
            await ended(program, within=1 + SLACK)
            with contextlib.suppress(OSError):
                await refreshing
    finally:
        os.close(held)


async def test_half_a_head_half_a_body_and_a_silent_connection(upstream, sandbox, tmp_path, fetch):
    async with Program(config(upstream.url, client_credentials(sandbox.token_endpoint)), tmp_path) as program:
        head, one = await sent(program, HEAD[:-4])
        body, two = await sent(program, b"POST /api/x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
        silent, three = await sent(program, b"")
        await in_flight(program, fetch)
        await ended(program)
        assert (await head.read()).startswith(b"HTTP/1.1 408 ")
        refused_with(await body.read())
        assert await silent.read() == b""
        for writer in (one, two, three):
            writer.close()


async def test_a_tunnel_and_a_stream_without_end(upstream, sandbox, tmp_path):
    upstream.script(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", asyncio.Event())
    upstream.script(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", asyncio.Event())
    async with Program(config(upstream.url, client_credentials(sandbox.token_endpoint)), tmp_path) as program:
        tunnel, one = await sent(
            program, HEAD[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n"
        )
        assert (await tunnel.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        stream, two = await sent(program)
        await stream.readuntil(b"abc\r\n")
        await ended(program)
        for reader, writer in ((tunnel, one), (stream, two)):
            with contextlib.suppress(ConnectionError):
                assert b"\r\n0\r\n" not in await reader.read()
            writer.close()


async def test_an_answer_that_had_begun_before_ends_the_program_with_its_last_octet(upstream, sandbox, tmp_path):
    go = asyncio.Event()
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", go, b"def")
    settings = config(upstream.url, client_credentials(sandbox.token_endpoint))
    async with Program({**settings, "shutdown": {"drain": "60s"}}, tmp_path) as program:
        reader, writer = await sent(program)
        await reader.readuntil(b"abc")
        asyncio.get_running_loop().call_later(0.5, go.set)
        ending = asyncio.create_task(ended(program, within=10))
        assert await reader.readexactly(3) == b"def"
        assert await reader.read() == b""
        writer.close()
        await ending


async def test_a_directory_that_does_not_answer(tmp_path, fetch):
    async with scripted_issuer() as directory:
        silent: list[asyncio.StreamWriter] = []
        server = await asyncio.start_server(lambda _, writer: silent.append(writer), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        discover = {
            "url": f"http://127.0.0.1:{port}/where",
            "json_pointer": "/url",
            "allow_hosts": ["*.example.net"],
        }
        settings = one_route("", client_credentials(directory.url + "/token"))
        settings["routes"][0]["upstream"] = {"discover": discover}
        async with Program({**settings, "shutdown": {"drain": f"{DRAIN}s"}}, tmp_path) as program:
            reader, writer = await sent(program)
            await in_flight(program, fetch)
            await ended(program)
            refused_with(await reader.read())
            writer.close()
        for one in silent:
            one.close()
        server.close()


@pytest.fixture
def endless(tmp_path):
    """A secret whose command does not end, and when it has begun."""
    mark = tmp_path / "begun"
    code = f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(600)"

    async def begun():
        async with asyncio.timeout(60):
            while not mark.exists():
                await asyncio.sleep(0.02)

    return {"exec": [sys.executable, "-c", code]}, begun


async def test_a_reload_that_waits_for_a_command(upstream, sandbox, tmp_path, fetch, endless):
    settings = config(upstream.url, client_credentials(sandbox.token_endpoint))
    secret, begun = endless
    async with Program(settings, tmp_path) as program:
        program.write({**settings, "admin": {"bearer": secret}})
        reloading = asyncio.create_task(fetch(program.admin + "/reload", "POST"))
        await begun()
        await ended(program)
        with contextlib.suppress(OSError):
            await reloading


async def test_a_start_that_waits_for_a_command(upstream, sandbox, tmp_path, endless):
    settings = config(upstream.url, client_credentials(sandbox.token_endpoint))
    secret, begun = endless
    program = Program({**settings, "admin": {"bearer": secret}}, tmp_path)
    starting = asyncio.create_task(program.run_to_end())
    await begun()
    began = time.monotonic()
    program.signal(signal.SIGTERM)
    assert await starting == 0
    assert time.monotonic() - began < DRAIN + SLACK


async def test_the_eager_ones_are_not_renewed_any_more_while_it_drains(upstream, sandbox, tmp_path):
    """A renewal that nobody needs any more would have to be waited for."""
    sandbox.script.change(expires_in=2)
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc", asyncio.Event())
    settings = config(upstream.url, client_credentials(sandbox.token_endpoint))
    async with Program({**settings, "shutdown": {"drain": "5s"}}, tmp_path) as program:
        reader, writer = await sent(program)
        await reader.readuntil(b"abc")
        program.signal(signal.SIGTERM)
        await program.logged("stopping")
        grants = sandbox.counters.grants["client_credentials"]
        await program.wait()
        assert sandbox.counters.grants["client_credentials"] <= grants + 1
        writer.close()
