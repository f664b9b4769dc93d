"""`auth-sidecar sandbox`: what it says; that it serves is shown by the tests of the whole program."""

from __future__ import annotations

import asyncio
import os
import socket
import sys

import pytest
from msgspec.structs import replace

from proxy.cli.sandbox_command import hint
from proxy.config.schema import Config, Listen, ListenTls, Match, Route

CONFIG = Config(routes=(Route(match=Match(path="/echo/"), upstream="http://127.0.0.1:1"),))
TLS = ListenTls(cert_file="c", key_file="k")


@pytest.mark.parametrize(
    ("listen", "line"),
    [
        (Listen(address="127.0.0.1:8080"), "curl http://127.0.0.1:8080/echo/hello"),
        (Listen(address="localhost:8443", tls=TLS), "curl https://localhost:8443/echo/hello"),
        (Listen(address="unix:/run/a.sock"), "curl --unix-socket /run/a.sock http://localhost/echo/hello"),
    ],
)
def test_the_line_to_paste_reaches_the_first_listener(listen, line):
    assert hint(replace(CONFIG, listen=(listen,))).strip() == line


def test_a_port_that_is_taken_is_said(command):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = command("sandbox", "--port", str(taken.getsockname()[1]))
    assert said.code == 1
    assert "the sandbox cannot listen on 127.0.0.1:" in said.err


def test_a_configuration_that_cannot_be_used_starts_nothing(command, file):
    file.write_text("routes: []")
    said = command("sandbox", "--port", "0", "--serve", str(file))
    assert said.code == 78
    assert said.out == ""


async def test_alone_it_runs_until_it_is_told_to_stop():
    process = await asyncio.create_subprocess_exec(
        sys.executable, *("-m", "proxy", "sandbox", "--port", "0"), stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    assert process.stdout is not None
    line = await process.stdout.readline()
    assert line.startswith(b"sandbox: token endpoint http://127.0.0.1:")
    process.terminate()
    await process.stdout.read()
    assert await process.wait() == 0
