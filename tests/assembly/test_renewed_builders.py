"""Credentials whose token is fetched or pushed: their source, their scheme, one token or many."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from msgspec import UNSET, structs
from support.recording_upstream import RecordingUpstream

from proxy.assembly.renewed_builders import scheme_of, seed_of
from proxy.config import schema
from proxy.errors import CallerUnknown, CredentialRefused
from proxy.model import Moment, Request, Token
from proxy.tokens.token_response import TokenPair, TokenResponse

REQUEST = Request(b"GET", "https", b"api.example", b"/")
LAZY = {"refresh": {"eager": False}}


async def token_of(built):
    await built.start()
    try:
        return await built.credential.tokens.current()
    finally:
        await built.stop()


@pytest.mark.parametrize(
    ("config", "fields", "target"),
    [
        ({}, [(b"Authorization", b"Bearer t")], b"/"),
        ({"header_prefix": UNSET}, [(b"Authorization", b"Bearer t")], b"/"),
        ({"header": "X-Key", "header_prefix": ""}, [(b"X-Key", b"t")], b"/"),
        ({"query": "key"}, [], b"/?key=t"),
    ],
)
def test_the_token_goes_where_the_configuration_says(config, fields, target):
    scheme = scheme_of(structs.replace(schema.External(), **config))
    token = Token(access_token="t")
    assert scheme.sign(REQUEST, token, Moment(0.0, bytes)) == fields
    assert scheme.place(REQUEST, token, Moment(0.0, bytes)).target == target


def test_a_cookie_takes_the_token_too():
    scheme = scheme_of(structs.replace(schema.External(), cookie="B1SESSION"))
    request = structs.replace(REQUEST, section=b"\r\n")
    placed = scheme.place(request, Token(access_token="t"), Moment(0.0, bytes))
    assert placed.section == b"\r\nCookie: B1SESSION=t\r\n"


async def test_a_seed_is_what_the_configuration_gives(bench):
    bench.build({"credentials": {}, "routes": [{"match": "/", "upstream": "http://127.0.0.1:1"}]})
    context = bench.builder._context
    assert seed_of(schema.External(), None, context) is None
    initial = schema.InitialToken(
        access_token=schema.Secret(value="a"), refresh_token=schema.Secret(value="r"), expires_in=60.0
    )
    seed = await seed_of(schema.External(initial_token=initial), None, context)()
    assert (seed.access.access_token, seed.refresh_token, seed.access.lifetime) == ("a", "r", 60.0)
    seed = await seed_of(schema.External(), schema.Secret(value="only"), context)()
    assert seed == TokenPair(None, "only")


async def test_an_external_credential_lives_on_pushes_alone(bench):
    built = bench.credential({"type": "external", "update": {"secret": {"env": "KEY"}}, "timeouts": {"total": "50ms"}})
    await built.start()
    with pytest.raises(CredentialRefused):
        await built.credential.tokens.current()
    await built.entry.tokens.adopt(TokenResponse(Token(access_token="pushed")))
    assert built.credential.tokens.ready().access_token == "pushed"
    assert built.entry.update_secret() == "hush-key"
    await built.stop()


async def test_a_jwt_credential_signs_its_own(bench):
    secret = "k" * 32
    built = bench.credential(
        {"type": "jwt", "key": {"value": secret}, "alg": "HS256", "claims": {"iss": "123"}, **LAZY}
    )
    token = await token_of(built)
    claims = jwt.decode(
        token.access_token, secret, algorithms=["HS256"], options={"verify_exp": False, "verify_iat": False}
    )
    assert claims["iss"] == "123"


async def test_an_exec_credential_asks_its_command(bench):
    answer = json.dumps(
        {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "t"}}
    )
    built = bench.credential({"type": "exec", "command": ["echo", answer], **LAZY})
    assert (await token_of(built)).access_token == "t"


async def test_a_command_is_told_for_which_tenant_it_is_asked(bench):
    """In its arguments and in its environment."""
    answer = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "%s"}}'
    config = {
        "type": "exec",
        "command": ["sh", "-c", f"printf '{answer}' \"$1-$TENANT\"", "sh", "{per}"],
        "env": {"TENANT": "of-{per}"},
        "per": {"header": "X-Tenant"},
        **LAZY,
    }
    picker = bench.credential(config).credential.picker
    tokens = [await picker.pick(REQUEST, lambda _, who=who: who).current() for who in (b"acme", b"zebra")]
    assert [token.access_token for token in tokens] == ["acme-of-acme", "zebra-of-zebra"]


async def test_a_value_that_the_command_would_take_for_an_option_is_nobodys(bench):
    config = {"type": "exec", "command": ["cat", "{per}"], "per": {"header": "X-Tenant", "pattern": ".+"}, **LAZY}
    picker = bench.credential(config).credential.picker
    with pytest.raises(CallerUnknown):
        picker.pick(REQUEST, lambda _: b"--help")
    picker = bench.credential({**config, "command": ["cat", "--for={per}"]}).credential.picker
    assert picker.pick(REQUEST, lambda _: b"--help")


@pytest.mark.parametrize("kind", ["http", "oauth2"])
async def test_a_value_stays_within_its_part_of_the_url_that_is_asked(bench, kind):
    async with RecordingUpstream() as api:
        body = b'{"access_token": "t", "token_type": "Bearer"}'
        api.script(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        url = f"{api.url}/t/{{per}}/x?q={{per}}"
        asked = {"obtain": {"url": url}} if kind == "http" else {
            "token_endpoint": url, "client_id": "c", "client_secret": {"env": "KEY"}
        }  # fmt: skip
        per = {"header": "X-Tenant", "pattern": ".+"}
        picker = bench.credential({"type": kind, **asked, "per": per, **LAZY}).credential.picker
        assert (await picker.pick(REQUEST, lambda _: b"a?x=1/../../%2e b").current()).access_token == "t"
        part = b"a%3Fx%3D1%2F..%2F..%2F%252e%20b"
        assert (await api.received(1)).target == b"/t/%b/x?q=%b" % (part, part)
        with pytest.raises(CallerUnknown):
            picker.pick(REQUEST, lambda _: b"..")


async def test_an_http_credential_asks_as_its_template_says_and_each_caller_for_itself(bench):
    async with RecordingUpstream() as api:
        body = b'{"data": {"token": "t"}}'
        for _ in range(2):
            api.script(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        config: dict[str, Any] = {
            "type": "http",
            "obtain": {"url": f"{api.url}/token", "headers": {"X-Key": {"env": "KEY"}}},
            "response": {"access_token": "/data/token"},
            **LAZY,
        }
        assert (await token_of(bench.credential(config))).access_token == "t"
        assert (await api.received(1)).field(b"x-key") == b"hush-key"
        config["obtain"]["url"] += "/{per}"
        built = bench.credential({**config, "per": {"header": "X-Tenant"}})
        picked = built.credential.picker.pick(REQUEST, lambda _: b"acme")
        assert (await picked.current()).access_token == "t"
        assert (await api.received(2)).target == b"/token/acme"


async def test_a_direct_line_credential_picks_and_learns(bench):
    built = bench.credential({"type": "direct_line", "secret": {"env": "KEY"}})
    assert built.credential.picker is built.credential.observer
    assert built.credential.refresh_on
    assert built.entry.tokens is None
    await built.start()
    await built.stop()
