"""Every source of tokens but the issuer, in the whole program: what a user writes, and what the API then sees."""

from __future__ import annotations

import datetime as dt
import json
import sys
import time

import jwt as pyjwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.process import Program
from support.settings import one_route

KEY = rsa.generate_private_key(65537, 2048)


@pytest.fixture
async def api(aiohttp_server):
    """An API that shows which credential it got, and a token API that opens to the app's own JWT, as GitHub's does."""
    asked: list[str] = []

    async def show(request: web.Request) -> web.Response:
        return web.json_response({name.lower(): value for name, value in request.headers.items()})

    async def installation(request: web.Request) -> web.Response:
        scheme, _, token = request.headers["Authorization"].partition(" ")
        claims = pyjwt.decode(token, KEY.public_key(), algorithms=["RS256"], options={"require": ["iat", "exp", "jti"]})
        asked.append(f"{scheme} {claims['iss']} {claims['exp'] - claims['iat']} {(await request.json())['repository']}")
        ends = dt.datetime.fromtimestamp(time.time() + 3600, dt.UTC).isoformat().replace("+00:00", "Z")
        return web.json_response({"token": f"ghs_{len(asked)}", "expires_at": ends}, status=201)

    app = web.Application()
    app.router.add_post("/app/installations/1/access_tokens", installation)
    app.router.add_route("*", "/{rest:.*}", show)
    server = await aiohttp_server(app)
    server.asked = asked
    server.url = str(server.make_url("")).rstrip("/")
    return server


async def seen(fetch, url: str) -> dict[str, str]:
    status, _, body = await fetch(url, headers={"Authorization": "Bearer dummy", "X-Api-Key": "the app's own"})
    assert status == 200, body
    return json.loads(body)


async def test_a_jwt_opens_a_token_api_and_its_token_opens_the_api(api, tmp_path, fetch):
    kind = serialization.PrivateFormat.PKCS8
    pem = KEY.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    (tmp_path / "app.pem").write_bytes(pem)
    config = one_route(
        api.url,
        {
            "type": "http",
            "obtain": {
                "url": f"{api.url}/app/installations/1/access_tokens",
                "headers": {"Authorization": {"credential": "app"}},
                "json": {"repository": "r-1"},
            },
            "response": {"access_token": "/token", "expires_at": "/expires_at"},
        },
    )
    config["credentials"]["app"] = {"type": "jwt", "key": {"file": "app.pem"}, "claims": {"iss": "123"}}
    async with Program(config, tmp_path) as program:
        assert (await seen(fetch, f"{program.url}/api/x"))["authorization"] == "Bearer ghs_1"
        assert (await seen(fetch, f"{program.url}/api/x"))["authorization"] == "Bearer ghs_1"
    assert api.asked == ["Bearer 123 540 r-1"]


async def test_a_commands_exec_credential_goes_out_as_bearer(api, tmp_path, fetch):
    said = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "status": {"token": "k8s-1", "expirationTimestamp": "2099-01-01T00:00:00Z"},
    }
    command = [sys.executable, "-c", "import os; print(os.environ['SAID'])"]
    credential = {"type": "exec", "command": command, "env": {"SAID": json.dumps(said)}, "timeout": "30s"}
    async with Program(one_route(api.url, credential), tmp_path) as program:
        assert (await seen(fetch, f"{program.url}/api/x"))["authorization"] == "Bearer k8s-1"


async def test_a_pushed_token_is_all_that_an_external_credential_has(api, tmp_path, fetch):
    credential = {"type": "external", "timeouts": {"total": "500ms"}, "update": {"secret": {"value": "guard"}}}
    async with Program(one_route(api.url, credential), tmp_path) as program:
        status, fields, _ = await fetch(f"{program.url}/api/x")
        assert (status, 'details="credential_refused"' in fields["Proxy-Status"]) == (502, True)
        status, _, _ = await fetch(
            f"{program.admin}/credentials/main/token",
            "PUT",
            headers={"Authorization": "Bearer guard"},
            json={"access_token": "pushed-1", "expires_in": 600},
        )
        assert status == 200
        assert (await seen(fetch, f"{program.url}/api/x"))["authorization"] == "Bearer pushed-1"


async def test_the_operators_own_code_sees_the_upstreams_url_and_method(api, tmp_path, fetch):
    (tmp_path / "own_auth.py").write_text(
        "async def header(*, url: str, method: str) -> str:\n    return f'Own {method} {url}'\n"
    )
    credential = {"type": "python", "callable": "own_auth:header"}
    async with Program(one_route(api.url, credential), tmp_path) as program:
        assert (await seen(fetch, f"{program.url}/api/x?a=%2F"))["authorization"] == f"Own GET {api.url}/x?a=%2F"


@pytest.mark.parametrize("cache", ["off", "10m"])
async def test_the_apps_copies_of_what_the_operators_code_sends_are_dropped(api, tmp_path, fetch, cache):
    (tmp_path / "own_auth.py").write_text(
        "async def headers(**_words) -> dict[str, str]:\n    return {'X-Api-Key': 'ours', 'X-Date': 'today'}\n"
    )
    credential = {"type": "python", "callable": "own_auth:headers", "cache": cache}
    async with Program(one_route(api.url, credential), tmp_path) as program:
        for _ in range(2):
            headers = [("X-Api-Key", "the app's"), ("x_api_key", "the app's"), ("x-date", "never"), ("X-Other", "kept")]
            status, _, body = await fetch(f"{program.url}/api/x", headers=headers)
            said = json.loads(body)
            assert (status, said["x-api-key"], said["x-date"], said["x-other"]) == (200, "ours", "today", "kept")
            assert "x_api_key" not in said
