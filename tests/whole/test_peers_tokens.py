"""What went wrong with tokens in other programs of this kind, tried on ours. Each test names the row of our list."""

from __future__ import annotations

import asyncio
import gc
import json

import pytest
import yaml
from support.issuer import scripted_issuer
from support.process import Program, free_port
from support.settings import client_credentials, one_route

from proxy.app import App
from proxy.clock import SystemClock
from proxy.config.load import load
from proxy.tokens.manager import TokenManager

REFUSED = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 0\r\n\r\n'
GUARD = {"Authorization": "Bearer guard"}


@pytest.fixture
async def issuer():
    async with scripted_issuer(live_refresh_token="rt-0") as running:
        yield running


@pytest.fixture
def config(issuer, upstream):
    def make(**more):
        return one_route(upstream.url, client_credentials(f"{issuer.url}/token", **more))

    return make


def sent(upstream):
    return [request.field(b"authorization").decode().removeprefix("Bearer ") for request in upstream.requests]


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_revoked_token_is_not_sent_again_although_its_expiry_is_far_away(config, upstream, tmp_path, fetch):
    """1: the renewal after a 401 renewed only what was about to expire, and sent the revoked token again."""
    upstream.script(REFUSED)
    async with Program(config(), tmp_path) as program:
        assert (await fetch(program.url + "/api/x"))[0] == 200
    assert sent(upstream) == ["at-1", "at-2"]


async def test_a_late_401_does_not_throw_away_the_newer_token(config, issuer, upstream, tmp_path, fetch):
    """2: any 401 dropped whatever token was held then, and a burst of late ones asked the issuer once each."""
    late = asyncio.Event()
    for _ in range(10):
        upstream.script(late, REFUSED)
    async with Program(config(), tmp_path) as program:
        slow = [asyncio.create_task(fetch(f"{program.url}/api/{number}")) for number in range(10)]
        await until(lambda: len(upstream.requests) == 10)
        upstream.script(REFUSED)
        assert (await fetch(program.url + "/api/first"))[0] == 200
        late.set()
        assert [answer[0] for answer in await asyncio.gather(*slow)] == [200] * 10
        assert (await fetch(program.url + "/api/last"))[0] == 200
    assert sent(upstream) == ["at-1"] * 11 + ["at-2"] * 12
    assert issuer.count == 2


@pytest.mark.parametrize("bad", ["no token at all", {"access_token": ""}, {"token_type": "Bearer"}])
async def test_an_unusable_answer_of_the_issuer_is_followed_by_another_attempt(config, issuer, tmp_path, fetch, bad):
    """6: after one answer that could not be read nobody ever asked again. Here nobody but the program itself asks."""
    issuer.script.append((200, bad))
    async with Program(config(), tmp_path) as program:
        async with asyncio.timeout(30):
            while json.loads((await fetch(program.admin + "/status"))[2])["credentials"]["main"]["state"] != "fresh":
                await asyncio.sleep(0.05)
    assert issuer.count == 2


async def test_an_expired_token_is_never_sent(config, issuer, upstream, tmp_path, fetch):
    """7: once the issuer was gone, the expired token was served for ever."""
    issuer.lifetime = 2
    async with Program(config(), tmp_path) as program:
        assert (await fetch(program.url + "/api/x"))[0] == 200
        issuer.script.extend([(500, "down")] * 1000)
        async with asyncio.timeout(30):
            while (await fetch(program.url + "/api/x"))[0] == 200:
                await asyncio.sleep(0.02)
        arrived = len(upstream.requests)
        assert {(await fetch(program.url + "/api/x"))[0] for _ in range(20)} == {503}
    assert len(upstream.requests) == arrived


async def test_callers_wait_for_a_slow_issuer_and_no_token_arrives_in_its_last_moments(sandbox, tmp_path, fetch):
    """8: there was no margin, and whoever waited for longer than a second got an error."""
    sandbox.script.change(expires_in=5, token_faults=[{"kind": "slow", "seconds": 2}])
    credential = client_credentials(sandbox.token_endpoint, refresh={"eager": False})
    async with Program(one_route(sandbox.url + "/api", credential), tmp_path) as program:
        answers = await asyncio.gather(*(fetch(f"{program.url}/api/{number}") for number in range(20)))
        assert {status for status, _, _ in answers} == {200}
        assert sandbox.counters.token_requests.total == 1
        while sandbox.counters.token_requests.total < 3:
            assert (await fetch(program.url + "/api/x"))[0] == 200
    assert sandbox.counters.api_unauthorized == 0


