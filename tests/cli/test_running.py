"""Finding the running instance and speaking to it."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from support.running import Running as Program
from support.settings import one_route

from proxy.cli.command_errors import RefusedError, UnreachableError
from proxy.cli.running import Running, config_of, exchange, find, secret_of
from proxy.config.schema import Admin, Config, Secret
from proxy.errors import ConfigurationError

PLAIN = {"routes": [{"match": "/a", "upstream": "http://127.0.0.1:1"}]}
STATIC = one_route("http://127.0.0.1:1", {"type": "bearer", "token": {"value": "t"}})


async def test_the_bearer_and_an_allowed_host_are_sent(running):
    found = find(running.file)
    status, document = await asyncio.to_thread(found.ask, "GET", "/status")
    assert (status, set(document["credentials"])) == (200, {"main", "key", "pushed"})
    assert (await asyncio.to_thread(found.ask, "GET", "/status", bearer="wrong"))[0] == 401


async def test_a_refusal_says_what_the_instance_said(running):
    with pytest.raises(RefusedError, match="Not found") as refusal:
        await asyncio.to_thread(find(running.file).must, "GET", "/nowhere")
    assert refusal.value.status == 404


async def test_a_unix_socket_is_as_good_as_a_port(tmp_path):
    config = {**STATIC, "admin": {"listen": f"unix:{tmp_path}/admin.sock"}, "allowed_hosts": ["only.example"]}
    async with Program(config, tmp_path) as program:
        document = await asyncio.to_thread(find(program.file).must, "GET", "/status")
    assert document["credentials"]["main"]["state"] == "fresh"


async def test_what_listens_everywhere_is_reached_on_loopback(tmp_path):
    port = Program(STATIC, tmp_path)._admin_port
    config = {**STATIC, "admin": {"listen": f"0.0.0.0:{port}", "bearer": {"exec": ["echo", "printed"]}}}
    async with Program(config, tmp_path) as program:
        document = await asyncio.to_thread(find(program.file).must, "GET", "/status")
    assert "main" in document["credentials"]


def test_a_file_that_was_broken_still_says_where_the_instance_is(file, written):
    written(
        {**PLAIN, "admin": {"listen": "127.0.0.1:12345"}, "credentials": {"main": {"type": "nonsense"}}, "bogus": 1}
    )
    assert config_of(file).admin.listen == "127.0.0.1:12345"


@pytest.mark.parametrize("text", ["routes: [", "- a list", "admin: {listen: nonsense}", ""])
def test_a_file_that_says_nothing_of_use_is_reported_as_it_is(file, text):
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"config\.yaml:[12]:"):
        config_of(file)


def test_an_admin_listener_that_is_off_cannot_be_reached():
    with pytest.raises(UnreachableError, match=r"admin\.listen is off"):
        Running(Config(routes=(), admin=Admin(listen=None)))


@pytest.mark.parametrize("answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
def test_something_that_is_no_sidecar_cannot_be_reached(answer):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UnreachableError, match="no running instance answers on"):
            exchange(f"127.0.0.1:{server.getsockname()[1]}", "GET", "/", {})
        thread.join()


@pytest.mark.parametrize("body", [b"[]", b"ok", b""])
def test_an_answer_that_is_no_document_is_not_ours(body):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(UnreachableError, match="is not auth-sidecar"):
            exchange(f"127.0.0.1:{server.getsockname()[1]}", "GET", "/", {})
        thread.join()


def test_secrets_are_read_from_wherever_they_are(monkeypatch):
    monkeypatch.setenv("HUSH", "from-env")
    assert secret_of(Secret(env="HUSH")) == "from-env"
    assert secret_of(Secret(exec=("echo", "printed"))) == "printed"
    with pytest.raises(ConfigurationError):
        secret_of(Secret(exec=("false",)))
    with pytest.raises(ConfigurationError):
        secret_of(Secret(credential="other"))
