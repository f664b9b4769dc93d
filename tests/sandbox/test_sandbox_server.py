from __future__ import annotations

import asyncio
import logging

import aiohttp
import pytest
from support.clock import FakeClock
from support.tls import Authority

from proxy.sandbox.sandbox_server import Sandbox, SandboxOptions, _Complaints, serve


async def test_a_sandbox_that_was_stopped_comes_back_on_the_same_port_and_still_knows_its_tokens(sandbox, ask, http):
    _, body = await ask(grant_type="client_credentials")
    before = sandbox.url
    await sandbox.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.get("/open/x")
    await sandbox.start()
    assert sandbox.url == before
    async with http.get("/api/x", headers={"Authorization": f"Bearer {body['access_token']}"}) as answer:
        assert answer.status == 200


async def test_the_demonstration_refresh_token_is_good_once(ask):
    assert (await ask(grant_type="refresh_token", refresh_token="sandbox-refresh-token"))[0] == 200
    assert (await ask(grant_type="refresh_token", refresh_token="sandbox-refresh-token"))[0] == 400


async def test_without_a_demonstration_refresh_token_there_is_none():
    async with Sandbox(SandboxOptions(port=0, refresh_token=None), clock=FakeClock()) as sandbox:
        assert sandbox.ledger.refresh("sandbox-refresh-token") is None


async def test_the_issuer_is_the_public_url_where_others_reach_it_by_another_name():
    async with Sandbox(SandboxOptions(port=0, public_url="http://sandbox:9911")) as sandbox:
        assert (sandbox.url, sandbox.token_endpoint) == ("http://sandbox:9911", "http://sandbox:9911/oauth2/token")


@pytest.mark.parametrize(
    "octets",
    [
        b"GET /api/x HTTP/1.1\r\nHost: localhost\r\nAuthorization Bearer s3cret\r\n\r\n",
        b"GET /.well-known/openid-configuration HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Encoding: deflate\r\nContent-Length: 8\r\n\r\n" + b"\xff" * 8,
    ],
)
async def test_what_cannot_be_read_leaves_no_trace(sandbox, octets, caplog):
    _, _, port = sandbox.url.rpartition(":")
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(octets)
    assert (await asyncio.wait_for(reader.read(), 30)).startswith(b"HTTP/1.")
    writer.close()
    await writer.wait_closed()
    assert "Traceback" not in caplog.text


def test_a_failure_of_ours_keeps_its_trace(caplog):
    _Complaints(logging.getLogger("auth_sidecar.sandbox")).exception("failed", exc_info=ValueError("why"))
    assert "ValueError: why" in caplog.text


async def test_a_sandbox_speaks_tls_where_it_is_given_a_certificate():
    authority = Authority()
    async with Sandbox(SandboxOptions(port=0), tls=authority.server_context()) as sandbox:
        assert sandbox.url.startswith("https://")
        async with (
            aiohttp.ClientSession() as http,
            http.get(sandbox.url + "/open/x", ssl=authority.client_context()) as a,
        ):
            assert a.status == 200


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_behind(sandbox):
    port = int(sandbox.url.rpartition(":")[2])
    second = Sandbox(SandboxOptions(port=port))
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await second.stop()


async def test_an_open_websocket_does_not_keep_the_sandbox_from_stopping(sandbox, http):
    async with http.ws_connect("/open/socket") as socket:
        stopping = asyncio.create_task(sandbox.stop())
        message = await socket.receive()
        assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
        await stopping


async def test_serve_runs_until_it_is_told_to_stop():
    stop, listening = asyncio.Event(), asyncio.get_running_loop().create_future()
    running = asyncio.create_task(serve(SandboxOptions(port=0), ready=listening.set_result, stop=stop))
    sandbox = await listening
    async with aiohttp.ClientSession() as http, http.get(sandbox.url + "/open/x") as answer:
        assert answer.status == 200
    stop.set()
    await running


async def test_serve_ends_when_its_task_is_cancelled():
    listening = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(serve(SandboxOptions(port=0), ready=listening.set_result))
    sandbox = await listening
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", int(sandbox.url.rpartition(":")[2]))


def test_the_options_show_no_password():
    assert "password" not in repr(SandboxOptions())
