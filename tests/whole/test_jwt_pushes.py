"""Pushes that a JWT opens, through the whole program: real keys, a real server of keys, and attackers of every kind.

joserfc makes the tokens; the program checks them with another library.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey
from support.clock import FakeClock
from support.process import free_port
from support.running import Running
from support.tls import Authority

ISSUER, AUDIENCE = "https://ci.example", "auth-sidecar"
RSA = RSAKey.generate_key(2048, {"kid": "rsa-1"})
EC = ECKey.generate_key("P-256", {"kid": "ec-1"})
STRANGER = ECKey.generate_key("P-256", {"kid": "ec-1"})
NOW = int(FakeClock().wall())
KEYS = {"RS256": RSA, "ES256": EC}
PATH = "/credentials/main/token"


class KeyServer:
    """`/jwks`: the public keys of now. `status`: what is answered instead; `asked`: how often."""

    def __init__(self) -> None:
        self.keys: list[RSAKey | ECKey] = [RSA, EC]
        self.status = 200
        self.asked = 0
        self.url = ""
        self.stop: Any = None

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys]}, status=self.status)


@pytest.fixture
async def server(aiohttp_server):
    keys = KeyServer()
    app = web.Application()
    app.router.add_get("/jwks", keys.answer)
    running = await aiohttp_server(app)
    keys.url = str(running.make_url("/jwks"))
    keys.stop = running.close
    return keys


@pytest.fixture
def config(server, upstream):
    guard = {
        "jwks_uri": server.url,
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "claims": {"sub": "refresher", "repository": "me/secrets"},
        "algorithms": ["RS256", "ES256"],
    }
    pushed = {"type": "external", "timeouts": {"total": "100ms"}, "update": {"jwt": guard}}
    return {
        "routes": [{"match": "/api", "upstream": upstream.url, "credential": "main"}],
        "credentials": {"main": pushed},
    }


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
async def program(config, clock, tmp_path):
    async with Running(config, tmp_path, clock=clock) as running:
        yield running


@pytest.fixture
def claims(clock):
    """What the right token says; None takes a claim out."""

    def make(**changed):
        said: dict[str, Any] = {"iss": ISSUER, "aud": AUDIENCE, "sub": "refresher", "repository": "me/secrets"}
        said |= {"iat": int(clock.wall()), "exp": int(clock.wall()) + 300, **changed}
        return {name: value for name, value in said.items() if value is not None}

    return make


def signed(claims, key: Any = EC, alg="ES256", **header):
    return jwt.encode({"alg": alg, "kid": key.kid, **header}, claims, key, algorithms=[alg])


def by_hand(claims, secret: bytes, alg="HS256"):
    """What no honest library makes: a public key for a shared secret; `none` has no signature."""
    parts = [json.dumps(part).encode() for part in ({"alg": alg, "kid": "rsa-1"}, claims)]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    digest = hmac.digest(secret, text, hashlib.sha256) if alg == "HS256" else b""
    return (text + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode()


async def push(program, bearer, token="pushed", **how):
    said = {"access_token": token, "expires_in": 600}
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    return (await program.ask(program.admin + PATH, "PUT", json=said, headers=headers, **how))[0]


def sent(upstream):
    return [request.field(b"authorization") for request in upstream.requests]


@pytest.mark.parametrize("alg", KEYS)
async def test_a_token_of_the_issuer_opens_and_what_it_brings_is_sent(program, upstream, server, claims, alg):
    answer = await program.ask(
        program.admin + PATH,
        "PUT",
        json={"access_token": "pushed", "expires_in": 600},
        headers={"Authorization": "bearer " + signed(claims(aud=["other", AUDIENCE]), KEYS[alg], alg)},
    )
    assert (answer[0], answer[1]["ETag"], json.loads(answer[2])["generation"]) == (200, '"1"', 1)
    assert (await program.ask(program.url + "/api/x"))[0] == 200
    assert sent(upstream) == [b"Bearer pushed"]
    assert await push(program, signed(claims(), KEYS[alg], alg), "pushed-2") == 200
    assert server.asked == 1


WRONG: dict[str, Any] = {
    "another audience": {"aud": "somebody-else"},
    "no audience": {"aud": None},
    "another issuer": {"iss": "https://ci.example.evil"},
    "an issuer with a slash more": {"iss": ISSUER + "/"},
    "no issuer": {"iss": None},
    "expired": {"exp": NOW - 1},
    "no expiry": {"exp": None},
    "not yet": {"nbf": NOW + 120},
    "another subject": {"sub": "somebody"},
    "no subject": {"sub": None},
    "another repository": {"repository": "me/fork"},
    "a list that holds the right repository": {"repository": ["me/secrets"]},
}


@pytest.mark.parametrize("changed", WRONG.values(), ids=WRONG)
async def test_a_token_that_says_anything_else_does_not_open(program, upstream, claims, changed):
    assert await push(program, signed(claims(**changed))) == 401
    assert (await program.ask(program.url + "/api/x"))[0] == 502
    assert upstream.requests == []
    assert await push(program, signed(claims())) == 200


async def test_no_algorithm_but_the_configured_ones_opens(program, server, claims):
    """The public key is known to everybody: as a shared secret, in any form of it, it must open nothing."""
    forged = {
        "none": by_hand(claims(), b"", "none"),
        "None": by_hand(claims(), b"", "None"),
        "the key as PEM": by_hand(claims(), RSA.as_pem(private=False)),
        "the key as DER": by_hand(claims(), RSA.as_der(private=False)),
        "the key as JSON": by_hand(claims(), json.dumps(RSA.as_dict(private=False)).encode()),
        "an unlisted algorithm": signed(claims(), RSA, "PS256"),
        "another key under its name": signed(claims(), ECKey.generate_key("P-256"), "ES256", kid="ec-1"),
        "a key in the token": signed(claims(), STRANGER, "ES256", kid="ec-1", jwk=STRANGER.as_dict(private=False)),
        "keys elsewhere": signed(claims(), STRANGER, "ES256", kid="ec-1", jku="https://evil.example/jwks"),
        "no signature": signed(claims()).rpartition(".")[0] + ".",
    }
    opened = [name for name, token in forged.items() if await push(program, token) != 401]
    assert opened == []
    assert server.asked == 1
    assert await push(program, signed(claims())) == 200


async def test_a_new_key_is_found_without_a_restart_and_a_withdrawn_one_ends(program, server, clock, claims):
    assert await push(program, signed(claims()), "first") == 200
    assert server.asked == 1
    new = ECKey.generate_key("P-256", {"kid": "ec-2"})
    server.keys = [RSA, new]
    assert await push(program, signed(claims(), new), "second") == 401
    assert server.asked == 1, "keys that were fetched a moment ago are not fetched for a name that anybody can invent"
    clock.suspend(31)
    assert await push(program, signed(claims(), new), "second") == 200
    assert server.asked == 2
    assert await push(program, signed(claims()), "third") == 401
    assert server.asked == 2


async def test_while_the_key_server_is_down_known_keys_open_and_unknown_ones_do_not(
    program, server, upstream, clock, claims
):
    server.status = 503
    assert await push(program, signed(claims())) == 401
    assert (await program.ask(program.url + "/api/x"))[0] == 502
    server.status = 200
    clock.suspend(31)
    assert await push(program, signed(claims()), "first") == 200
    await server.stop()
    clock.suspend(3600)
    assert await push(program, signed(claims()), "second") == 200
    assert await push(program, signed(claims(), STRANGER, kid="other")) == 401
    assert (await program.ask(program.url + "/api/x"))[0] == 200
    assert sent(upstream) == [b"Bearer second"]


async def test_either_guard_suffices_and_neither_weakens_the_other(config, tmp_path, clock, claims, server):
    config["credentials"]["main"]["update"]["secret"] = {"value": "guard"}
    async with Running(config, tmp_path, clock=clock) as program:
        assert await push(program, "guard", "first") == 200
        assert server.asked == 0
        assert await push(program, signed(claims()), "second") == 200
        assert await push(program, "wrong") == 401
        assert await push(program, signed(claims(sub="somebody"))) == 401
        assert await push(program, None) == 401
        said = {"token": {"access_token": "third", "expires_in": 600}, "endpointSecret": "guard"}
        wrong = {"Authorization": "Bearer " + signed(claims(sub="somebody"))}
        assert (await program.ask(program.admin + PATH, "POST", json=said, headers=wrong))[0] == 200
        assert (await program.status("main"))["generation"] == 3


async def test_the_eleventh_refused_token_is_too_many_and_the_right_one_is_still_taken(program, claims, clock):
    wrong = signed(claims(sub="somebody"))
    assert [await push(program, wrong) for _ in range(11)] == [401] * 10 + [429]
    assert await push(program, signed(claims())) == 200
    clock.suspend(61)
    assert await push(program, wrong) == 401


async def test_a_runner_elsewhere_pushes_over_tls_with_its_token(config, tmp_path, clock, claims, upstream):
    authority = Authority()
    certificate, key = authority.server("sidecar.internal").write(tmp_path, "update")
    port = free_port()
    tls = {"cert_file": certificate.name, "key_file": key.name}
    config["update"] = {"listen": f"0.0.0.0:{port}", "tls": tls}
    config["admin"] = {"listen": "off"}
    trust: dict[str, Any] = {"ssl": authority.client_context(), "server_hostname": "sidecar.internal"}
    async with Running(config, tmp_path, clock=clock) as program:
        program.admin = f"https://127.0.0.1:{port}"
        assert await push(program, signed(claims(aud="other")), **trust) == 401
        assert await push(program, signed(claims()), **trust) == 200
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await push(program, signed(claims()), server_hostname="sidecar.internal")
        program.admin = f"http://127.0.0.1:{port}"
        with pytest.raises(aiohttp.ClientConnectionError):
            await push(program, signed(claims()))
        assert (await program.ask(program.url + "/api/x"))[0] == 200
    assert sent(upstream) == [b"Bearer pushed"]


async def test_nothing_of_a_token_is_said_anywhere(program, claims, caplog):
    caplog.set_level("DEBUG")
    for said in (claims(), claims(sub="somebody")):
        token = signed(said)
        answer = await program.ask(
            program.admin + PATH, "PUT", json={"access_token": "p"}, headers={"Authorization": f"Bearer {token}"}
        )
        shown = f"{answer}{await program.status()}{(await program.ask(program.admin + '/config'))[2]!r}{caplog.text}"
        assert not any(part in shown for part in token.split("."))
        assert "me/secrets" not in shown
