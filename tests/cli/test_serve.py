"""`auth-sidecar serve`, as a process: signals and exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket

from support.process import Program
from support.recording_upstream import RecordingUpstream
from support.settings import one_route

STATIC = one_route("http://127.0.0.1:9", {"type": "bearer", "token": {"env": "HOME"}})


async def test_it_ends_with_0_on_sigterm_and_sigint_and_follows_the_log_settings(tmp_path):
    program = Program(STATIC, tmp_path)
    async with program:
        assert '"message": "auth-sidecar ' in program.log
        program.write({**STATIC, "log": {"format": "text"}})
        program.signal(signal.SIGHUP)
        await program.logged(" info    app: the configuration was reloaded")
        program.signal(signal.SIGINT)
        assert await program.wait() == 0


async def test_a_second_signal_ends_it_at_once(tmp_path):
    async with RecordingUpstream() as upstream:
        upstream.script(asyncio.Event(), b"")
        config = one_route(upstream.url, STATIC["credentials"]["main"])
        async with Program({**config, "shutdown": {"drain": "1h"}}, tmp_path) as program:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(program.url.rpartition(":")[2]))
            writer.write(b"GET /api/x HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await upstream.received(1)
            program.signal(signal.SIGTERM)
            await program.logged("stopping")
            program.signal(signal.SIGTERM)
            assert await program.wait() == 0
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()


async def test_a_key_that_cannot_be_used_is_78_and_no_traceback(tmp_path):
    issued = {
        "type": "oauth2",
        "token_endpoint": "https://x.example",
        "client_id": "c",
        "client_secret": {"env": "HOME"},
    }
    program = Program(one_route("http://127.0.0.1:9", {**issued, "dpop": {"key": {"env": "HOME"}}}), tmp_path)
    assert await program.run_to_end() == 78
    assert re.search(r"^\S+config\.yaml:\d+:7: dpop\.key: not an unencrypted private key", program.log, re.MULTILINE)
    assert "Traceback" not in program.log


async def test_a_doubtful_configuration_is_told_in_the_log_and_every_line_of_it_is_json(tmp_path):
    key = {"type": "header", "name": "X-Key", "value": {"value": "hush"}}
    async with Program(one_route("http://127.0.0.1:9", key), tmp_path) as program:
        lines = [json.loads(line) for line in program.log.splitlines()]
    assert (lines[0]["level"], lines[0]["logger"]) == ("warning", "app")
    assert "a secret in the configuration file" in lines[0]["message"]
    assert "hush" not in program.log


async def test_a_listener_that_is_taken_is_1_with_a_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        program = Program({**STATIC, "listen": address}, tmp_path)
        assert await program.run_to_end() == 1
    assert f"auth-sidecar cannot start: listen: cannot listen on {address}: address already in use\n" in program.log
