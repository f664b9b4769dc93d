"""A sandbox on a free port, with a clock that only the test moves, and a session to talk to it."""

from __future__ import annotations

import aiohttp
import pytest
from support.clock import FakeClock

from proxy.sandbox.sandbox_server import Sandbox, SandboxOptions


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
async def sandbox(clock):
    async with Sandbox(SandboxOptions(port=0), clock=clock) as running:
        yield running


@pytest.fixture
async def http(sandbox):
    async with aiohttp.ClientSession(sandbox.url) as session:
        yield session


@pytest.fixture
def ask(http):
    """One token request of the client `sandbox`, by client_secret_post: its status and JSON."""

    async def one(**members: str):
        form = {"client_id": "sandbox", "client_secret": "sandbox-secret", **members}
        async with http.post("/oauth2/token", data=form) as answer:
            return answer.status, await answer.json()

    return one
