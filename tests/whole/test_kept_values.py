"""What a token answer says besides is stored with the token, and stands in the header fields of a route."""

from __future__ import annotations

import json

from aiohttp import web
from support.issuer import scripted_issuer
from support.process import Program


def configured(upstream: str, issuer: str, path: str) -> dict[str, object]:
    fields = {"X-Tenant": {"kept": "tenant"}, "X-Zone": {"kept": "zone"}, "X-App": "demo"}
    tenant = {"set": {"X-Tenant": {"kept": "tenant"}}}
    credential: dict[str, object] = {
        "type": "oauth2", "token_endpoint": f"{issuer}/token", "client_id": "c",
        "client_secret": {"value": "hush-secret"},
        "response": {"keep": {"tenant": "/data/tenant_id", "zone": {"header": "X-Zone"}}},
    }  # fmt: skip
    missing = credential | {"response": {"keep": {"tenant": "/nowhere/hush"}}}
    return {
        "store": {"type": "file", "path": path},
        "routes": [
            {"match": "/a", "upstream": upstream, "credential": "a", "headers": {"set": fields}},
            {"match": "/tenants", "upstream": upstream, "credential": "each", "headers": tenant},
            {"match": "/missing", "upstream": upstream, "credential": "missing", "headers": tenant},
        ],
        "credentials": {
            "a": credential,
            "each": credential | {"per": {"header": "X-For"}, "token_parameters": {"for": "{per}"}},
            "missing": missing,
        },
    }  # fmt: skip


async def test_what_was_kept_outlives_a_restart_and_is_each_callers_own(upstream, tmp_path, fetch):
    async def grant(request: web.Request) -> web.Response:
        form = await request.post()
        said = {"access_token": "hush-token", "expires_in": 3600, "data": {"tenant_id": form.get("for", 4711)}}
        return web.json_response(said, headers={"X-Zone": "eu"})

    async with scripted_issuer() as issuer:
        issuer.answers = grant
        async with Program(configured(upstream.url, issuer.url, "store"), tmp_path) as program:
            sent = {"X-Tenant": "mine", "x_tenant": "mine", "X-ZONE": "mine"}
            assert (await fetch(program.url + "/a/x", headers=sent))[0] == 200
            for tenant in ("acme", "umbrella"):
                assert (await fetch(program.url + "/tenants/x", headers={"X-For": tenant}))[0] == 200
            status, _, body = await fetch(program.url + "/missing/x")
            assert (status, json.loads(body)["detail"]) == (502, "The token's answer did not say what tenant is")
            said = program.log + body.decode() + (await fetch(program.admin + "/config"))[2].decode()
            assert "missing: an answer has nothing to keep as tenant" in said
            assert "expires_in" in said
            assert "hush-token" not in said
            assert "4711" not in program.log
            asked = issuer.count
        async with Program(configured(upstream.url, issuer.url, "store"), tmp_path) as program:
            assert (await fetch(program.url + "/a/x"))[0] == 200
            assert issuer.count == asked
    assert [request.all(b"x-tenant") for request in upstream.requests] == [
        [b"4711"],
        [b"acme"],
        [b"umbrella"],
        [b"4711"],
    ]
    first, *_, last = upstream.requests
    assert first.all(b"x_tenant") == []
    assert [one.field(b"x-zone") for one in (first, last)] == [b"eu", b"eu"]
