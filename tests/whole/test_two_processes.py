"""Two processes behind one port, with one store between them: they renew once, whichever of them is asked or killed."""

from __future__ import annotations

import asyncio
import base64
from contextlib import asynccontextmanager

import aiohttp
import pytest
from support.process import Program, free_port
from support.settings import client_credentials, one_route


@pytest.fixture(params=["file", pytest.param("redis", marks=pytest.mark.peer("redis-server"))])
def store(request, tmp_path, redis_server):
    """What they have between them."""
    if request.param == "file":
        return {"type": "file", "path": str(tmp_path / "tokens")}
    key = base64.b64encode(b"k" * 32).decode()
    url = {"value": redis_server.url}
    return {"type": "redis", "url": url, "encryption_key": {"value": key}, "key_prefix": f"{tmp_path.name}:"}


@pytest.fixture
def config(sandbox, store):
    credential = client_credentials(
        sandbox.token_endpoint, grant_type="refresh_token", refresh_token={"value": "sandbox-refresh-token"}
    )
    return {
        **one_route(sandbox.url + "/api", credential),
        "listen": f"127.0.0.1:{free_port()}",
        "reuse_port": True,
        "store": store,
    }


@pytest.fixture
def pair(config, tmp_path):
    @asynccontextmanager
    async def run():
        folders = [tmp_path / "one", tmp_path / "two"]
        for folder in folders:
            folder.mkdir()
        async with Program(config, folders[0]) as one, Program(config, folders[1]) as two:
            yield one, two

    return run


async def asked(url, times):
    """The statuses of requests on connections of their own, so that the kernel spreads them over the processes."""

    async def one(number):
        async with aiohttp.ClientSession() as http, http.get(f"{url}/api/{number}") as answer:
            return answer.status

    return await asyncio.gather(*(one(number) for number in range(times)))


async def served(fetch, program):
    _, _, body = await fetch(program.admin + "/metrics")
    name = 'auth_sidecar_http_requests_total{code="200",method="GET",route="api"} '
    return sum(float(line.removeprefix(name)) for line in body.decode().splitlines() if line.startswith(name))


async def test_two_processes_on_one_port_share_the_requests_and_each_renewal(pair, config, sandbox, fetch):
    """The issuer rotates, and revokes the whole grant when it sees a refresh token twice."""
    url = f"http://{config['listen']}"
    async with pair() as programs:
        assert sandbox.counters.grants == {"refresh_token": 1}
        for renewal_hold in range(2, 5):
            sandbox.script.change(token_faults=[{"kind": "slow", "seconds": 0.2}])
            sandbox.ledger.revoke_access_tokens()
            assert set(await asked(url, 40)) == {200}
            assert sandbox.counters.grants == {"refresh_token": renewal_hold}
        counts = [await served(fetch, program) for program in programs]
    assert sum(counts) == 120
    assert min(counts) > 10
    assert (sandbox.counters.token_requests.most, sandbox.counters.refusals) == (1, {})


async def test_when_the_one_that_renews_is_killed_the_other_takes_over(pair, config, sandbox, fetch):
    """The killed one had sent the refresh token; the issuer had not begun: the other may send it, once."""
    if config["store"]["type"] == "redis":  # else the lease ends with its holder
        config["credentials"]["main"]["timeouts"] = {"total": "2s"}
        config["store"]["lease"] = "6s"
    async with pair() as (one, two):
        sandbox.script.change(token_faults=[{"kind": "slow", "seconds": 30}])
        sandbox.ledger.revoke_access_tokens()
        renewal = asyncio.create_task(fetch(one.admin + "/credentials/main/refresh", "POST"))
        async with asyncio.timeout(30):
            while sandbox.counters.token_requests.now == 0:
                await asyncio.sleep(0.01)
        waiting = asyncio.create_task(fetch(two.admin + "/credentials/main/refresh", "POST"))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await one.kill()
        await asyncio.gather(renewal, return_exceptions=True)
        status, _, body = await waiting
        async with asyncio.timeout(60):
            while status == 503 and config["store"]["type"] == "redis":  # until the lease of the dead one has ended
                await asyncio.sleep(0.2)
                status, _, body = await fetch(two.admin + "/credentials/main/refresh", "POST")
        assert status == 200, body
        assert set(await asked(f"http://{config['listen']}", 5)) == {200}
    assert sandbox.counters.grants == {"refresh_token": 2}
    assert (sandbox.counters.token_requests.total, sandbox.counters.refusals) == (3, {})
