"""Issuers that are kinder or stranger than the standard, through the whole program."""

from __future__ import annotations

import asyncio
import json
import time

import jwt
import pytest
from support.front import Client, request
from support.issuer import scripted_issuer
from support.process import Program
from support.settings import client_credentials, one_route

OK = {"token_type": "Bearer", "expires_in": 3600}


@pytest.fixture
async def issuer():
    async with scripted_issuer(live_refresh_token="rt-0") as running:
        yield running


@pytest.fixture
def program(issuer, upstream, tmp_path):
    def make(**more):
        return Program(one_route(upstream.url, client_credentials(f"{issuer.url}/token", **more)), tmp_path)

    return make


def refreshing(**more):
    given = {"grant_type": "refresh_token", "refresh_token": {"value": "rt-0"}, "refresh": {"eager": False}}
    return {**given, **more}


async def connect(running):
    host, _, port = running.url.removeprefix("http://").partition(":")
    return Client(*await asyncio.open_connection(host, int(port)))


async def test_an_issuer_with_a_grace_for_lost_answers_loses_no_grant(program, issuer, upstream, fetch):
    """C5: within its grace the token before the last one brings a successor once more."""
    issuer.script.append({**OK, "access_token": "at-1", "refresh_token": "rt-1", "expires_in": 1})
    issuer.script.append("reset")  # rotated to rt-2, and nobody heard of it
    issuer.script.append({**OK, "access_token": "at-3", "refresh_token": "rt-3"})
    issuer.script.append({**OK, "access_token": "at-4", "refresh_token": "rt-4"})
    async with program(**refreshing()) as running:
        refresh = running.admin + "/credentials/main/refresh"
        assert (await fetch(refresh, "POST"))[0] == 200
        while b'"expired"' not in (await fetch(running.admin + "/status"))[2]:
            await asyncio.sleep(0.05)
        assert (await fetch(running.url + "/api/x"))[0] == 200
        assert (await fetch(refresh, "POST"))[0] == 200
    assert [asked["refresh_token"] for asked in issuer.asked] == ["rt-0", "rt-1", "rt-1", "rt-3"]
    assert upstream.requests[-1].field(b"authorization") == b"Bearer at-3"


async def test_a_refused_grant_is_not_thrown_away(program, issuer, upstream, fetch):
    """C7: the same words are said of a wrong proof, a clock that is off, or a store that lags behind."""
    issuer.script.append((400, {"error": "invalid_grant"}))
    async with program(**refreshing()) as running:
        assert (await fetch(running.url + "/api/x"))[0] == 502
        assert (await fetch(running.admin + "/credentials/main/refresh", "POST"))[0] == 200
        assert (await fetch(running.url + "/api/x"))[0] == 200
    assert [asked["refresh_token"] for asked in issuer.asked] == ["rt-0", "rt-0"]
    assert upstream.requests[-1].field(b"authorization") == b"Bearer at-1"


async def test_the_life_of_the_refresh_token_is_not_taken_for_the_access_tokens(program, issuer, fetch):
    """C9."""
    for extra in ({"refresh_expires_in": 5}, {"refresh_token_expires_in": 5}, {"refresh_expires_in": 0}):
        issuer.script.append({**OK, "access_token": "a", "refresh_token": "r", **extra})
        issuer.script.append({"access_token": "a", "token_type": "Bearer", "refresh_token": "r", **extra})
    async with program(**refreshing()) as running:
        for _ in range(3):
            for stated in (True, False):
                assert (await fetch(running.admin + "/credentials/main/refresh", "POST"))[0] == 200
                shown = json.loads((await fetch(running.admin + "/status"))[2])["credentials"]["main"]
                assert (shown["state"], shown["expires_at"] is not None) == ("fresh", stated)
                assert not stated or shown["expires_at"] > time.time() + 3000


async def test_the_apps_own_proof_and_token_never_arrive_beside_ours(program, issuer, upstream):
    """D12 and D13: one proof, ours, ES256 unless told otherwise; whatever the app sends under either name."""
    issuer.script.append({"access_token": "bound", "token_type": "DPoP", "expires_in": 3600})
    own = ("DPoP: apps-proof", "dpop: another", "Authorization: DPoP apps-token", "Authorization: Bearer apps-token")
    async with program(dpop=True) as running:
        client = await connect(running)
        assert (await client.ask(request("GET", "/api/x", *own))).status == 200
        client.writer.close()
    (came,) = upstream.requests
    proof = came.field(b"dpop")
    assert proof is not None
    assert jwt.get_unverified_header(proof.decode())["alg"] == "ES256"
    assert came.field(b"authorization") == b"DPoP bound"
    assert b"apps-" not in came.head
