"""The whole program where nothing leaves but through a proxy that wants a password and connects to few ports."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey
from support import oauth1
from support.egress_proxy import EgressProxy
from support.issuer import scripted_issuer
from support.recording_upstream import RecordingUpstream
from support.running import Running
from support.settings import client_credentials
from support.tls import Authority

KEY = ECKey.generate_key("P-256", {"kid": "k"})


@pytest.fixture
async def egress():
    async with EgressProxy(login="prøxy:s3cret") as running:
        yield running


def via(egress: EgressProxy, password: str = "s3cret", **more: Any) -> dict[str, Any]:
    return {"url": egress.url, "username": "prøxy", "password": {"value": password}, **more}


def config(upstream: str, credential: dict[str, Any], **route: Any) -> dict[str, Any]:
    return {
        "routes": [{"match": "/api", "upstream": upstream, "credential": "main", **route}],
        "credentials": {"main": credential},
    }


async def test_metadata_token_and_api_are_reached_through_the_proxy(egress, upstream, tmp_path):
    async def metadata(request: web.Request) -> web.Response:
        base = f"http://{request.host}"
        return web.json_response({"issuer": base, "token_endpoint": base + "/token"})

    where = web.get("/.well-known/oauth-authorization-server", metadata)
    async with scripted_issuer([where]) as issuer:
        credential = client_credentials(issuer.url + "/token", via_proxy=via(egress))
        credential["issuer"] = issuer.url
        del credential["token_endpoint"]
        async with Running(config(upstream.url, credential, via_proxy=via(egress)), tmp_path) as running:
            assert (await running.ask(running.url + "/api/x", "POST", data=b"body"))[0] == 200
        base = issuer.url.encode()
    lines = [line.removesuffix(b" HTTP/1.1") for line in egress.lines]
    assert lines == [
        b"GET %b/.well-known/oauth-authorization-server" % base,
        b"POST %b/token" % base,
        b"POST %b/x" % upstream.url.encode(),
    ]
    (asked,) = upstream.requests
    assert asked.field(b"authorization") == b"Bearer at-1"
    assert asked.field(b"proxy-authorization") is None


@pytest.mark.parametrize("host", [None, "api.example:8443"])
@pytest.mark.parametrize("place", ["proxy", "direct", "socket"])
async def test_a_signature_covers_what_the_upstream_sees_by_whatever_way(egress, upstream, tmp_path, place, host):
    route: dict[str, Any] = {"host": host} if host and place != "proxy" else {}
    where = f"{upstream.url}/v2"
    if place == "socket":
        server = await asyncio.start_unix_server(upstream._serve, tmp_path / "api.sock")
        where = "unix:api.sock:/v2"
    elif place == "proxy":
        route = {"via_proxy": via(egress)}
    seen = route.get("host") or ("localhost" if place == "socket" else upstream.authority)
    async with Running(config(where, oauth1.credential(), **route), tmp_path) as running:
        assert (await running.ask(running.url + "/api/x?b=2&a=1"))[0] == 200
    if place == "socket":
        server.close()
    (request,) = upstream.requests
    assert (request.target, request.field(b"host")) == (b"/v2/x?b=2&a=1", seen.encode())
    assert oauth1.is_signed(request, f"http://{seen}")


@pytest.mark.parametrize("who", ["route", "credential"])
@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_407_is_told_as_ours_whoever_meets_it(egress, tmp_path, who, encrypted):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    context = authority.server_context() if encrypted else None
    tls: dict[str, Any] = {"tls": {"ca_file": "ca.pem"}} if encrypted else {}
    wrong = via(egress, "wr0ng")
    async with RecordingUpstream(tls=context) as upstream:
        credential: dict[str, Any] = {"type": "bearer", "token": {"value": "t0ken"}}
        route: dict[str, Any] = {**tls, "via_proxy": wrong}
        if who == "credential":
            credential, route = client_credentials(upstream.url + "/token", via_proxy=wrong) | tls, tls
        async with Running(config(upstream.url, credential, **route), tmp_path) as running:
            status, headers, body = await running.ask(running.url + "/api/x")
        assert upstream.requests == []
    if who == "route":
        assert (status, json.loads(body)["type"]) == (502, "urn:auth-sidecar:problem:egress-denied")
        assert 'details="egress_proxy_authentication"' in headers["Proxy-Status"]
    else:
        assert (status, json.loads(body)["type"]) == (503, "urn:auth-sidecar:problem:credential-unavailable")
    assert b"wr0ng" not in body
    assert b"the-proxys-text" not in body


async def test_a_reload_takes_another_password_and_the_connections_go_on(egress, upstream, tmp_path):
    credential = {"type": "bearer", "token": {"value": "t0ken"}}
    async with Running(config(upstream.url, credential, via_proxy=via(egress, "wrong")), tmp_path) as running:
        assert (await running.ask(running.url + "/api/x"))[0] == 502
        await running.reload(config(upstream.url, credential, via_proxy=via(egress)))
        assert (await running.ask(running.url + "/api/x"))[0] == 200
        await running.reload(config(upstream.url, credential, via_proxy=via(egress), on_token_expiry="close"))
        assert (await running.ask(running.url + "/api/x"))[0] == 200
        shown = (await running.ask(running.admin + "/config"))[2]
    assert b"s3cret" not in shown
    assert len(egress.heads) == 3


async def test_what_no_proxy_names_is_reached_directly_by_routes_and_credentials(egress, upstream, tmp_path):
    direct = via(egress, no_proxy=["10.0.0.0/8", "127.0.0.0/8"])
    async with scripted_issuer() as issuer:
        credential = client_credentials(issuer.url + "/token", via_proxy=direct)
        async with Running(config(upstream.url, credential, via_proxy=direct), tmp_path) as running:
            assert (await running.ask(running.url + "/api/x"))[0] == 200
    assert egress.heads == []


async def test_the_keys_of_an_update_guard_are_fetched_through_the_credentials_proxy(egress, upstream, tmp_path):
    async def keys(_: web.Request) -> web.Response:
        return web.json_response({"keys": [KEY.as_dict(private=False)]})

    async with scripted_issuer([web.get("/jwks", keys)]) as issuer:
        guard = {"jwks_uri": issuer.url + "/jwks", "issuer": "i", "audience": "a", "claims": {"sub": "s"}}
        pushed = {"type": "external", "update": {"jwt": guard}, "via_proxy": via(egress)}
        claims = {"iss": "i", "aud": "a", "sub": "s", "exp": int(time.time()) + 60}
        bearer = jwt.encode({"alg": "ES256", "kid": "k"}, claims, KEY)
        async with Running(config(upstream.url, pushed), tmp_path) as running:
            status, _, body = await running.ask(
                running.admin + "/credentials/main/token",
                "PUT",
                json={"access_token": "pushed", "expires_in": 60},
                headers={"Authorization": f"Bearer {bearer}"},
            )
            assert status == 200, body
        assert egress.lines == [f"GET {issuer.url}/jwks HTTP/1.1".encode()]
    wanted = base64.b64encode("prøxy:s3cret".encode())
    assert b"\r\nProxy-Authorization: Basic %b\r\n" % wanted in egress.heads[0]
