"""Hundreds of credentials in one program: what their first tokens must not leave behind."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter

import pytest
import yaml
from support.process import free_port
from support.settings import client_credentials

from proxy.app import App
from proxy.clock import SystemClock
from proxy.config.load import load

MANY = 200


def transports():
    """Those that the collector looks at."""
    return [one for one in gc.get_objects() if isinstance(one, asyncio.Transport)]


@pytest.fixture
def others():
    """Transports that stood before: of other fixtures, of earlier programs, of failures that are yet to be reported."""
    gc.unfreeze()
    return transports()


@pytest.fixture
async def app(others, sandbox, tmp_path):  # noqa: ARG001 - asked for its moment
    """Begun while an issuer took its time, and now all of its tokens are there."""
    sandbox.script.change(token_faults=[{"kind": "slow", "seconds": 0.3, "times": None}])
    name = "c{}".format
    config = {
        "listen": f"127.0.0.1:{free_port()}",
        "admin": {"listen": "off"},
        "routes": [{"match": "/", "upstream": sandbox.url + "/api", "credential": name(0)}],
        "credentials": {name(number): client_credentials(sandbox.token_endpoint) for number in range(MANY)},
    }
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    app = App(file, load(file, {}), {}, SystemClock())
    await app.start()
    running = asyncio.create_task(app.run())
    async with asyncio.timeout(30):
        while Counter(entry.tokens.report().state for entry in app.runtime.entries.values()) != {"fresh": MANY}:
            await asyncio.sleep(0.02)
    yield app
    app.quit()
    await running


@pytest.mark.usefixtures("app")
async def test_nothing_is_left_of_a_token_request_that_was_answered(others):
    """What lives as long as the program is hidden from the collector; a request under way is no such thing."""

    def ended():
        return [one for one in transports() if one.is_closing() and not any(one is other for other in others)]

    async with asyncio.timeout(30):
        while ended():  # in this very moment
            gc.collect()
            await asyncio.sleep(0.01)
    gc.unfreeze()
    try:
        assert ended() == []
    finally:
        gc.freeze()