async def test_a_pushed_refresh_token_is_not_spent_to_see_whether_it_is_good_and_an_old_push_replaces_nothing(
    config, issuer, upstream, tmp_path, fetch
):
    """14: a refresh token that came from outside was tried at once, and so rotated; and the last push always won."""
    pushing = config(grant_type="refresh_token", update={"secret": {"value": "guard"}}, refresh={"eager": False})
    async with Program(pushing, tmp_path) as program:

        async def push(token, timestamp):
            said = {"token": {"access_token": token, "expires_in": 600, "refresh_token": "rt"}, "timestamp": timestamp}
            return (await fetch(program.admin + "/credentials/main/token", "PUT", json=said, headers=GUARD))[0]

        now = int(SystemClock().wall())
        assert [await push("newer", now), await push("older", now - 10)] == [200, 409]
        assert (await fetch(program.url + "/api/x"))[0] == 200
        assert (sent(upstream), issuer.count) == (["newer"], 0)


async def test_a_dead_issuer_costs_its_own_route_and_no_other(issuer, upstream, tmp_path, fetch):
    """15: the program did not start, or dropped the route for good."""
    port = free_port()
    good = client_credentials(f"{issuer.url}/token")
    config = {
        "routes": [
            {"match": "/dead", "upstream": upstream.url, "credential": "dead"},
            {"match": "/good", "upstream": upstream.url, "credential": "good"},
        ],
        "credentials": {
            "dead": client_credentials(f"http://127.0.0.1:{port}/token"),
            "good": good,
        },
    }
    async with Program(config, tmp_path) as program:
        assert [(await fetch(f"{program.url}/{name}/x"))[0] for name in ("dead", "good")] == [503, 200]
        program.write(config | {"credentials": {"dead": good, "good": good}})
        assert (await fetch(program.admin + "/reload", "POST"))[0] == 200
        assert (await fetch(program.url + "/dead/x"))[0] == 200


async def test_nothing_is_left_of_tenants_that_were_forgotten(config, tmp_path, fetch):
    """16: what guarded each key of the cache was kept for ever."""
    others = [one for one in gc.get_objects() if isinstance(one, TokenManager)]  # of failures yet to be reported
    port = free_port()
    told = config(per={"header": "X-Tenant", "max": 3}) | {"listen": f"127.0.0.1:{port}", "admin": {"listen": "off"}}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(told))
    app = App(file, load(file, {}), {}, SystemClock())
    await app.start()
    running = asyncio.create_task(app.run())
    for number in range(100):
        headers = {"X-Tenant": f"t-{number}"}
        assert (await fetch(f"http://127.0.0.1:{port}/api/x", headers=headers))[0] == 200
    gc.collect()
    managers = [one for one in gc.get_objects() if isinstance(one, TokenManager) and one not in others]
    app.quit()
    await running
    assert len(managers) == 3


@pytest.mark.parametrize("how", ["another seed", "removed and added again"])
async def test_a_renewal_in_flight_does_not_bring_back_what_an_operator_has_replaced(
    config, issuer, upstream, tmp_path, fetch, how
):
    """17: a renewal that ended after its credential was deleted or replaced wrote the old one back."""

    def seeded(seed):
        return {
            **config(grant_type="refresh_token", refresh_token={"value": seed}, refresh={"eager": False}),
            "store": {"type": "file", "path": "tokens"},
        }

    async with Program(seeded("rt-0"), tmp_path) as program:

        async def reload(configuration):
            program.write(configuration)
            assert (await fetch(program.admin + "/reload", "POST"))[0] == 200

        issuer.script.append("hang")
        renewal = asyncio.create_task(fetch(program.admin + "/credentials/main/refresh", "POST"))
        await until(lambda: issuer.count == 1)
        if how == "another seed":
            await reload(seeded("rt-new"))
        else:
            bare = {"routes": [{"match": "/api", "upstream": upstream.url, "credential": None}]}
            await reload(seeded("rt-0") | bare | {"credentials": {}})
            await reload(seeded("rt-new"))
        issuer.let_go.set()
        await asyncio.gather(renewal, return_exceptions=True)
        assert (await fetch(program.url + "/api/x"))[0] == 200
        assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == 200
    async with Program(seeded("rt-new"), tmp_path) as program:
        assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == 200
    asked = [one["refresh_token"] for one in issuer.asked]
    assert asked[0] == "rt-0"
    assert set(asked[1:]) == {"rt-new"}


async def test_a_token_that_is_good_is_not_thrown_away_because_its_early_renewal_fails(
    config, issuer, upstream, tmp_path, fetch
):
    """18: within the margin before the expiry a failed renewal failed the request."""
    issuer.lifetime = 10
    async with Program(config(), tmp_path) as program:
        issuer.script.extend([(503, "later")] * 3)
        while issuer.count < 3:
            assert (await fetch(program.url + "/api/x"))[0] == 200
            await asyncio.sleep(0.01)
    assert set(sent(upstream)) == {"at-1"}
