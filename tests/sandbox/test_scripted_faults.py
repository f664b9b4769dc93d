"""Each fault as a client on a socket meets it."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from support.clock import settle


@pytest.fixture
def script(sandbox):
    return sandbox.script


async def get(http, path="/open/x"):
    async with http.get(path, allow_redirects=False) as answer:
        return answer.status, answer.content_type, answer.headers, await answer.read()


async def test_a_status_comes_with_its_error_and_its_fields_and_the_next_request_is_served(http, script):
    fault = {"kind": "status", "status": 401, "error": "invalid_token", "retry_after": "7"}
    script.change(api_faults=[{**fault, "www_authenticate": 'Bearer error="invalid_token"'}])
    status, _, headers, body = await get(http)
    assert (status, headers["Retry-After"]) == (401, "7")
    assert headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert b'"invalid_token"' in body
    assert (await get(http))[0] == 200


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("html", (200, "text/html", b"<!doctype html>")),
        ("garbage", (200, "application/json", b'{"access_token": \xff\x00')),
        ("empty_token", (200, "application/json", b'{"access_token": ""')),
        ("error_in_200", (200, "application/json", b'{"error": "server_error"')),
        ("huge", (200, "application/json", b'{"access_token": "xxxx')),
        ("redirect", (307, "application/octet-stream", b"")),
    ],
)
async def test_a_useless_answer_looks_like_this(http, script, kind, expected):
    script.change(api_faults=[{"kind": kind}])
    status, media_type, _, body = await get(http)
    assert (status, media_type, body[: len(expected[2])]) == expected


async def test_a_huge_answer_is_larger_than_a_mebibyte(http, script):
    script.change(api_faults=[{"kind": "huge"}])
    assert len((await get(http))[3]) > 1024 * 1024


async def test_a_reset_ends_the_connection_without_an_octet(http, script):
    script.change(api_faults=[{"kind": "reset"}])
    with pytest.raises((aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)):
        await http.post("/open/x")  # aiohttp would send a GET again by itself
    assert (await get(http))[0] == 200


async def test_a_truncated_answer_is_shorter_than_announced(http, script):
    script.change(api_faults=[{"kind": "truncate"}])
    with pytest.raises(aiohttp.ClientPayloadError):
        await get(http)


async def test_a_slow_request_is_served_once_the_time_has_passed(http, script, clock):
    script.change(api_faults=[{"kind": "slow", "seconds": 30}])
    request = asyncio.create_task(get(http))
    while not clock.sleeping:
        await asyncio.sleep(0)
    await clock.advance(29)
    await settle(200)
    assert not request.done()
    await clock.advance(1)
    assert (await request)[0] == 200
