"""The parts of the world around the program: an issuer, an upstream, a client."""

from __future__ import annotations

import aiohttp
import pytest
from support.oidc_provider.provider import OidcProvider
from support.recording_upstream import RecordingUpstream
from yarl import URL

from proxy.sandbox.sandbox_server import Sandbox, SandboxOptions


@pytest.fixture
async def sandbox():
    async with Sandbox(SandboxOptions(port=0)) as running:
        yield running


@pytest.fixture
async def upstream():
    async with RecordingUpstream() as running:
        yield running


@pytest.fixture
async def provider():
    async with OidcProvider() as running:
        yield running


@pytest.fixture
async def http():
    """A client without limits of its own."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), auto_decompress=False) as session:
        yield session


@pytest.fixture
def fetch(http):
    """One request: status, header fields, body."""

    async def one(url, method="GET", **how):
        async with http.request(method, URL(url, encoded=True), allow_redirects=False, **how) as answer:
            return answer.status, answer.headers, await answer.read()

    return one
