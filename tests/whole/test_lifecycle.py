"""Start, reload and stop of the whole program."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys

import pytest
from support.process import Program, free_port
from support.settings import client_credentials, one_route


@pytest.fixture
def config(sandbox):
    return one_route(sandbox.url + "/api", client_credentials(sandbox.token_endpoint))


async def test_it_says_that_it_is_alive_ready_and_what_it_holds(config, tmp_path, fetch):
    async with Program(config, tmp_path) as program:
        assert (await fetch(program.admin + "/healthz"))[0] == 200
        assert (await fetch(program.admin + "/readyz"))[0] == 200
        await fetch(program.url + "/api/x")
        status = json.loads((await fetch(program.admin + "/status"))[2])
        assert set(status) >= {"version", "uptime", "credentials", "routes", "store"}
        credential = status["credentials"]["main"]
        assert (credential["type"], credential["state"], credential["generation"]) == ("oauth2", "fresh", 1)
        metrics = (await fetch(program.admin + "/metrics"))[2].decode()
        assert 'auth_sidecar_http_requests_total{code="200",method="GET",route="api"} 1' in metrics
        assert 'auth_sidecar_token_refreshes_total{credential="main",result="success"} 1' in metrics


async def test_sigterm_lets_requests_in_flight_end_and_takes_no_new_ones(upstream, sandbox, tmp_path, fetch):
    go = asyncio.Event()
    upstream.script(go, b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    program = Program(one_route(upstream.url, client_credentials(sandbox.token_endpoint)), tmp_path)
    async with program:
        request = asyncio.create_task(fetch(program.url + "/api/x"))
        await upstream.received(1)
        program.signal(signal.SIGTERM)
        async with asyncio.timeout(20):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", int(program.url.rpartition(":")[2]))
                    writer.close()
                    await writer.wait_closed()
                except ConnectionRefusedError:
                    break
                except ConnectionResetError:  # made by the kernel in the very moment in which the listener closed
                    continue
        assert not request.done()
        go.set()
        status, headers, body = await request
        assert (status, body, headers["Connection"]) == (200, b"done", "close")
        assert await program.wait() == 0


async def test_sigterm_ends_a_program_with_idle_connections_at_once(config, tmp_path, fetch):
    async with Program({**config, "shutdown": {"drain": "30s"}}, tmp_path) as program:
        await fetch(program.url + "/api/x")
        program.signal(signal.SIGTERM)
        async with asyncio.timeout(25):
            assert await program.wait() == 0


@pytest.mark.parametrize("how", ["SIGHUP", "POST /reload"])
async def test_a_reload_takes_a_new_route_and_keeps_the_token_of_an_unchanged_credential(
    config, sandbox, tmp_path, fetch, how
):
    async with Program(config, tmp_path) as program:
        assert (await fetch(program.url + "/new/x"))[0] == 404
        config["routes"].append({"match": "/new", "upstream": sandbox.url + "/api", "credential": "main"})
        program.write(config)
        if how == "SIGHUP":
            program.signal(signal.SIGHUP)
        else:
            assert (await fetch(program.admin + "/reload", "POST"))[0] == 200
        async with asyncio.timeout(10):
            while (await fetch(program.url + "/new/x"))[0] != 200:
                await asyncio.sleep(0.02)
        assert (await fetch(program.url + "/api/x"))[0] == 200
    assert sandbox.counters.grants == {"client_credentials": 1}


async def test_a_reload_of_a_broken_file_changes_nothing_and_says_what_is_wrong(config, tmp_path, fetch):
    async with Program(config, tmp_path) as program:
        program.file.write_text(program.file.read_text().replace("upstream:", "upstrem:"))
        status, _, body = await fetch(program.admin + "/reload", "POST")
        assert status >= 400
        assert b"upstrem" in body
        assert (await fetch(program.url + "/api/x"))[0] == 200
        metrics = (await fetch(program.admin + "/metrics"))[2].decode()
        assert "auth_sidecar_config_last_reload_successful 0" in metrics


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rutes": []}, "rutes"),
        ({"routes": []}, "routes"),
        ({"credentials": {"main": {"type": "oauth2", "token_endpoint": "https://x.example"}}}, "client_id"),
    ],
)
async def test_a_configuration_that_cannot_be_used_never_starts(config, tmp_path, change, said):
    program = Program({**config, **change}, tmp_path)
    assert await program.run_to_end() == 78
    assert said in program.log
    assert "Traceback" not in program.log


async def test_a_listener_that_is_taken_is_an_error_and_nothing_half_starts(config, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config["admin"] = {"listen": f"127.0.0.1:{taken.getsockname()[1]}"}
        program = Program(config, tmp_path)
        assert await program.run_to_end() == 1
    assert "Traceback" not in program.log
    assert "in use" in program.log


async def test_make_run_starts_sandbox_and_sidecar_and_prints_a_line_to_paste(tmp_path, fetch):
    """What `make run` does, on free ports."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    config = one_route(f"{endpoint}/api", client_credentials(f"{endpoint}/oauth2/token"), match="/echo")
    program = Program(config, tmp_path)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", "sandbox", "--port", str(port), "--serve", str(program.file)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(30):
            while b"curl" not in (line := await process.stdout.readline()):
                assert line, "it ended"
            url = line.split()[-1].decode()
            assert url == program.url + "/echo/hello"
            while True:
                try:
                    status, _, body = await fetch(url)
                    break
                except OSError:
                    await asyncio.sleep(0.02)
        assert status == 200
        echo = json.loads(body)
        assert echo["target"] == "/api/hello"
        assert any(name == "Authorization" and value.startswith("Bearer ") for name, value in echo["headers"])
        process.send_signal(signal.SIGTERM)
        rest = await process.stdout.read()
        assert await process.wait() == 0, rest
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
