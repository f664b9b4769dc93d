"""The answer to a renewal is lost on its way: whether the refresh token is sent again depends on what is known."""

from __future__ import annotations

import asyncio

import pytest
from support.issuer import scripted_issuer
from support.process import Program
from support.settings import client_credentials, one_route

LOST = "The grant may be lost: the answer to an earlier renewal never arrived, and the refresh token is refused now"
GUARD = {"Authorization": "Bearer guard"}


@pytest.fixture
async def issuer():
    async with scripted_issuer(live_refresh_token="rt-0") as running:
        yield running


@pytest.fixture
async def program(issuer, upstream, tmp_path):
    credential = client_credentials(
        f"{issuer.url}/token",
        grant_type="refresh_token",
        refresh_token={"value": "rt-0"},
        refresh={"eager": False},
        update={"secret": {"value": "guard"}},
    )
    async with Program(one_route(upstream.url, credential), tmp_path) as running:
        yield running


@pytest.fixture
def renew(program, fetch):
    async def ask():
        return (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0]

    return ask


def sent(issuer):
    return [asked["refresh_token"] for asked in issuer.asked]


async def test_an_issuer_that_never_rotated_gets_the_same_refresh_token_again_at_once(issuer, renew):
    assert await renew() == 200
    issuer.script.append("reset")
    assert await renew() == 200
    assert sent(issuer) == ["rt-0"] * 3


async def test_the_second_loss_in_a_row_waits_its_turn(program, issuer, fetch):
    issuer.script.extend(["reset", "reset"])
    status, headers, _ = await fetch(program.url + "/api/x")
    assert (status, 'details="credential_unavailable"' in headers["Proxy-Status"]) == (503, True)
    assert issuer.count == 2
    async with asyncio.timeout(30):
        while (answer := await fetch(program.url + "/api/x"))[0] == 503:
            await asyncio.sleep(int(answer[1]["Retry-After"]))
    assert (answer[0], issuer.count) == (200, 3)


async def test_an_issuer_that_rotates_is_not_asked_blindly_while_a_token_is_held(
    program, issuer, renew, upstream, fetch
):
    """C4."""
    issuer.rotating = True
    assert await renew() == 200
    issuer.script.append("rotate, then reset")
    assert await renew() == 503
    for _ in range(3):
        assert (await fetch(program.url + "/api/x"))[0] == 200
    assert upstream.requests[-1].field(b"authorization") == b"Bearer at-1"
    assert (sent(issuer), issuer.revoked) == (["rt-0", "rt-1"], False)


async def test_without_a_token_it_is_sent_once_more_and_the_loss_is_called_by_its_name(
    program, issuer, renew, fetch, upstream
):
    """C4."""
    issuer.rotating = True
    issuer.lifetime = 1
    assert await renew() == 200
    await asyncio.sleep(1.1)
    issuer.script.append("rotate, then reset")
    status, headers, _ = await fetch(program.url + "/api/x")
    assert (status, 'details="credential_refused"' in headers["Proxy-Status"]) == (502, True)
    assert (sent(issuer), LOST in program.log) == (["rt-0", "rt-1", "rt-1"], True)
    assert (await fetch(program.url + "/api/x"))[0] == 502
    assert (issuer.count, upstream.requests) == (3, [])


async def test_a_push_brings_a_lost_grant_back_at_once(program, issuer, renew, fetch, upstream):
    issuer.rotating = True
    assert await renew() == 200
    issuer.script.append("rotate, then reset")
    assert await renew() == 503
    pushed = {"access_token": "pushed", "expires_in": 600, "refresh_token": issuer.live_refresh_token}
    assert (await fetch(program.admin + "/credentials/main/token", "PUT", json=pushed, headers=GUARD))[0] == 200
    assert (await fetch(program.url + "/api/x"))[0] == 200
    assert upstream.requests[-1].field(b"authorization") == b"Bearer pushed"
    assert await renew() == 200
    assert (sent(issuer), issuer.revoked) == (["rt-0", "rt-1", "rt-2"], False)
