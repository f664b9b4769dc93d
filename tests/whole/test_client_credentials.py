"""The main job against a real authorization server: oidc-provider issues, a resource server introspects."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from support.oidc_provider.resource_server import ResourceServer
from support.process import Program
from support.settings import client_credentials, one_route

pytestmark = pytest.mark.peer("oidc_provider")


@pytest.fixture
async def api(provider):
    async with ResourceServer(provider) as running:
        yield running


def credential(provider, method="basic", **more):
    return client_credentials(
        provider.token_endpoint,
        method,
        provider.secrets[method],
        token_endpoint_auth_method=f"client_secret_{method}",
        **more,
    )


@pytest.mark.parametrize("method", ["basic", "post"])
async def test_a_request_without_a_credential_arrives_with_a_token_that_the_issuer_knows(
    provider, api, tmp_path, fetch, method
):
    config = one_route(api.url, credential(provider, method, resource=["urn:api"], scope="read"))
    async with Program(config, tmp_path) as program:
        status, _, body = await fetch(
            program.url + "/api/orders?q=1", headers={"Authorization": "Bearer the app's own"}
        )
    assert (status, json.loads(body)["target"]) == (200, "/orders?q=1")
    (token,) = api.tokens
    known = await provider.introspect(token)
    assert (known["client_id"], known["aud"], known["scope"]) == (method, "urn:api", "read")


async def test_two_hundred_first_requests_at_once_cost_one_token_request(provider, api, tmp_path, fetch):
    await provider.set(delay_ms=300)
    config = one_route(api.url, credential(provider, refresh={"eager": False}))
    async with Program(config, tmp_path) as program:
        assert (await provider.stats())["token_requests"] == 0
        answers = await asyncio.gather(*(fetch(f"{program.url}/api/{number}") for number in range(200)))
    assert [status for status, _, _ in answers] == [200] * 200
    assert {json.loads(body)["target"] for _, _, body in answers} == {f"/{number}" for number in range(200)}
    assert (await provider.stats())["token_requests"] == 1
    assert len(set(api.tokens)) == 1


async def test_a_burst_of_401s_after_a_revocation_costs_one_renewal_and_no_caller_sees_it(
    provider, api, tmp_path, fetch
):
    async with Program(one_route(api.url, credential(provider)), tmp_path) as program:
        await fetch(program.url + "/api/warm")
        assert await provider.forget_access_tokens() == 1
        await provider.set(delay_ms=300)
        body = b"x" * 1024
        answers = await asyncio.gather(
            *(fetch(f"{program.url}/api/{number}", "POST", data=body) for number in range(100))
        )
    assert [status for status, _, _ in answers] == [200] * 100
    assert {json.loads(answer)["sha256"] for _, _, answer in answers} == {hashlib.sha256(body).hexdigest()}
    assert 401 in api.statuses
    assert (await provider.stats())["token_requests"] == 2
    assert len(set(api.tokens)) == 2


async def test_tokens_are_renewed_before_they_expire_so_that_the_api_never_sees_an_old_one(
    provider, api, tmp_path, fetch
):
    """With a life of three seconds: renewal is due after half of it at the latest."""
    await provider.set(ttl=3)
    async with Program(one_route(api.url, credential(provider)), tmp_path) as program:
        while (await provider.stats())["token_requests"] < 4:
            status, _, _ = await fetch(program.url + "/api/x")
            assert status == 200
    assert set(api.statuses) == {200}
    assert len(set(api.tokens)) >= 3
