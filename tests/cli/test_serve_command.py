"""`auth-sidecar serve`, as a process: signals and exit codes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
from contextlib import closing

import aiohttp
from support.notified import Notified
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
    assert re.search(r"^\S+config\.yaml:\d+:7: dpop\.key: no private key", program.log, re.MULTILINE)
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


async def test_a_service_manager_hears_of_start_reload_and_end_and_is_kept_informed(tmp_path):
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    with closing(Notified(told["NOTIFY_SOCKET"])) as manager:
        async with Program(STATIC, tmp_path, environ=told) as program:
            assert await heard(manager, "READY") == [{"READY": "1", "STATUS": "serving"}]
            program.signal(signal.SIGHUP)
            started, ended = await heard(manager, "READY")
            assert (started["RELOADING"], ended["STATUS"]) == ("1", "serving")
            program.file.write_text("routes: [")
            program.signal(signal.SIGHUP)
            _, ended = await heard(manager, "READY")
            assert ended["STATUS"] == "serving; the last reload was refused, and the log says why"
            await manager.until("WATCHDOG")
            program.write({**STATIC, "shutdown": {"delay": "100ms", "drain": "3s"}})
            await heard(manager, "READY")
        (last,) = await heard(manager, "STOPPING")
        assert last["EXTEND_TIMEOUT_USEC"] == "8100000"


async def heard(manager: Notified, name: str) -> list[dict[str, str]]:
    """Up to the first message that assigns this name, those of the watchdog left out."""
    return [message for message in await manager.until(name) if "WATCHDOG" not in message]


async def test_commands_of_secrets_know_nothing_of_the_service_manager(tmp_path):
    command = ["sh", "-c", "{ echo seen; printenv NOTIFY_SOCKET; } > environment; echo t"]
    config = one_route("http://127.0.0.1:9", {"type": "bearer", "token": {"exec": command}})
    told = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
    with closing(Notified(told["NOTIFY_SOCKET"])):
        async with Program(config, tmp_path, environ=told) as program, aiohttp.ClientSession() as http:
            await http.get(program.url + "/api/x")
    assert (tmp_path / "environment").read_text() == "seen\n"
