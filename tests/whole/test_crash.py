"""Killed between a refresh token's sending and its answer: what the next process finds in the file, and makes of it."""

from __future__ import annotations

import asyncio
import json

import msgspec
import pytest
from support.issuer import scripted_issuer
from support.process import Program
from support.settings import client_credentials, one_route

from proxy.tokens.store.envelope import Envelope
from proxy.tokens.store.token_store import Grant

REFUSED = b'HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer error="invalid_token"\r\nContent-Length: 0\r\n\r\n'
ONCE_MORE = "the answer to a renewal never came; its refresh token is sent once more"
LOST = "The grant may be lost: the answer to an earlier renewal never arrived, and the refresh token is refused now"


@pytest.fixture
async def issuer():
    async with scripted_issuer(live_refresh_token="rt-0") as running:
        yield running


@pytest.fixture
def program(issuer, upstream, tmp_path):
    credential = client_credentials(f"{issuer.url}/token", grant_type="refresh_token", refresh_token={"value": "rt-0"})
    config = {**one_route(upstream.url, credential), "store": {"type": "file", "path": "tokens"}}
    return Program(config, tmp_path)


@pytest.fixture
def record(tmp_path):
    """What stands in the file now."""

    def read() -> Grant:
        return msgspec.json.decode(
            Envelope().open((tmp_path / "tokens" / "main.json").read_bytes(), "main"), type=Grant
        )

    return read


@pytest.fixture
def killed_in_the_middle(program, issuer, fetch):
    """Starts the program, renews once, and kills it once it has sent the refresh token of the next renewal."""

    async def do():
        await program.start()
        assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == 200
        assert issuer.count == 2
        issuer.script.append("hang")
        renewal = asyncio.create_task(fetch(program.admin + "/credentials/main/refresh", "POST"))
        async with asyncio.timeout(30):
            while issuer.count < 3:
                await asyncio.sleep(0.005)
        await program.kill()
        await asyncio.gather(renewal, return_exceptions=True)

    return do


async def sent(upstream, fetch, program):
    """The token of one request, and the status."""
    status, _, _ = await fetch(program.url + "/api/x")
    return upstream.requests[-1].field(b"authorization"), status


async def test_the_file_says_that_the_refresh_token_may_be_spent_before_it_is_sent(
    killed_in_the_middle, issuer, record
):
    issuer.rotating = True
    await killed_in_the_middle()
    held = record()
    assert (held.refresh_token, held.access_token, held.rotates, held.spending) == ("rt-2", "at-2", True, True)
    assert [asked["refresh_token"] for asked in issuer.asked] == ["rt-0", "rt-1", "rt-2"]


async def test_a_token_that_is_held_is_used_up_before_a_refresh_token_that_may_be_spent_is_sent_again(
    program, killed_in_the_middle, issuer, upstream, fetch
):
    issuer.rotating = True
    await killed_in_the_middle()
    issuer.let_go.set()  # it does rotate, and nobody hears of it
    async with asyncio.timeout(30):
        while issuer.live_refresh_token != "rt-3":
            await asyncio.sleep(0.005)
    async with program:
        for _ in range(3):
            assert await sent(upstream, fetch, program) == (b"Bearer at-2", 200)
        assert issuer.count == 3
        upstream.script(REFUSED)
        assert await sent(upstream, fetch, program) == (b"Bearer at-2", 401)
        assert issuer.asked[3]["refresh_token"] == "rt-2"
        assert program.log.count(ONCE_MORE) == 1
        await program.logged(LOST)
        _, _, status = await fetch(program.admin + "/status")
        assert json.loads(status)["credentials"]["main"]["last_error"] == LOST
        upstream.script(REFUSED)
        assert await sent(upstream, fetch, program) == (b"Bearer at-2", 401)
        assert issuer.count == 4


async def test_a_refresh_token_that_was_not_spent_after_all_goes_on_as_if_nothing_had_happened(
    program, killed_in_the_middle, issuer, upstream, fetch, record
):
    issuer.rotating = True
    await killed_in_the_middle()
    async with program:
        upstream.script(REFUSED)
        assert await sent(upstream, fetch, program) == (b"Bearer at-3", 200)
        assert program.log.count(ONCE_MORE) == 1
        assert "may be lost" not in program.log
    assert (record().refresh_token, record().spending) == ("rt-3", False)
    assert [asked["refresh_token"] for asked in issuer.asked] == ["rt-0", "rt-1", "rt-2", "rt-2"]


async def test_an_issuer_that_never_rotated_is_asked_again_without_a_word(
    program, killed_in_the_middle, issuer, fetch, record
):
    await killed_in_the_middle()
    assert record().spending
    async with program:
        assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == 200
        assert "once more" not in program.log
    assert [asked["refresh_token"] for asked in issuer.asked] == ["rt-0"] * 4
    assert not record().spending
