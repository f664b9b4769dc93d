"""What went wrong with requests in other programs of this kind, tried on ours. Each test names the row of our list."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from oauthlib.oauth1.rfc5849 import signature
from support.front import Client
from support.issuer import scripted_issuer
from support.process import Program
from support.settings import client_credentials, one_route

WORDS = "words-of-the-issuer-7c0ffee7"


@pytest.fixture
async def issuer():
    async with scripted_issuer() as running:
        yield running


async def raw(program, octets):
    """One request on a connection of its own, octet for octet."""
    host, _, port = program.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    answer = await Client(reader, writer).ask(octets)
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("trouble", [(500, WORDS), (400, {"error": "invalid_client", "error_description": WORDS})])
async def test_without_a_token_there_is_a_whole_answer_and_no_request_without_one(
    issuer, upstream, tmp_path, fetch, trouble
):
    """3 and 9: no status was written at all; or the request went out without its credential.

    12: and the issuer's own words came back to the caller.
    """
    issuer.script.extend([trouble] * 100)
    async with Program(one_route(upstream.url, client_credentials(f"{issuer.url}/token")), tmp_path) as program:
        for method in ("GET", "POST", "DELETE"):
            status, headers, body = await fetch(program.url + "/api/x", method)
            problem = json.loads(body)
            assert problem["status"] == status == (503 if trouble[0] == 500 else 502)
            assert headers["Content-Type"] == "application/problem+json"
            assert headers["Proxy-Status"].startswith("auth-sidecar; error=")
            assert WORDS not in f"{list(headers.items())}{body!r}"
        assert WORDS not in program.log
    assert upstream.requests == []


async def test_credentials_that_differ_in_anything_share_no_token(issuer, upstream, tmp_path, fetch):
    """4: tokens were kept under client and scope alone, and another audience got the wrong one."""
    variants: dict[str, dict[str, Any]] = {
        "plain": {},
        "audience": {"audience": "other"},
        "resource": {"resource": ["https://api.example"]},
        "parameters": {"token_parameters": {"tenant": "b"}},
        "endpoint": {"token_endpoint": f"{issuer.url}/token?realm=b"},
    }
    made = {name: client_credentials(f"{issuer.url}/token", scope="a") | more for name, more in variants.items()}
    config = {
        "routes": [{"match": f"/{name}", "upstream": upstream.url, "credential": name} for name in made],
        "credentials": made,
    }
    async with Program(config, tmp_path) as program:
        for name in [*made, *made]:
            assert (await fetch(f"{program.url}/{name}/x"))[0] == 200
    tokens = [request.field(b"authorization") for request in upstream.requests]
    assert tokens[:5] == tokens[5:]
    assert (len(set(tokens)), issuer.count) == (5, 5)


async def test_the_callers_own_credential_never_arrives_beside_ours(issuer, upstream, tmp_path):
    """5: ours was added, and the caller's stayed in its place before it."""
    async with Program(one_route(upstream.url, client_credentials(f"{issuer.url}/token")), tmp_path) as program:
        await raw(
            program,
            b"GET /api/x HTTP/1.1\r\nHost: localhost\r\nauthorization: Bearer one\r\nX-Other: stays\r\n"
            b"AUTHORIZATION: Basic two\r\nAuthorization: three\r\n\r\n",
        )
    (request,) = upstream.requests
    assert request.all(b"authorization") == [b"Bearer at-1"]
    assert request.field(b"x-other") == b"stays"
    assert not any(own in request.octets for own in (b"one", b"two", b"three"))


async def test_the_parameters_of_a_form_are_signed(upstream, tmp_path, fetch):
    """10: only URL and method were, so that anybody could change the body. oauthlib says what is right."""
    secrets = {"consumer_secret": "cs", "token": "tk", "token_secret": "ts"}
    credential = {"type": "oauth1", "consumer_key": "ck"} | {name: {"value": value} for name, value in secrets.items()}
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    async with Program(one_route(upstream.url, credential), tmp_path) as program:
        answer = await fetch(program.url + "/api/say?q=1", "POST", data=b"to=%C3%BC&text=a+b%26c", headers=headers)
    assert answer[0] == 200
    (request,) = upstream.requests

    def verified(body):
        return signature.verify_hmac_sha1(_as_oauthlib_sees(request, upstream.url, body), "cs", "ts")

    assert verified(request.body.decode())
    assert not verified("to=%C3%BC&text=a+b%26d")


def _as_oauthlib_sees(request, url, body):
    uri = url + request.target.decode()
    collected = signature.collect_parameters(
        uri_query=uri.partition("?")[2],
        body=body,
        headers={"Authorization": request.field(b"authorization").decode()},
        exclude_oauth_signature=False,
    )
    said = dict(collected)
    return SimpleNamespace(
        http_method=request.line.split()[0].decode(),
        uri=uri,
        params=[pair for pair in collected if pair[0] != "oauth_signature"],
        signature=said["oauth_signature"],
    )


async def test_a_scope_takes_nothing_from_the_other_parameters(issuer, upstream, tmp_path, fetch):
    """11: giving a scope threw away audience and password."""
    credential = client_credentials(
        f"{issuer.url}/token",
        grant_type="password",
        username="ann",
        password={"value": "pw"},
        scope="a b",
        audience="api",
        resource=["https://one.example", "https://two.example"],
        token_parameters={"extra": "yes"},
    )
    async with Program(one_route(upstream.url, credential), tmp_path) as program:
        assert (await fetch(program.url + "/api/x"))[0] == 200
    (asked,) = issuer.asked
    assert asked.parameters == {
        "grant_type": ["password"],
        "username": ["ann"],
        "password": ["pw"],
        "scope": ["a b"],
        "audience": ["api"],
        "resource": ["https://one.example", "https://two.example"],
        "extra": ["yes"],
    }


async def test_the_beginning_of_an_answer_arrives_before_its_end_is_there(issuer, upstream, http, tmp_path):
    """12: answers were read whole before the first octet went on."""
    end = asyncio.Event()
    upstream.script(b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nfirst ", end, b"last\n")
    config = one_route(upstream.url, client_credentials(f"{issuer.url}/token"))
    patience = aiohttp.ClientTimeout(total=20)
    async with Program(config, tmp_path) as program, http.get(program.url + "/api/x", timeout=patience) as answer:
        assert await answer.content.readexactly(6) == b"first "
        end.set()
        assert await answer.content.read() == b"last\n"


async def test_the_nonce_of_every_answer_is_used_for_the_next_request(sandbox, tmp_path, fetch):
    """13: the nonce that came with the answer to the repeated request was dropped, so each request was made twice."""
    sandbox.script.change(dpop_required=True, dpop_nonces="every_request", dpop_nonce_window=1)
    credential = client_credentials(sandbox.token_endpoint, dpop=True)
    async with Program(one_route(sandbox.url + "/api", credential), tmp_path) as program:
        for _ in range(10):
            assert (await fetch(program.url + "/api/x"))[0] == 200
    assert sandbox.counters.nonce_challenges == 2  # one of the issuer, one of the API: the first ones
    assert sandbox.counters.api_accepted == 10
