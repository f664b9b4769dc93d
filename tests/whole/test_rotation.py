"""A thousand renewals of a rotating refresh token, with the program killed in the middle of some of them."""

from __future__ import annotations

import asyncio
import random

import aiohttp
import pytest
from support.oidc_provider.resource_server import ResourceServer
from support.process import Program
from support.settings import client_credentials, one_route

pytestmark = pytest.mark.peer("oidc_provider")

RENEWALS = 1_000
KILLS = 20
SEED = 20_261_121
LOST = "The grant may be lost: the answer to an earlier renewal never arrived, and the refresh token is refused now"


def configuration(provider, api, seed):
    credential = client_credentials(
        provider.token_endpoint,
        "basic",
        provider.secrets["basic"],
        grant_type="refresh_token",
        refresh_token={"value": seed},
    )
    return {**one_route(api.url, credential), "store": {"type": "file", "path": "state/tokens"}}


async def granted(provider):
    return (await provider.stats())["by_grant"].get("refresh_token", 0)


async def test_a_grant_outlives_a_thousand_renewals_and_every_kill_that_did_not_swallow_an_answer(
    provider, tmp_path, fetch
):
    """Whether an answer was swallowed is known: the provider counts a renewal that the program never acknowledged.

    It may count it only after the kill (the request was still on its way), so it is asked last.
    """
    chance = random.Random(SEED)
    kill_at = set(chance.sample(range(RENEWALS), KILLS))
    async with ResourceServer(provider) as api:
        config = configuration(provider, api, await provider.mint_refresh_token("basic"))
        program = Program(config, tmp_path)
        await program.start()
        try:
            for number in range(RENEWALS):
                if number not in kill_at:
                    status, _, body = await fetch(program.admin + "/credentials/main/refresh", "POST")
                    assert status == 200, body
                    continue
                before = await granted(provider)
                renewal = asyncio.create_task(fetch(program.admin + "/credentials/main/refresh", "POST"))
                await asyncio.sleep(chance.uniform(0, 0.02))
                await program.kill()
                answer = (await asyncio.gather(renewal, return_exceptions=True))[0]
                await program.start()
                await provider.forget_access_tokens()
                status, headers, _ = await fetch(program.url + "/api/x")
                if status != 200:
                    assert isinstance(answer, aiohttp.ClientError), answer
                    assert await granted(provider) == before + 1, program.log
                    await program.logged(LOST)
                    assert 'details="credential_' in headers["Proxy-Status"]
                    config = configuration(provider, api, await provider.mint_refresh_token("basic"))
                    program.write(config)
                    assert (await fetch(program.admin + "/reload", "POST"))[0] == 200
                    assert (await fetch(program.url + "/api/x"))[0] == 200
            await program.stop()
        finally:
            await program.kill()
    assert await granted(provider) >= RENEWALS - KILLS


async def test_after_a_lost_answer_the_held_token_is_used_up_before_the_old_refresh_token_is_sent_once_more(
    provider, tmp_path, fetch
):
    """oidc-provider revokes the whole grant, the held access token included, when it sees a used refresh token."""
    async with ResourceServer(provider) as api:
        config = configuration(provider, api, await provider.mint_refresh_token("basic"))
        async with Program(config, tmp_path) as program:
            renew = program.admin + "/credentials/main/refresh"
            assert (await fetch(renew, "POST"))[0] == 200
            await provider.set(lose_answers=1)
            before = (await provider.stats())["token_requests"]
            assert (await fetch(renew, "POST"))[0] == 503
            for _ in range(5):
                assert (await fetch(program.url + "/api/x"))[0] == 200
            assert (await provider.stats())["token_requests"] == before + 1
            await provider.forget_access_tokens()
            async with asyncio.timeout(30):
                while LOST not in program.log:
                    status, headers, _ = await fetch(program.url + "/api/x")
                    assert (status, "received-status=401" in headers["Proxy-Status"]) == (401, True)
                    await asyncio.sleep(0.1)
            assert (await provider.stats())["token_requests"] == before + 2
            status, headers, _ = await fetch(program.url + "/api/x")
            assert 'details="credential_' in headers["Proxy-Status"]


async def test_two_processes_on_one_file_renew_once_between_them(provider, tmp_path, fetch):
    """C6."""
    async with ResourceServer(provider) as api:
        await provider.set(delay_ms=200)
        config = configuration(provider, api, await provider.mint_refresh_token("basic"))
        folders = [tmp_path / "one", tmp_path / "two"]
        for folder in folders:
            folder.mkdir()
        config["store"]["path"] = str(tmp_path / "tokens")
        async with Program(config, folders[0]) as one, Program(config, folders[1]) as two:
            assert await granted(provider) == 1
            for renewal_hold in range(2, 6):
                await provider.forget_access_tokens()
                answers = await asyncio.gather(
                    *(fetch(f"{program.url}/api/{number}") for program in (one, two) for number in range(20))
                )
                assert {status for status, _, _ in answers} == {200}
                assert await granted(provider) == renewal_hold
