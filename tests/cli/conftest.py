"""The command line as a function: words in, exit code and both outputs out."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
import yaml
from support.running import Running
from support.settings import client_credentials, one_route

from proxy.cli.main import main
from proxy.sandbox.sandbox_server import Sandbox, SandboxOptions


class Said(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str


@pytest.fixture
def file(tmp_path):
    return tmp_path / "config.yaml"


@pytest.fixture
def written(file):
    """Put a configuration into the file."""

    def write(config: dict[str, Any]) -> None:
        file.write_text(yaml.safe_dump(config, sort_keys=False))

    return write


@pytest.fixture
def command(capsys, file):
    """One command with the test's configuration."""

    def run(*words: str) -> Said:
        capsys.readouterr()
        try:
            code = main(["-c", str(file), *words])
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def beside(command):
    """The same, while the program runs in the test's own loop."""

    async def run(*words: str) -> Said:
        return await asyncio.to_thread(command, *words)

    return run


@pytest.fixture
async def sandbox():
    async with Sandbox(SandboxOptions(port=0)) as running:
        yield running


@pytest.fixture
async def running(sandbox, tmp_path):
    """The program with one oauth2 credential `main` that vends, one `key`, one `pushed`; guarded by a bearer."""
    config = one_route(sandbox.url + "/api", client_credentials(sandbox.token_endpoint, vend=True))
    config["admin"] = {"bearer": {"value": "hush-admin"}}
    config["credentials"]["key"] = {"type": "header", "name": "X-Key", "value": {"value": "hush-key"}}
    config["credentials"]["pushed"] = {"type": "external", "update": {"secret": {"value": "hush-guard"}}}
    async with Running(config, tmp_path) as program:
        await program.until_ready()
        yield program
