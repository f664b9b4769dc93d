"""A token endpoint on its bad days: what the app gets then, and that it is well again soon afterwards."""

from __future__ import annotations

import asyncio
import json

import pytest
from aiohttp import web
from support.issuer import scripted_issuer
from support.process import Program
from support.settings import client_credentials, one_route

UNAVAILABLE = (503, 'auth-sidecar; error=proxy_internal_response; details="credential_unavailable"')
REFUSED = (502, 'auth-sidecar; error=proxy_internal_response; details="credential_refused"')


def config(sandbox, **more):
    credential = client_credentials(sandbox.token_endpoint, refresh={"eager": False}, **more)
    return one_route(sandbox.url + "/api", credential)


async def until_well(fetch, url):
    """As an app that honours Retry-After would."""
    async with asyncio.timeout(60):
        while (answer := await fetch(url))[0] == 503:
            await asyncio.sleep(int(answer[1]["Retry-After"]))
    assert answer[0] == 200


FAULTS = {
    "busy": {"kind": "status", "status": 429, "retry_after": "1"},
    "empty": {"kind": "empty_token"},
    "error-in-200": {"kind": "error_in_200"},
    "garbage": {"kind": "garbage"},
    "html": {"kind": "html"},
    "huge": {"kind": "huge"},
    "redirect": {"kind": "redirect"},
    "reset": {"kind": "reset"},
    "slow": {"kind": "slow", "seconds": 5},
    "status": {"kind": "status", "status": 500},
    "truncated": {"kind": "truncate"},
}


async def test_an_issuer_that_fails_once_costs_a_503_and_all_is_well_afterwards(sandbox, tmp_path, fetch):
    """One route and credential for each way to fail."""
    credential = client_credentials(sandbox.token_endpoint, refresh={"eager": False}, timeouts={"total": "2s"})
    config = {
        "routes": [
            {"match": f"/{name}", "upstream": sandbox.url + "/api", "credential": f"of-{name}"} for name in FAULTS
        ],
        "credentials": {f"of-{name}": credential for name in FAULTS},
    }
    async with Program(config, tmp_path) as program:
        for name, fault in FAULTS.items():
            sandbox.script.change(token_faults=[fault])
            status, headers, body = await fetch(f"{program.url}/{name}/x?secret=1")
            assert (name, status, headers["Proxy-Status"]) == (name, *UNAVAILABLE)
            assert int(headers["Retry-After"]) >= 1
            problem = json.loads(body)
            assert (problem["status"], problem["route"], problem["credential"]) == (503, name, f"of-{name}")
            assert headers["Content-Type"] == "application/problem+json"
            assert sandbox.script.settings.token_faults == ()
        await asyncio.gather(*(until_well(fetch, f"{program.url}/{name}/x") for name in FAULTS))
    assert sandbox.counters.api_unauthorized == 0
    assert sandbox.counters.grants["client_credentials"] >= len(FAULTS)


async def test_an_issuer_that_is_not_there_is_met_with_503_until_it_comes(sandbox, tmp_path, fetch):
    await sandbox.stop()
    async with Program(config(sandbox), tmp_path) as program:
        status, headers, _ = await fetch(program.url + "/api/x")
        assert (status, headers["Proxy-Status"]) == UNAVAILABLE
        await sandbox.start()
        await until_well(fetch, program.url + "/api/x")


async def test_an_issuer_that_refuses_the_client_is_not_asked_again_at_once(sandbox, tmp_path, fetch):
    """A4 and B3: one request with one kind of proof, and no probing for another."""
    credential = client_credentials(sandbox.token_endpoint, secret="wrong", refresh={"eager": False})
    async with Program(one_route(sandbox.url + "/api", credential), tmp_path) as program:
        answers = [await fetch(program.url + "/api/x") for _ in range(5)]
    assert {(status, headers["Proxy-Status"]) for status, headers, _ in answers} == {REFUSED}
    assert sandbox.counters.refusals == {"invalid_client": 1}
    assert sandbox.counters.api_requests.total == 0


@pytest.mark.parametrize("spelling", ["number", "string", "omitted"])
async def test_a_lifetime_may_be_a_number_a_string_or_missing(sandbox, tmp_path, fetch, spelling):
    """A9 and A10."""
    sandbox.script.change(expires_in_as=spelling, expires_in=900)
    async with Program(config(sandbox), tmp_path) as program:
        assert (await fetch(program.url + "/api/x"))[0] == 200
        _, _, body = await fetch(program.admin + "/status")
        shown = json.loads(body)["credentials"]["main"]
        assert shown["state"] == "fresh"
        assert (shown["expires_at"] is None) == (spelling == "omitted")
    assert sandbox.counters.grants == {"client_credentials": 1}


async def test_a_failing_early_renewal_fails_no_request_while_the_token_is_good(sandbox, tmp_path, fetch):
    """A1."""
    sandbox.script.change(expires_in=8)
    async with Program(config(sandbox), tmp_path) as program:
        await fetch(program.url + "/api/x")
        sandbox.script.change(token_faults=[{"kind": "status", "status": 500, "times": None}])
        while sandbox.counters.token_requests.total < 2:
            assert (await fetch(program.url + "/api/x"))[0] == 200
        sandbox.script.change(token_faults=[], expires_in=3600)
        while sandbox.counters.grants != {"client_credentials": 2}:
            assert (await fetch(program.url + "/api/x"))[0] == 200
    assert sandbox.counters.api_unauthorized == 0


async def test_an_outage_of_the_issuer_at_the_start_does_not_keep_the_program_from_starting(sandbox, tmp_path, fetch):
    await sandbox.stop()
    credential = client_credentials(sandbox.token_endpoint)
    async with Program(one_route(sandbox.url + "/api", credential), tmp_path) as program:
        assert (await fetch(program.admin + "/healthz"))[0] == 200
        _, _, body = await fetch(program.admin + "/status")
        assert json.loads(body)["credentials"]["main"]["state"] == "empty"


async def test_a_required_credential_without_a_token_is_not_ready(sandbox, tmp_path, fetch):
    await sandbox.stop()
    credential = client_credentials(sandbox.token_endpoint, required=True)
    async with Program(one_route(sandbox.url + "/api", credential), tmp_path, ready="/healthz") as program:
        assert (await fetch(program.admin + "/readyz"))[0] == 503
        await sandbox.start()
        async with asyncio.timeout(60):
            while (await fetch(program.admin + "/readyz"))[0] != 200:
                await asyncio.sleep(0.05)
        assert (await fetch(program.url + "/api/x"))[0] == 200


async def test_a_token_type_that_nobody_has_registered_is_sent_as_a_bearer_token_and_told_once(
    tmp_path, upstream, fetch
):
    def made_up(_):
        return web.json_response({"access_token": "a", "token_type": "s3cret-type", "expires_in": 3600})

    async with scripted_issuer() as issuer:
        issuer.script.extend([made_up] * 3)
        config = one_route(upstream.url, client_credentials(issuer.url + "/token"))
        async with Program(config, tmp_path) as program:
            for _ in range(2):
                assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == 200
            assert (await fetch(program.url + "/api/x"))[0] == 200
        assert upstream.requests[0].field(b"authorization") == b"Bearer a"
        assert program.log.count("the token's type is none that is known") == 1
        assert "s3cret-type" not in program.log
