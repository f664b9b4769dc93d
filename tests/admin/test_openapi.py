"""The description of the admin side, held against the admin side by a tool that believes every word of it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
import yaml
from support.program import Served, StandingProgram

from proxy.admin.applications import Applications
from proxy.admin.ports import CredentialView
from proxy.model import Token
from proxy.stats import RouteStats

DESCRIPTION = Path(__file__).parents[2] / "docs" / "openapi.yaml"


def _described():
    paths = yaml.safe_load(DESCRIPTION.read_text())["paths"]
    return {
        (method.upper(), path) for path, item in paths.items() for method in item if method in {"get", "put", "post"}
    }


def _offered(app):
    return {(route.method, route.resource.canonical) for route in app.router.routes() if route.method != "HEAD"}


def test_every_path_and_method_is_described_and_none_besides():
    assert _offered(Applications(StandingProgram()).admin()) == _described()


@pytest.fixture
async def program(make_crm):
    """One that goes on after being told to quit."""
    crm = await make_crm(Token(access_token="held"), vend=True)
    stats = RouteStats()
    stats.count(b"GET", 200, 0.02)
    crm.program.credentials["key"] = CredentialView(type="header")
    crm.program.routes = {"crm": stats}
    crm.program.secret = "right"
    crm.program.quit = lambda: None
    return crm.program


async def test_every_answer_to_hundreds_of_made_up_requests_is_as_described(program, tmp_path):
    async with Served(Applications(program).admin()) as served:
        command = [
            *(sys.executable, "-m", "schemathesis.cli"),
            *("--config-file", str(Path(__file__).with_name("schemathesis.toml"))),
            *("run", str(DESCRIPTION), "--url", f"http://127.0.0.1:{served.port}", "--checks", "all"),
            *("-H", "Authorization: Bearer right"),
        ]
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=tmp_path,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()

    assert process.returncode == 0, said.decode()
