"""What issuers refuse, and what is made of it: other grants, pauses, nonces, clocks, replays."""

from __future__ import annotations

import asyncio
import json
import time
from email.utils import formatdate
from typing import Any

import jwt
import pytest
from aiohttp import web
from support.issuer import scripted_issuer
from support.process import Program
from support.settings import client_credentials, one_route

REFUSED = 'auth-sidecar; error=proxy_internal_response; details="credential_refused"'
UNAVAILABLE = 'auth-sidecar; error=proxy_internal_response; details="credential_unavailable"'
KEY = "a key that is long enough for HS256 and for every test"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
LAZY: dict[str, Any] = {"refresh": {"eager": False}}


@pytest.fixture
async def issuer():
    async with scripted_issuer() as running:
        yield running


def told(status: int, error: str | None = None, **fields: str):
    """A refusal."""

    def answer(_):
        if error is None:
            return web.Response(status=status, headers=fields)
        return web.json_response({"error": error}, status=status, headers=fields)

    return answer


def unverified(text: str) -> dict[str, Any]:
    return jwt.decode(text, options={"verify_signature": False})


# ---- a dead refresh token --------------------------------------------------------------------------------------------

GRANTS: dict[str, dict[str, Any]] = {
    "password": {"grant_type": "password", "username": "u", "password": {"value": "p"}},
    "client_credentials": {"initial_token": {"refresh_token": {"value": "rt-0"}}},
    JWT_BEARER: {"grant_type": JWT_BEARER, "assertion": {"value": "a.b.c"}},
    EXCHANGE: {
        "grant_type": EXCHANGE,
        "subject_token": {"value": "subject"},
        "initial_token": {"refresh_token": {"value": "rt-0"}},
    },
}
REFUSALS = [
    (400, "invalid_grant"), (400, "invalid_request"), (401, None), (403, None), (400, "invalid_token"),
    (400, "unauthorized_client"), (422, "made_up"), (404, None), (200, "token_revoked"),
    (500, "invalid_grant"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("grant", "restarted"), [*((grant, False) for grant in GRANTS), ("password", True), ("client_credentials", True)]
)
async def test_whatever_a_dead_refresh_token_is_refused_with_the_configured_grant_serves(
    issuer, upstream, tmp_path, fetch, grant, restarted
):
    store = {"type": "file", "path": "state"}
    credential = client_credentials(f"{issuer.url}/token", **LAZY, **GRANTS[grant])
    config = {**one_route(upstream.url, credential), "store": store}
    first = {"access_token": "first", "refresh_token": "rt-0", "expires_in": 3600}

    async def renew(program):
        return (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0]

    async with Program(config, tmp_path) as program:
        issuer.script.append(first)
        assert await renew(program) == 200
        if not restarted:
            for status, error in REFUSALS:
                issuer.asked.clear()
                issuer.script.extend([told(status, error), first])
                assert await renew(program) == 200
                assert [asked["grant_type"] for asked in issuer.asked] == ["refresh_token", grant], (status, error)
            return
    for status, error in REFUSALS[1:3]:
        async with Program(config, tmp_path) as program:
            issuer.asked.clear()
            issuer.script.extend([told(status, error), first])
            assert await renew(program) == 200
            assert [asked["grant_type"] for asked in issuer.asked] == ["refresh_token", grant], (status, error)


async def test_a_refusal_of_the_client_does_not_cost_the_refresh_token(issuer, upstream, tmp_path, fetch):
    credential = client_credentials(f"{issuer.url}/token", **LAZY, **GRANTS["password"])
    async with Program(one_route(upstream.url, credential), tmp_path) as program:
        issuer.script.append({"access_token": "first", "refresh_token": "rt-0"})
        for refused, status in ((None, 200), (told(401, "invalid_client"), 502), (None, 200)):
            if refused:
                issuer.script.append(refused)
            assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == status
    assert [asked["grant_type"] for asked in issuer.asked] == ["password", "refresh_token", "refresh_token"]


async def test_a_refused_refresh_of_any_api_is_followed_by_obtain(issuer, upstream, tmp_path, fetch):
    credential = {
        "type": "http",
        "obtain": {"url": f"{issuer.url}/token", "form": {"what": "obtain"}},
        "refresh": {
            "url": f"{issuer.url}/token",
            "form": {"what": "refresh", "rt": "{refresh_token}"},
            "eager": False,
        },
        "response": {"access_token": "/access_token", "refresh_token": "/refresh_token"},
    }
    first = {"access_token": "first", "refresh_token": "rt-0"}
    async with Program(one_route(upstream.url, credential), tmp_path) as program:
        for status, error in [(None, None), *REFUSALS, (401, "invalid_client")]:
            issuer.asked.clear()
            issuer.script.extend([first] if status is None else [told(status, error), first])
            assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == 200
            expected = ["obtain"] if status is None else ["refresh", "obtain"]
            assert [asked["what"] for asked in issuer.asked] == expected, (status, error)


# ---- for good, or for now --------------------------------------------------------------------------------------------


JUDGED = [
    (told(403, **{"Retry-After": "2"}), 503, 2),
    (told(400, "invalid_client", **{"Retry-After": "3"}), 503, 3),
    (told(429, **{"Retry-After": "120"}), 503, 10),
    (told(503, **{"Retry-After": "120"}), 503, 10),
    (told(403), 503, 1),
    (told(401), 503, 1),
    (told(400), 503, 1),
    (told(400, "made_up"), 503, 1),
    (told(200, "made_up"), 503, 1),
    (told(400, "use_dpop_nonce"), 503, 1),
    (told(400, "invalid_client"), 502, None),
    (told(403, "access_denied"), 502, None),
    (told(400, "invalid_target"), 502, None),
    (told(400, "invalid_authorization_details"), 502, None),
]
"""What the issuer says, what the app gets, and the seconds that it is told to wait."""


async def test_only_a_registered_code_without_retry_after_is_a_refusal_for_good(issuer, upstream, tmp_path, fetch):
    credential = client_credentials(f"{issuer.url}/token", **LAZY)
    names = [f"case-{index}" for index in range(len(JUDGED))]
    config = {
        "routes": [{"match": f"/{name}", "upstream": upstream.url, "credential": name} for name in names],
        "credentials": dict.fromkeys(names, credential),
    }
    async with Program(config, tmp_path) as program:
        for name, (answer, status, wait) in zip(names, JUDGED, strict=True):
            issuer.script.append(answer)
            got, headers, _ = await fetch(f"{program.url}/{name}/x")
            assert (name, got, headers["Proxy-Status"]) == (name, status, REFUSED if status == 502 else UNAVAILABLE)
            assert (name, headers.get("Retry-After")) == (name, None if wait is None else str(wait))
        await asyncio.sleep(3.1)
        for name, (_, _, wait) in zip(names, JUDGED, strict=True):
            got, _, _ = await fetch(f"{program.url}/{name}/x")
            assert (name, got == 200) == (name, wait is not None and wait < 10)


async def test_a_hold_begins_at_five_seconds(issuer, upstream, tmp_path, fetch):
    credential = client_credentials(f"{issuer.url}/token", **LAZY)
    async with Program(one_route(upstream.url, credential), tmp_path) as program:
        issuer.script.append(told(400, "invalid_client"))
        began = time.monotonic()
        assert (await fetch(program.url + "/api/x"))[0] == 502
        while (await fetch(program.url + "/api/x"))[0] == 502:
            assert time.monotonic() < began + 8
            await asyncio.sleep(0.1)
        assert time.monotonic() - began >= 4.5
    assert issuer.count == 2


# ---- nonces ----------------------------------------------------------------------------------------------------------


async def test_a_bare_401_with_a_nonce_costs_the_app_nothing(issuer, upstream, tmp_path, fetch):
    bound = {"access_token": "bound", "token_type": "DPoP", "expires_in": 600}
    async with Program(
        one_route(upstream.url, client_credentials(f"{issuer.url}/token", dpop=True, **LAZY)), tmp_path
    ) as program:
        issuer.script.extend([told(401, **{"DPoP-Nonce": "n1"}), bound])
        assert (await fetch(program.url + "/api/x"))[0] == 200
    assert unverified(issuer.asked[1].headers["dpop"])["nonce"] == "n1"


async def test_where_every_refusal_brings_another_nonce_nothing_is_held(issuer, upstream, tmp_path, fetch):
    bound = {"access_token": "bound", "token_type": "DPoP", "expires_in": 600}
    async with Program(
        one_route(upstream.url, client_credentials(f"{issuer.url}/token", dpop=True, **LAZY)), tmp_path
    ) as program:
        issuer.script.extend([told(401, "invalid_client", **{"DPoP-Nonce": f"n{i}"}) for i in range(4)] + [bound])
        began = time.monotonic()
        while (await fetch(program.url + "/api/x"))[0] != 200:
            assert time.monotonic() < began + 4.5, "1 s, then 2 s at most"
            await asyncio.sleep(0.05)
    assert issuer.count == 5


# ---- assertions ------------------------------------------------------------------------------------------------------


class Strict:
    """A token endpoint that judges assertions by its own clock, and takes each once. `skew`: how far it is ahead."""

    def __init__(self, skew: float) -> None:
        self.skew = skew
        self.seen: set[str] = set()
        self.refused = 0

    async def __call__(self, request: web.Request) -> web.Response:
        form = await request.post()
        now = time.time() + self.skew
        for name in ("client_assertion", "assertion", "subject_token", "actor_token"):
            if name in form:
                claims = unverified(str(form[name]))
                late = claims["exp"] <= now or claims["iat"] > now or claims.get("nbf", 0) > now
                if late or claims["jti"] in self.seen:
                    self.refused += 1
                    return web.json_response(
                        {"error": "invalid_client"}, status=401, headers={"Date": formatdate(now, usegmt=True)}
                    )
                self.seen.add(claims["jti"])
        return web.json_response({"access_token": f"at-{len(self.seen)}", "expires_in": 600})


ASSERTING: dict[str, dict[str, Any]] = {
    "client_secret_jwt": {"token_endpoint_auth_method": "client_secret_jwt", "client_secret": {"value": KEY}},
    "jwt-bearer": {"grant_type": JWT_BEARER, "assertion": {"key": {"value": KEY}, "alg": "HS256", "lifetime": "1m"}},
    "client assertion by a jwt credential": {
        "token_endpoint_auth_method": "private_key_jwt",
        "client_assertion": {"credential": "app"},
        "client_secret": None,
    },
    "jwt-bearer by a jwt credential": {"grant_type": JWT_BEARER, "assertion": {"credential": "app"}},
}


@pytest.mark.parametrize(("skew", "refused"), [(0, 0), (-4, 0), (-600, 1), (600, 1)])
@pytest.mark.parametrize("how", list(ASSERTING))
async def test_every_assertion_is_new_and_dated_by_the_issuers_clock(
    issuer, upstream, tmp_path, fetch, how, skew, refused
):
    issuer.answers = strict = Strict(skew)
    asserting = client_credentials(f"{issuer.url}/token", **LAZY) | ASSERTING[how]
    main = {name: value for name, value in asserting.items() if value is not None}
    app = {"type": "jwt", "key": {"value": KEY}, "alg": "HS256", "claims": {"iss": "me"}, "lifetime": "1m"}
    config = one_route(upstream.url, main)
    config["credentials"]["app"] = app
    async with Program(config, tmp_path) as program:
        for _ in range(3):
            assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == 200
    assert (len(strict.seen), strict.refused) == (3, refused)


async def test_a_subject_that_is_signed_here_is_new_for_each_exchange(issuer, upstream, tmp_path, fetch):
    issuer.answers = strict = Strict(-4)
    exchange: dict[str, Any] = {"grant_type": EXCHANGE, "subject_token": {"credential": "app"}}
    config = one_route(upstream.url, client_credentials(f"{issuer.url}/token", **LAZY, **exchange))
    config["credentials"]["app"] = {"type": "jwt", "key": {"value": KEY}, "alg": "HS256"}
    async with Program(config, tmp_path) as program:
        for _ in range(3):
            assert (await fetch(program.admin + "/credentials/main/refresh", "POST"))[0] == 200
    assert (len(strict.seen), strict.refused) == (3, 0)


@pytest.mark.parametrize("skew", [-600, 600])
async def test_an_api_that_judges_our_tokens_by_another_clock_is_followed(tmp_path, fetch, skew):
    judged = []

    async def api(request: web.Request) -> web.Response:
        claims = unverified(request.headers["Authorization"].removeprefix("Bearer "))
        now = time.time() + skew
        judged.append(good := claims["iat"] <= now < claims["exp"])
        return web.Response(status=200 if good else 401, headers={"Date": formatdate(now, usegmt=True)})

    app = {"type": "jwt", "key": {"value": KEY}, "alg": "HS256", "lifetime": "1m"}
    async with (
        scripted_issuer([web.get("/x", api)]) as server,
        Program(one_route(server.url, app), tmp_path) as program,
    ):
        for _ in range(3):
            assert (await fetch(program.url + "/api/x"))[0] == 200
    assert judged == [False, True, True, True]


# ---- discovery -------------------------------------------------------------------------------------------------------


async def test_an_issuer_whose_first_document_is_another_tenants_is_found(upstream, tmp_path, fetch):
    async def other(_request):
        return web.json_response({"issuer": "https://other.example", "token_endpoint": "https://other.example/t"})

    async def page(_request):
        return web.Response(text="<html>Welcome", content_type="text/html")

    async def ours(request):
        issuer = f"http://{request.host}/tenants/7"
        return web.json_response({"issuer": issuer, "token_endpoint": f"http://{request.host}/token"})

    routes = [
        web.get("/.well-known/oauth-authorization-server/tenants/7", other),
        web.get("/tenants/7/.well-known/openid-configuration", page),
        web.get("/tenants/7/.well-known/oauth-authorization-server", ours),
    ]
    async with scripted_issuer(routes) as issuer:
        credential = client_credentials("", issuer=f"{issuer.url}/tenants/7", **LAZY)
        del credential["token_endpoint"]
        async with Program(one_route(upstream.url, credential), tmp_path) as program:
            assert (await fetch(program.url + "/api/x"))[0] == 200
        assert issuer.count == 1


@pytest.mark.parametrize(
    "endpoint", ["http://192.0.2.1/token", "https://169.254.169.254/token", "https://u:p@x.example/"]
)
async def test_secrets_go_to_no_endpoint_that_could_not_be_configured(upstream, tmp_path, fetch, endpoint):
    async def ours(request):
        return web.json_response({"issuer": f"http://{request.host}", "token_endpoint": endpoint})

    async with scripted_issuer([web.get("/.well-known/openid-configuration", ours)]) as issuer:
        credential = client_credentials("", issuer=issuer.url, **LAZY)
        del credential["token_endpoint"]
        async with Program(one_route(upstream.url, credential), tmp_path) as program:
            status, headers, body = await fetch(program.url + "/api/x")
            assert (status, headers["Proxy-Status"]) == (502, REFUSED)
            assert "not used" in json.loads(body)["detail"]
