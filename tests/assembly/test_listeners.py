"""Listeners: tried before anything begins, opened last, gone at the end."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl

import aiohttp
import pytest
from cryptography.hazmat.primitives import serialization
from support.process import free_port
from support.running import Running
from support.settings import one_route
from support.tls import Authority

from proxy.assembly.listeners import server_context
from proxy.config.schema import ListenTls
from proxy.errors import ConfigurationError
from proxy.forward.proxy_server import ProxyServer

STATIC = {"type": "bearer", "token": {"value": "t"}}


@pytest.fixture
def config():
    return one_route("http://127.0.0.1:1", STATIC)


@pytest.fixture
def authority():
    return Authority()


@pytest.fixture
def tls(authority, tmp_path):
    authority.server().write(tmp_path, "own")
    return {"cert_file": "own.pem", "key_file": "own.key"}


async def test_the_admin_listener_can_be_off_and_probes_and_pushes_have_their_own(config, tmp_path):
    health, update = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    config |= {
        "admin": {"listen": "off"},
        "health": {"listen": health},
        "update": {"listen": update, "allow_insecure": True},
    }
    config["credentials"]["pushed"] = {"type": "external", "update": {"secret": {"value": "guard"}}}
    async with Running(config, tmp_path) as running:
        with pytest.raises(aiohttp.ClientConnectionError):
            await running.ask(running.admin + "/healthz")
        assert (await running.ask(f"http://{health}/readyz", headers={"Host": "any.example"}))[0] == 200
        assert (await running.ask(f"http://{health}/status"))[0] == 404
        push = {"json": {"access_token": "t"}, "headers": {"Authorization": "Bearer guard", "Host": "any.example"}}
        assert (await running.ask(f"http://{update}/credentials/pushed/token", "PUT", **push))[0] == 200
        assert (await running.ask(f"http://{update}/healthz"))[0] == 404


async def test_listeners_with_tls_answer_over_tls_alone(config, authority, tls, tmp_path):
    front, update = free_port(), free_port()
    config |= {
        "listen": [{"address": f"127.0.0.1:{front}", "tls": tls}, f"unix:{tmp_path}/front.sock"],
        "update": {"listen": f"localhost:{update}", "tls": tls},
    }
    trusting = authority.client_context()
    async with Running(config, tmp_path) as running:
        assert (await running.ask(f"https://127.0.0.1:{front}/none", ssl=trusting))[0] == 404
        assert (await running.ask(f"https://localhost:{update}/none", ssl=trusting))[0] == 404
        with pytest.raises(aiohttp.ClientError):
            await running.ask(f"http://127.0.0.1:{front}/none")


async def test_a_reload_presents_the_certificate_that_the_file_holds_now(config, authority, tls, tmp_path):
    port = free_port()
    config["listen"] = {"address": f"127.0.0.1:{port}", "tls": tls}
    async with Running(config, tmp_path) as running:

        async def presented():
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=authority.client_context())
            found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
            await writer.wait_closed()
            return found

        before = await presented()
        authority.server().write(tmp_path, "own")
        await running.app.reload()
        assert await presented() != before
        (tmp_path / "own.pem").write_text("nonsense")
        after = await presented()
        with pytest.raises(ConfigurationError, match=r"own\.pem"):
            await running.app.reload()
        assert await presented() == after


async def test_nobody_is_told_that_we_are_ready_before_the_data_path_is_open(config, tmp_path, monkeypatch):
    listen, begun, go_on = ProxyServer.listen, asyncio.Event(), asyncio.Event()

    async def slow(front, *where, **how):
        begun.set()
        await go_on.wait()
        return await listen(front, *where, **how)

    monkeypatch.setattr(ProxyServer, "listen", slow)
    running = Running(config, tmp_path)
    starting = asyncio.create_task(running.__aenter__())
    await begun.wait()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", int(running.admin.rpartition(":")[2]))
    go_on.set()
    await starting
    assert (await running.ask(running.admin + "/readyz"))[0] == 200
    await running.__aexit__(None, None, None)


async def test_a_certificate_that_cannot_be_used_stops_the_start(config, tls, tmp_path):
    (tmp_path / "own.key").write_text("nonsense")
    config["listen"] = {"address": f"127.0.0.1:{free_port()}", "tls": tls}
    with pytest.raises(ConfigurationError, match=r"tls of a listener: .*own\.pem.*not a certificate"):
        await Running(config, tmp_path).app.start()


def test_a_certificate_that_is_not_there_is_said_to_be(tmp_path):
    with pytest.raises(ConfigurationError, match="no such file"):
        server_context(ListenTls(cert_file=str(tmp_path / "none"), key_file=str(tmp_path / "none")))


def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path):
    certificate, path = Authority().server().write(tmp_path, "own")
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"phrase"),
        )
    )
    with pytest.raises(ConfigurationError, match="not a certificate, or not its key"):
        server_context(ListenTls(cert_file=str(certificate), key_file=str(path)))


def test_nothing_older_than_tls_1_2_is_spoken(authority, tmp_path):
    certificate, key = authority.server().write(tmp_path, "own")
    context = server_context(ListenTls(cert_file=str(certificate), key_file=str(key)))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_a_file_in_the_place_of_a_socket_is_left_alone(config, tmp_path):
    (tmp_path / "precious").write_text("data")
    with pytest.raises(OSError, match=r"admin\.listen: cannot listen on .*precious.*not a socket"):
        await Running({**config, "admin": {"listen": f"unix:{tmp_path}/precious"}}, tmp_path).app.start()
    assert (tmp_path / "precious").read_text() == "data"


async def test_a_socket_that_a_successor_has_taken_over_is_left_to_it(config, tmp_path):
    path = tmp_path / "admin.sock"
    async with Running({**config, "admin": {"listen": f"unix:{path}"}}, tmp_path):
        path.unlink()
        successor = socket.socket(socket.AF_UNIX)
        successor.bind(str(path))
    assert path.exists()
    successor.close()


async def test_a_name_that_does_not_resolve_is_an_error_of_the_listener(config, tmp_path):
    with pytest.raises(OSError, match=r"admin\.listen: cannot listen on nowhere\.invalid:1: "):
        await Running(
            {**config, "admin": {"listen": "nowhere.invalid:1", "bearer": {"value": "b"}}}, tmp_path
        ).app.start()


@pytest.mark.parametrize(
    ("more", "modes"),
    [
        ({}, (0o600, 0o600)),
        ({"callers": "any"}, (0o666, 0o600)),
        ({"callers": {"bearer": {"value": "b"}}}, (0o666, 0o600)),
        ({"callers": {"unix_uids": [4711]}}, (0o666, 0o666)),
        ({"admin": {"bearer": {"value": "b"}}}, (0o600, 0o666)),
    ],
)
async def test_others_can_connect_to_a_unix_socket_where_something_else_says_who_may(config, tmp_path, more, modes):
    front, admin = tmp_path / "front.sock", tmp_path / "admin.sock"
    config["listen"] = f"unix:{front}"

    def asked(change):
        return {**config, **change, "admin": {"listen": f"unix:{admin}", **change.get("admin", {})}}

    def seen():
        return front.stat().st_mode & 0o777, admin.stat().st_mode & 0o777

    async with Running(asked(more), tmp_path) as running:
        assert seen() == modes
        await running.reload(asked({}))
        assert seen() == (0o600, 0o600)
        await running.reload(asked(more))
        assert seen() == modes


async def test_a_socket_that_another_process_binds_while_requests_finish_is_left_to_it(config, tmp_path):
    """The number of a file that was removed is given to the next one."""
    path, kept, port = tmp_path / "front.sock", tmp_path / "kept", free_port()
    config["listen"] = [f"unix:{path}", f"127.0.0.1:{port}"]
    async with Running(config, tmp_path) as running:
        os.link(path, kept)
        _, app = await asyncio.open_connection("127.0.0.1", port)
        app.write(b"GET ")
        assert (await running.ask(f"http://127.0.0.1:{port}/none"))[0] == 404  # by now the head has begun
        running.app.quit()
        while path.exists():
            await asyncio.sleep(0.01)
        os.link(kept, path)
        app.close()
        await running.ended
        assert path.exists()
