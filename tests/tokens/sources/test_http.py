"""A token API with habits of its own, on a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

import pytest
from aiohttp import web
from support.clock import FakeClock

from proxy.config.schema import HttpAnswer, HttpCall, HttpRefresh, Secret
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.answer_reader import AnswerReader
from proxy.tokens.http_client import HttpClient
from proxy.tokens.issuer_errors import ReplyUnreadable
from proxy.tokens.sources.http import HttpSource, prepared
from proxy.tokens.token_response import NOTHING, TokenPair

NESTED = HttpAnswer(access_token="/data/accessToken", refresh_token="/data/refreshToken", expires_in="/data/ttl")


class Api:
    """Answers with what a test lays out, and remembers what it was asked."""

    url: str

    def __init__(self) -> None:
        self.answers: list[web.Response] = []
        self.asked: list[tuple[str, str, Mapping[str, str], bytes]] = []
        self.app = web.Application()
        self.app.router.add_route("*", "/{rest:.*}", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.raw_path, request.headers, await request.read()))
        return self.answers.pop(0)

    def will_say(self, said: Any, status: int = 200, **headers: str) -> None:
        self.answers.append(web.json_response(said, status=status, headers=headers))


@pytest.fixture
async def api(aiohttp_server):
    api = Api()
    api.url = str((await aiohttp_server(api.app)).make_url("/")).rstrip("/")
    return api


@pytest.fixture
async def client():
    client = HttpClient()
    yield client
    await client.close()


def known(**secrets: str) -> Callable[[Secret], Any]:
    def reader(secret: Secret):
        async def read() -> str:
            return secrets[secret.env or secret.credential]

        return read

    return reader


def source(client: HttpClient, clock: FakeClock, obtain: HttpCall, refresh: HttpRefresh | None = None, **options):
    secrets = options.pop("secret", known()), options.pop("authorization", None)
    going_on = prepared(refresh, *secrets) if refresh else None
    return HttpSource(client, clock, prepared(obtain, *secrets), refresh=going_on, **options)


def token(clock: FakeClock, *, left: float | None = 100, refresh_token: str | None = None) -> TokenPair:
    access = Token(
        access_token="a-0",
        expires_wall=None if left is None else clock.wall() + left,
        expires_elapsed=None if left is None else clock.elapsed() + left,
    )
    return TokenPair(access, refresh_token)


# ---- asking ----------------------------------------------------------------------------------------------------------


async def test_a_token_is_obtained_with_the_configured_request_and_read_where_the_answer_keeps_it(api, client):
    api.will_say({"data": {"accessToken": "a-1", "refreshToken": "r-1", "ttl": "1800"}})
    obtain = HttpCall(
        url=f"{api.url}/token?x=%2F", headers={"X-Key": Secret(env="KEY"), "X-Plain": "p"}, json={"user": "u", "n": [1]}
    )
    clock = FakeClock()
    fresh = await source(client, clock, obtain, answers=AnswerReader(NESTED), secret=known(KEY="k-1")).fetch(NOTHING)
    assert (fresh.token.access_token, fresh.refresh_token, fresh.token.lifetime) == ("a-1", "r-1", 1800)
    assert fresh.token.expires_wall == clock.wall() + 1800
    method, path, headers, body = api.asked[0]
    assert (method, path, json.loads(body)) == ("POST", "/token?x=%2F", {"user": "u", "n": [1]})
    assert (headers["X-Key"], headers["X-Plain"], headers["Content-Type"]) == ("k-1", "p", "application/json")


async def test_a_form_is_encoded_and_may_hold_secrets(api, client):
    api.will_say({"access_token": "a-1"})
    obtain = HttpCall(url=f"{api.url}/t", form={"user": "ü b", "password": Secret(env="PW")})
    await source(client, FakeClock(), obtain, secret=known(PW="{per}&=")).fetch(NOTHING)
    _, _, headers, body = api.asked[0]
    assert body == b"user=%C3%BC+b&password=%7Bper%7D%26%3D"
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"


async def test_a_body_goes_out_as_it_is_with_the_configured_type(api, client):
    api.will_say({"access_token": "a-1"})
    obtain = HttpCall(url=f"{api.url}/t", method="PUT", body="<u>{per}</u>", headers={"content-type": "text/xml"})
    await source(client, FakeClock(), obtain, per="acme").fetch(NOTHING)
    method, _, headers, body = api.asked[0]
    assert (method, body, headers["content-type"]) == ("PUT", b"<u>acme</u>", "text/xml")


async def test_a_request_without_a_body_has_none(api, client):
    api.will_say({"access_token": "a-1"})
    await source(client, FakeClock(), HttpCall(url=f"{api.url}/t", method="GET")).fetch(NOTHING)
    method, _, headers, body = api.asked[0]
    assert (method, body) == ("GET", b"")
    assert "Content-Type" not in headers


async def test_a_configured_type_stays_with_json_and_forms(api, client):
    api.will_say({"access_token": "a-1"})
    obtain = HttpCall(url=f"{api.url}/t", json={}, headers={"content-type": "application/vnd.api+json"})
    await source(client, FakeClock(), obtain).fetch(NOTHING)
    assert api.asked[0][2]["content-type"] == "application/vnd.api+json"


async def test_a_tenant_is_filled_in_everywhere_and_percent_encoded_in_the_url(api, client):
    api.will_say({"access_token": "a-1"})
    obtain = HttpCall(
        url=f"{api.url}/t/{{per}}?t={{per}}", headers={"X-Tenant": "t={per}"}, json={"tenant": ["{per}"], "n": 1}
    )
    await source(client, FakeClock(), obtain, per="a/b&c").fetch(NOTHING)
    _, path, headers, body = api.asked[0]
    assert (path, headers["X-Tenant"]) == ("/t/a%2Fb%26c?t=a%2Fb%26c", "t=a/b&c")
    assert json.loads(body) == {"tenant": ["a/b&c"], "n": 1}


async def test_another_credentials_token_goes_as_it_would_go_itself_in_authorization_and_bare_elsewhere(api, client):
    """A GitHub App: a JWT of our own opens the API that gives installation tokens."""
    api.will_say({"token": "ghs_1", "expires_at": "2027-01-15T09:00:00Z"}, status=201)
    obtain = HttpCall(
        url=f"{api.url}/app/installations/1/access_tokens",
        headers={"Authorization": Secret(credential="app"), "X-Also": Secret(credential="app")},
        form={"authorization": Secret(credential="app")},
    )
    answer = HttpAnswer(access_token="/token", expires_at="/expires_at")
    clock = FakeClock()
    secrets: dict[str, Any] = {"secret": known(app="j.w.t"), "authorization": known(app="Bearer j.w.t")}
    fresh = (await source(client, clock, obtain, answers=AnswerReader(answer), **secrets).fetch(NOTHING)).token
    _, _, headers, body = api.asked[0]
    assert (headers["Authorization"], headers["X-Also"], body) == ("Bearer j.w.t", "j.w.t", b"authorization=j.w.t")
    assert fresh.expires_wall == 1_800_003_600


async def test_what_a_referenced_credential_lacks_is_reported_as_it_is(api, client):
    def failing(_secret: Secret):
        async def read() -> str:
            raise CredentialUnavailable("app is not there")

        return read

    obtain = HttpCall(url=f"{api.url}/t", headers={"Authorization": Secret(credential="app")})
    with pytest.raises(CredentialUnavailable, match="app is not there"):
        await source(client, FakeClock(), obtain, secret=failing).fetch(NOTHING)
    assert api.asked == []


# ---- going on --------------------------------------------------------------------------------------------------------


async def test_a_living_token_is_refreshed_with_itself(api, client):
    api.will_say({"access_token": "a-1"})
    clock = FakeClock()
    refresh = HttpRefresh(url=f"{api.url}/refresh", headers={"Authorization": "Bearer {access_token}"})
    fresh = (await source(client, clock, HttpCall(url=f"{api.url}/obtain"), refresh).fetch(token(clock))).token
    assert fresh.access_token == "a-1"
    assert [(path, headers.get("Authorization")) for _, path, headers, _ in api.asked] == [("/refresh", "Bearer a-0")]


@pytest.mark.parametrize("left", [0, -5])
async def test_an_expired_token_cannot_refresh_itself_so_a_new_one_is_obtained(api, client, left):
    api.will_say({"access_token": "a-1"})
    clock = FakeClock()
    refresh = HttpRefresh(url=f"{api.url}/refresh", headers={"Authorization": "Bearer {access_token}"})
    await source(client, clock, HttpCall(url=f"{api.url}/obtain"), refresh).fetch(token(clock, left=left))
    assert [path for _, path, _, _ in api.asked] == ["/obtain"]


@pytest.mark.parametrize("left", [100, -5, None])
async def test_a_refresh_token_refreshes_an_expired_token_too(api, client, left):
    api.will_say({"access_token": "a-1"})
    clock = FakeClock()
    refresh = HttpRefresh(url=f"{api.url}/refresh", json={"r": "{refresh_token}", "a": "{access_token}"})
    before = token(clock, left=left, refresh_token="r-0")
    fresh = await source(client, clock, HttpCall(url=f"{api.url}/obtain"), refresh).fetch(before)
    assert json.loads(api.asked[0][3]) == {"r": "r-0", "a": "a-0"}
    assert fresh.refresh_token is None  # RFC 6749 §6: none in the answer, so the record keeps the old one


async def test_a_rotated_refresh_token_replaces_the_old_one(api, client):
    api.will_say({"access_token": "a-1", "refresh_token": "r-1"})
    clock = FakeClock()
    refresh = HttpRefresh(url=f"{api.url}/refresh", form={"r": "{refresh_token}"})
    before = token(clock, refresh_token="r-0")
    fresh = await source(client, clock, HttpCall(url=f"{api.url}/obtain"), refresh).fetch(before)
    assert fresh.refresh_token == "r-1"


async def test_without_a_refresh_token_or_any_token_a_new_one_is_obtained(api, client):
    clock = FakeClock()
    by_token = HttpRefresh(url=f"{api.url}/refresh", body="{refresh_token}")
    by_itself = HttpRefresh(url=f"{api.url}/refresh", body="{access_token}")
    obtain = HttpCall(url=f"{api.url}/obtain")
    for refresh, previous in ((by_token, NOTHING), (by_token, token(clock)), (by_itself, TokenPair(None, "r"))):
        api.will_say({"access_token": "a-1"})
        await source(client, clock, obtain, refresh).fetch(previous)
    assert [path for _, path, _, _ in api.asked] == ["/obtain"] * 3


async def test_a_refused_refresh_obtains_in_the_same_breath(api, client):
    api.will_say({"error": "invalid_grant"}, status=400)
    api.will_say({"access_token": "a-1"})
    clock = FakeClock()
    refresh = HttpRefresh(url=f"{api.url}/refresh", body="{access_token}")
    fresh = (await source(client, clock, HttpCall(url=f"{api.url}/obtain"), refresh).fetch(token(clock))).token
    assert (fresh.access_token, [path for _, path, _, _ in api.asked]) == ("a-1", ["/refresh", "/obtain"])


@pytest.mark.parametrize("status", [503, 200])
async def test_a_refresh_token_that_came_with_a_useless_token_is_told_though_nothing_can_be_obtained(
    api, client, status
):
    """The old one is spent: only the new one goes on. It is not in the request that is answered badly."""
    clock = FakeClock()
    api.will_say({"access_token": "a", "token_type": "mac", "refresh_token": "r-1"})
    api.answers.append(web.Response(text="<p>down", status=status))
    answer = HttpAnswer(refresh_token="/refresh_token", token_type="/token_type")
    refresh = HttpRefresh(url=f"{api.url}/refresh", form={"refresh_token": "{refresh_token}"})
    going_on = source(client, clock, HttpCall(url=f"{api.url}/token"), refresh, answers=AnswerReader(answer))
    with pytest.raises(CredentialUnavailable) as failed:
        await going_on.fetch(token(clock, refresh_token="r-0"))
    assert (failed.value.rotated, type(failed.value)) == ("r-1", CredentialUnavailable)


async def test_a_refresh_that_fails_for_now_does_not_obtain(api, client):
    api.will_say({}, status=503, **{"Retry-After": "7"})
    clock = FakeClock()
    refresh = HttpRefresh(url=f"{api.url}/refresh", body="{access_token}")
    with pytest.raises(CredentialUnavailable) as caught:
        await source(client, clock, HttpCall(url=f"{api.url}/obtain"), refresh).fetch(token(clock))
    assert caught.value.retry_after == 7
    assert len(api.asked) == 1


async def test_refresh_settings_without_a_url_are_no_request(api, client):
    api.will_say({"access_token": "a-1"})
    clock = FakeClock()
    await source(client, clock, HttpCall(url=f"{api.url}/obtain"), HttpRefresh(at=0.5)).fetch(token(clock))
    assert [path for _, path, _, _ in api.asked] == ["/obtain"]


async def test_a_part_that_nobody_has_is_a_refusal_and_nothing_is_sent(api, client):
    with pytest.raises(CredentialRefused, match="a value for refresh_token"):
        await source(client, FakeClock(), HttpCall(url=f"{api.url}/t", body="{refresh_token}")).fetch(NOTHING)
    assert api.asked == []


# ---- reading ---------------------------------------------------------------------------------------------------------


async def fetched(api: Api, client: HttpClient, said: Any, answer: HttpAnswer, clock: FakeClock | None = None) -> Token:
    api.will_say(said)
    asking = source(client, clock or FakeClock(), HttpCall(url=api.url), answers=AnswerReader(answer), assumed=77)
    return (await asking.fetch(NOTHING)).token


@pytest.mark.parametrize(
    "said",
    [
        lambda at: at,
        lambda at: at * 1000,
        str,
        lambda at: formatdate(at, usegmt=True),
        lambda _: "2027-01-15T08:10:00Z",
    ],
)
async def test_a_time_of_expiry_is_read_in_every_form(api, client, said):
    clock = FakeClock()
    answer = HttpAnswer(access_token="/t", expires_at="/at")
    fresh = await fetched(api, client, {"t": "a-1", "at": said(int(clock.wall()) + 600)}, answer, clock)
    assert (fresh.expires_wall, fresh.lifetime) == (clock.wall() + 600, 600)


async def test_a_time_that_cannot_be_read_counts_as_none(api, client):
    fresh = await fetched(api, client, {"t": "a-1", "at": "soon"}, HttpAnswer(access_token="/t", expires_at="/at"))
    assert (fresh.expires_wall, fresh.lifetime) == (None, 77)


async def test_a_lifetime_that_is_not_stated_is_the_last_one_that_was(api, client):
    clock = FakeClock()
    asking = source(client, clock, HttpCall(url=api.url), HttpRefresh(url=api.url), assumed=77)
    api.will_say({"access_token": "a-1", "expires_in": 900})
    api.will_say({"access_token": "a-2"})
    fresh = (await asking.fetch(NOTHING)).token
    assert (await asking.fetch(TokenPair(fresh))).token.lifetime == 900


async def test_pointers_reach_into_lists_and_escaped_names(api, client):
    said = [{"a/b~c": {"": ["x", "a-1"]}}]
    assert (await fetched(api, client, said, HttpAnswer(access_token="/0/a~1b~0c//1"))).access_token == "a-1"


async def test_a_whole_answer_may_be_the_token(api, client):
    assert (await fetched(api, client, "a-1", HttpAnswer(access_token=""))).access_token == "a-1"


async def test_a_form_encoded_answer_is_read_too(api, client):
    api.answers.append(
        web.Response(text="access_token=a-1&expires_in=60", content_type="application/x-www-form-urlencoded")
    )
    fresh = (await source(client, FakeClock(), HttpCall(url=api.url)).fetch(NOTHING)).token
    assert (fresh.access_token, fresh.lifetime) == ("a-1", 60)


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ({}, HttpAnswer()),
        ({"data": None}, NESTED),
        ({"data": []}, NESTED),
        ({"data": {"accessToken": {"x": 1}}}, NESTED),
        ([], HttpAnswer(access_token="/0")),
        (["a"], HttpAnswer(access_token="/x")),
        ("a", HttpAnswer(access_token="/a")),
        ({"t": "s3cret\n"}, HttpAnswer(access_token="/t")),
    ],
)
async def test_an_answer_without_a_token_where_it_should_be_is_a_failure(api, client, said, answer):
    with pytest.raises(CredentialUnavailable) as caught:
        await fetched(api, client, said, answer)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("text", ["<html>", "", "{}", '{"t":', "[]", '{"data":{}}'])
async def test_a_success_that_cannot_be_read_says_that_what_was_sent_is_spent(api, client, text):
    api.answers.append(web.Response(text=text))
    with pytest.raises(ReplyUnreadable) as caught:
        await source(client, FakeClock(), HttpCall(url=api.url)).fetch(NOTHING)
    assert caught.value.rotated is None


async def test_a_refresh_token_is_found_in_what_cannot_be_read(api, client):
    answer = HttpAnswer(access_token="/data/t", refresh_token="/data/rt~1x")
    api.answers.append(web.Response(text='{"data":{"t":"a","rt/x":"r2","mo'))
    with pytest.raises(ReplyUnreadable) as caught:
        await source(client, FakeClock(), HttpCall(url=api.url), answers=AnswerReader(answer)).fetch(NOTHING)
    assert caught.value.rotated == "r2"
    api.answers.append(web.Response(text='{"data":{"t":"a","refresh_token":"r2","mo'))
    with pytest.raises(ReplyUnreadable) as caught:
        await source(client, FakeClock(), HttpCall(url=api.url), answers=AnswerReader(answer)).fetch(NOTHING)
    assert caught.value.rotated is None, "it was to be elsewhere"


async def test_an_answer_is_read_in_the_charset_that_it_has(api, client):
    body = '{"t":"a-1","name":"José"}'
    for content_type, charset in (("application/json;charset=latin1", "latin-1"), ("x/y", "utf-16"), ("x/y", "cp1252")):
        api.answers.append(web.Response(body=body.encode(charset), headers={"Content-Type": content_type}))
        token = await source(
            client, FakeClock(), HttpCall(url=api.url), answers=AnswerReader(HttpAnswer(access_token="/t"))
        ).fetch(NOTHING)
        assert token.token.access_token == "a-1"


async def test_an_error_in_a_success_is_a_failure(api, client):
    with pytest.raises(CredentialUnavailable) as caught:
        await fetched(api, client, {"error": {"why": "s3cret"}, "t": "a-1"}, HttpAnswer(access_token="/t"))
    assert caught.value.refuses_grant
    with pytest.raises(CredentialRefused):
        await fetched(api, client, {"error": "invalid_client", "t": "a-1"}, HttpAnswer(access_token="/t"))


async def test_an_empty_error_beside_a_token_is_none(api, client):
    said = {"error": None, "t": "a-1"}
    assert (await fetched(api, client, said, HttpAnswer(access_token="/t"))).access_token == "a-1"


async def test_a_token_type_is_checked_where_the_answer_has_one(api, client):
    answer = HttpAnswer(access_token="/t", token_type="/type")
    assert (await fetched(api, client, {"t": "a-1", "type": "bearer"}, answer)).token_type == "Bearer"
    with pytest.raises(CredentialRefused):
        await fetched(api, client, {"t": "a-1", "type": "mac"}, answer)


def test_a_request_cannot_be_printed():
    assert repr(prepared(HttpCall(url="https://x.example/?k=s3cret", body="s3cret"), known())) == "Call(POST)"
