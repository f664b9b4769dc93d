"""DPoP against a real authorization server that wants nonces, and an API whose nonce changes with every answer."""

from __future__ import annotations

import asyncio

import pytest
from support.oidc_provider.resource_server import ResourceServer
from support.process import Program
from support.settings import client_credentials, one_route

pytestmark = pytest.mark.peer("oidc_provider")


@pytest.fixture
async def api(provider):
    async with ResourceServer(provider, dpop=True) as running:
        yield running


def credential(provider, **more):
    return client_credentials(provider.token_endpoint, "dpop", provider.secrets["dpop"], **{"dpop": True, **more})


@pytest.mark.parametrize("dpop", [True, {"alg": "EdDSA"}], ids=["ES256", "EdDSA"])
async def test_bound_tokens_are_got_and_used_and_after_the_first_answer_no_request_is_refused(
    provider, api, tmp_path, fetch, dpop
):
    await provider.set(require_nonce=True)
    async with Program(one_route(api.url, credential(provider, dpop=dpop)), tmp_path) as program:
        for number in range(20):
            status, headers, _ = await fetch(f"{program.url}/api/a%2Fb/{number}?q=1", headers={"DPoP": "the app's"})
            assert status == 200
            assert "DPoP-Nonce" not in headers
    assert api.statuses == [401] + [200] * 20
    assert (await provider.stats())["statuses"] == {"400": 1, "200": 1}


async def test_a_hundred_requests_at_once_share_the_nonce_as_well_as_they_can(provider, api, tmp_path, fetch):
    async with Program(one_route(api.url, credential(provider)), tmp_path) as program:
        await fetch(program.url + "/api/warm")
        answers = await asyncio.gather(*(fetch(f"{program.url}/api/{number}") for number in range(50)))
    statuses = [status for status, _, _ in answers]
    assert set(statuses) <= {200, 401}
    assert statuses.count(200) >= 1
    assert len(api.statuses) <= 2 + 2 * 50  # each is sent twice at the most


async def test_the_key_outlives_a_token_and_a_revoked_token_is_replaced(provider, api, tmp_path, fetch):
    async with Program(one_route(api.url, credential(provider)), tmp_path) as program:
        await fetch(program.url + "/api/x")
        await provider.forget_access_tokens()
        assert (await fetch(program.url + "/api/x"))[0] == 200
        assert (await fetch(program.url + "/api/x"))[0] == 200
    assert api.statuses[-1] == 200
    assert len(set(api.tokens)) == 2
