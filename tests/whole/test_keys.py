"""API keys in fields and queries, user names with passwords, and what becomes of the app's own Authorization."""

from __future__ import annotations

import asyncio
import base64
import json

import pytest
from support.front import Client
from support.process import Program
from support.settings import one_route

BASIC = {"type": "basic", "username": "jürgen", "password": {"value": "p:ä ss"}}
SENT = b"Basic " + base64.b64encode("jürgen:p:ä ss".encode())
KEY = {"type": "header", "name": "X-Api-Key", "value": {"value": "s3cret"}, "prefix": "Key "}


@pytest.fixture
def program(upstream, tmp_path):
    """A program with one credential for what comes below /api; `more`: of the route."""

    def make(credential, **more):
        return Program(one_route(f"{upstream.url}/v2", credential, **more), tmp_path)

    return make


@pytest.fixture
async def ask():
    """Requests to a program, octet for octet, each on a connection of its own."""
    writers = []

    async def one(program, target, *fields):
        host, _, port = program.url.removeprefix("http://").partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writers.append(writer)
        lines = [b"GET %b HTTP/1.1" % target, b"Host: localhost", *fields]
        return await Client(reader, writer).ask(b"\r\n".join(lines) + b"\r\n\r\n")

    yield one
    for writer in writers:
        writer.close()


async def test_a_key_stands_in_its_field_and_no_spelling_of_the_apps_own(program, upstream, ask):
    own = (b"x-api-key: a", b"X_API_KEY: b", b"X-API-Key: c", b"X-Api-Keys: d", b"Authorization: Bearer mine")
    async with program(KEY) as running:
        assert (await ask(running, b"/api/x", *own)).status == 200
    (one,) = upstream.requests
    assert one.fields == [
        (b"Host", upstream.authority.encode()),
        (b"X-Api-Keys", b"d"),
        (b"Authorization", b"Bearer mine"),
        (b"X-Api-Key", b"Key s3cret"),
    ]


QUERIES = [
    (b"", b"?api%20key=a%2Bb%26%C3%BC"),
    (b"?", b"?api%20key=a%2Bb%26%C3%BC"),
    (b"?a[]=1&b=%zz&c=+%2B", b"?a[]=1&b=%zz&c=+%2B&api%20key=a%2Bb%26%C3%BC"),
    (b"?a&", b"?a&api%20key=a%2Bb%26%C3%BC"),
    (b"?&&a==\xff|{}", b"?&&a==\xff|{}&api%20key=a%2Bb%26%C3%BC"),
    (b"?api%20key=mine&x=1&api+key=mine&%61pi%20key", b"?x=1&api%20key=a%2Bb%26%C3%BC"),
    (b"?api%2520key=other", b"?api%2520key=other&api%20key=a%2Bb%26%C3%BC"),
]


async def test_a_key_in_the_query_is_appended_and_nothing_else_is_touched(program, upstream, ask):
    async with program({"type": "query", "name": "api key", "value": {"value": "a+b&ü"}}) as running:
        for sent, _ in QUERIES:
            answer = await ask(running, b"/api/a%2Fb" + sent, b"Authorization: mine")
            assert answer.status == 200
    assert [one.target for one in upstream.requests] == [b"/v2/a%2Fb" + expected for _, expected in QUERIES]
    assert {one.field(b"authorization") for one in upstream.requests} == {b"mine"}


async def test_a_password_goes_out_in_utf8_instead_of_the_apps_own(program, upstream, ask):
    async with program(BASIC) as running:
        assert (await ask(running, b"/api", b"Authorization: Basic bWluZTptaW5l")).status == 200
    assert upstream.requests[0].all(b"authorization") == [SENT]


async def test_the_apps_own_authorization_is_kept_where_the_route_says_so(program, upstream, ask):
    async with program(BASIC, on_client_authorization="keep") as running:
        assert (await ask(running, b"/api", b"authorization: Bearer mine")).status == 200
        assert (await ask(running, b"/api")).status == 200
    assert [one.all(b"authorization") for one in upstream.requests] == [[b"Bearer mine"], [SENT]]


async def test_a_kept_authorization_that_is_refused_is_not_ours_to_mend(program, upstream, ask):
    upstream.answer = b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    async with program(BASIC, on_client_authorization="keep") as running:
        assert (await ask(running, b"/api", b"Authorization: Bearer mine")).status == 401
    assert len(upstream.requests) == 1


async def test_an_app_that_brings_its_own_is_refused_where_the_route_says_so(program, upstream, ask):
    async with program(BASIC, on_client_authorization="reject") as running:
        answer = await ask(running, b"/api", b"AUTHORIZATION: Bearer mine-7c0ffee7")
        assert answer.status == 403
        assert answer.field(b"proxy-status") == b"auth-sidecar; error=http_request_denied"
        assert json.loads(answer.body)["status"] == 403
        assert b"7c0ffee7" not in answer.raw
        assert (await ask(running, b"/api")).status == 200
    assert [one.all(b"authorization") for one in upstream.requests] == [[SENT]]


@pytest.mark.parametrize("credential", ["key", None])
async def test_it_is_refused_where_no_credential_would_have_taken_its_place_too(upstream, tmp_path, ask, credential):
    route = {"match": "/api", "upstream": upstream.url, "credential": credential, "on_client_authorization": "reject"}
    async with Program({"routes": [route], "credentials": {"key": KEY}}, tmp_path) as running:
        assert (await ask(running, b"/api", b"Authorization: Bearer mine")).status == 403
        assert (await ask(running, b"/api")).status == 200
    assert [one.all(b"authorization") for one in upstream.requests] == [[]]


@pytest.mark.parametrize(
    ("credential", "field"),
    [(KEY, "x-api-key"), (BASIC, "authorization"), ({"type": "bearer", "token": {"value": "t"}}, "Authorization")],
    ids=["header", "basic", "bearer"],
)
async def test_of_two_writers_of_one_field_the_credential_wins(program, upstream, ask, credential, field):
    async with program(credential, headers={"set": {field: "Basic eDp5", "X-Other": "set"}}) as running:
        assert (await ask(running, b"/api", b"X_API_KEY: mine")).status == 200
        assert "too, and wins" in running.log
    (came,) = upstream.requests
    (value,) = came.all(field.lower().encode())
    assert value != b"Basic eDp5"
    assert came.field(b"x-other") == b"set"


async def test_a_key_that_changed_in_its_file_reaches_an_api_that_refuses_the_old_one(program, upstream, ask, tmp_path):
    (tmp_path / "key").write_text("old\n")

    def strict(one):
        good = one.field(b"x-api-key") == b"new"
        return (b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % (200 if good else 401),)

    upstream.answer = strict
    async with program({"type": "header", "name": "X-Api-Key", "value": {"file": "key"}}) as running:
        assert (await ask(running, b"/api")).status == 401
        (tmp_path / "key").write_text("new\n")
        assert (await ask(running, b"/api")).status == 200
        assert (await ask(running, b"/api")).status == 200
    assert [one.field(b"x-api-key") for one in upstream.requests][-1] == b"new"
