from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from support.clock import FakeClock
from support.process import free_port

from proxy.admin.jwks import KeySets

A, B = {"kty": "EC", "kid": "a"}, {"kty": "EC", "kid": "b"}


class Issuer:
    """A key set on a real socket."""

    def __init__(self) -> None:
        self.keys = [A]
        self.uri = ""
        self.fetches = 0
        self.answer = None
        self.delay = 0.0

    async def handle(self, _):
        self.fetches += 1
        await asyncio.sleep(self.delay)
        return self.answer or web.json_response({"keys": self.keys})


async def elsewhere(_):
    return web.json_response({"keys": [B]})


@pytest.fixture
async def issuer(aiohttp_server):
    issuer = Issuer()
    app = web.Application()
    app.router.add_get("/jwks", issuer.handle)
    app.router.add_get("/elsewhere", elsewhere)
    server = await aiohttp_server(app)
    issuer.uri = str(server.make_url("/jwks"))
    return issuer


async def test_a_key_is_found_by_its_name(issuer):
    issuer.keys = [A, B]

    assert await KeySets(FakeClock()).find(issuer.uri, "b") == [B]


async def test_a_token_that_names_no_key_may_be_signed_with_any(issuer):
    issuer.keys = [A, B]

    assert await KeySets(FakeClock()).find(issuer.uri, None) == [A, B]


async def test_keys_are_kept_for_ten_minutes_and_then_fetched_anew(issuer):
    clock = FakeClock()
    sets = KeySets(clock)
    for _ in range(3):
        await sets.find(issuer.uri, "a")
    assert issuer.fetches == 1

    issuer.keys = [B]
    await clock.advance(600)

    assert await sets.find(issuer.uri, "a") == []
    assert issuer.fetches == 2


async def test_a_new_key_is_found_at_once_but_invented_names_fetch_no_more_than_every_half_minute(issuer):
    clock = FakeClock()
    sets = KeySets(clock)
    await sets.find(issuer.uri, "a")
    issuer.keys = [A, B]
    await clock.advance(30)

    assert await sets.find(issuer.uri, "b") == [B]
    for number in range(50):
        await clock.advance(0.5)
        assert await sets.find(issuer.uri, f"invented-{number}") == []
    assert issuer.fetches == 2


async def test_many_at_once_fetch_once(issuer):
    sets = KeySets(FakeClock())
    issuer.delay = 0.05

    assert await asyncio.gather(*(sets.find(issuer.uri, "a") for _ in range(20))) == [[A]] * 20
    assert issuer.fetches == 1


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 500},
        {"status": 302, "headers": {"Location": "/elsewhere"}},
        {"text": "<html>"},
        {"text": '{"keys": 1}'},
        {"text": '{"keys": [1]}'},
        {"text": '{"keys": [' + "[" * 100_000},
        {"body": b'{"keys": [{"kid": "\xff"}]}'},
        {"body": b"no gzip", "headers": {"Content-Encoding": "gzip"}},
        {"text": '{"keys": [' + " " * 300_000 + "]}"},
    ],
)
async def test_known_keys_stay_in_use_while_their_issuer_answers_nonsense(issuer, answer, caplog):
    clock = FakeClock()
    sets = KeySets(clock)
    await sets.find(issuer.uri, "a")
    issuer.answer = web.Response(**answer)
    await clock.advance(600)

    assert await sets.find(issuer.uri, "a") == [A]
    assert "cannot be fetched" in caplog.text


async def test_an_issuer_that_is_down_is_asked_again_after_half_a_minute(issuer):
    clock = FakeClock()
    sets = KeySets(clock)
    issuer.answer = web.Response(status=503)
    assert await sets.find(issuer.uri, "a") == []
    issuer.answer = None
    assert await sets.find(issuer.uri, "a") == []
    await clock.advance(30)

    assert await sets.find(issuer.uri, "a") == [A]


async def test_an_issuer_that_cannot_be_reached_has_no_keys(caplog):
    assert await KeySets(FakeClock()).find(f"http://127.0.0.1:{free_port()}/jwks", None) == []
    assert "cannot be fetched" in caplog.text
