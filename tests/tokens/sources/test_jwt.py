"""What we sign, verified by another library (joserfc)."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Literal

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jws
from joserfc.jwk import import_key
from support.clock import FakeClock
from support.signing import answer

from proxy.config.schema import Secret
from proxy.errors import CredentialRefused
from proxy.tokens.sources.jwt import JwtSource
from proxy.tokens.token_response import NOTHING

RSA = rsa.generate_private_key(65537, 2048)
EC = {name: ec.generate_private_key(curve()) for name, curve in (("ES256", ec.SECP256R1), ("ES512", ec.SECP521R1))}
SECRET = "a-secret-of-at-least-sixty-four-octets-as-rfc-7518-3.2-wants-for-hs512!"


def pem(key) -> str:
    kind = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()).decode()


KEYS: dict[str, tuple[str, Literal["RSA", "EC", "OKP", "oct"]]] = {
    "RS256": (pem(RSA), "RSA"),
    "PS256": (pem(RSA), "RSA"),
    "ES256": (pem(EC["ES256"]), "EC"),
    "ES512": (pem(EC["ES512"]), "EC"),
    "EdDSA": (pem(ed25519.Ed25519PrivateKey.generate()), "OKP"),
    "HS256": (SECRET, "oct"),
    "HS512": (SECRET, "oct"),
}


def source(alg: str = "HS256", clock: FakeClock | None = None, key: str | None = None, **options) -> JwtSource:
    async def give() -> str:
        return KEYS[alg][0] if key is None else key

    return JwtSource(give, clock or FakeClock(), alg=alg, **options)


def verified(token: str, alg: str) -> tuple[dict, dict]:
    key, kind = KEYS[alg]
    found = jws.deserialize_compact(token, import_key(key, kind), algorithms=[alg])
    return found.headers(), json.loads(found.payload)


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
@pytest.mark.parametrize("alg", list(KEYS))
async def test_every_algorithm_is_verified_by_another_library(alg):
    token = (await source(alg, kid="k-1", claims={"iss": "123", "roles": ["a"]}).fetch(NOTHING)).token
    header, claims = verified(token.access_token, alg)
    assert (header["alg"], header["kid"]) == (alg, "k-1")
    assert (claims["iss"], claims["roles"]) == ("123", ["a"])


async def test_the_times_suit_a_github_app():
    """At most ten minutes in the server's future, and issued in its past even if its clock is behind."""
    clock = FakeClock()
    _, claims = verified((await source(clock=clock, lifetime=540).fetch(NOTHING)).token.access_token, "HS256")
    assert claims["iat"] == clock.wall() - 10
    assert claims["exp"] - claims["iat"] == 540
    assert all(isinstance(claims[name], int) for name in ("iat", "exp"))


async def test_the_token_expires_on_both_clocks_when_its_exp_says():
    clock = FakeClock(wall=1_800_000_000.75, elapsed=50)
    token = (await source(clock=clock, lifetime=100).fetch(NOTHING)).token
    _, claims = verified(token.access_token, "HS256")
    assert token.expires_wall == claims["exp"]
    assert token.expires_elapsed - clock.elapsed() == claims["exp"] - clock.wall() == token.lifetime


async def test_a_short_life_is_not_eaten_by_the_backdating():
    clock = FakeClock()
    token = (await source(clock=clock, lifetime=10).fetch(NOTHING)).token
    assert token.lifetime == 9


@pytest.mark.parametrize("skew", [-3600, 3600])
async def test_a_server_with_another_clock_is_followed_once_a_refusal_told_its_time(skew):
    clock = FakeClock(wall=1_800_000_000.75, elapsed=50)
    signer = source(clock=clock, lifetime=100)
    await signer.fetch(NOTHING)
    assert signer.time.mend(answer(401, fields=((b"Date", formatdate(clock.wall() + skew).encode()),)), None)
    token = (await signer.fetch(NOTHING)).token
    _, claims = verified(token.access_token, "HS256")
    assert abs(claims["iat"] - (clock.wall() + skew - 10)) < 2
    assert token.lifetime == pytest.approx(90, abs=2), "on our clock it ends as it would without"
    assert token.expires_wall - clock.wall() == pytest.approx(token.lifetime)
    assert token.expires_elapsed - clock.elapsed() == pytest.approx(token.lifetime)


async def test_each_token_has_its_own_id():
    signer = source()
    ids = {verified((await signer.fetch(NOTHING)).token.access_token, "HS256")[1]["jti"] for _ in range(50)}
    assert len(ids) == 50


async def test_configured_claims_do_not_replace_ours():
    token = (await source(claims={"iat": 1, "exp": 2, "jti": "x"}).fetch(NOTHING)).token
    _, claims = verified(token.access_token, "HS256")
    assert claims["exp"] > 1_800_000_000
    assert claims["jti"] != "x"


async def test_a_tenant_is_filled_into_the_claims():
    token = (await source(claims={"sub": "{per}", "act": {"sub": ["t:{per}"]}}, per="acme").fetch(NOTHING)).token
    _, claims = verified(token.access_token, "HS256")
    assert (claims["sub"], claims["act"]) == ("acme", {"sub": ["t:acme"]})


async def test_a_tenant_that_nobody_names_is_refused():
    with pytest.raises(CredentialRefused, match="a value for per"):
        await source(claims={"sub": "{per}"}).fetch(NOTHING)


async def test_secrets_stand_in_claims_and_headers_and_are_read_for_each_token():
    account, values = Secret(env="ACCOUNT"), iter(["one", "two"])

    async def read() -> str:
        return next(values)

    signing = source(claims={"iss": account}, headers={"typ": "at+jwt", "cty": "1"}, references={account: read})
    for value in ("one", "two"):
        header, claims = verified((await signing.fetch(NOTHING)).token.access_token, "HS256")
        assert (header["typ"], header["cty"], claims["iss"]) == ("at+jwt", "1", value)


async def test_a_secret_may_be_written_in_hex():
    token = await source(key=b"k".hex() * 40, encoding="hex").fetch(NOTHING)
    assert jws.deserialize_compact(token.token.access_token, import_key(b"k" * 40, "oct"), algorithms=["HS256"]).payload


@pytest.mark.parametrize(("alg", "key"), [("RS256", "s3cret"), ("ES256", pem(RSA)), ("RS256", ""), ("XX1", "s3cret")])
async def test_a_key_that_does_not_fit_is_refused_without_showing_it(alg, key):
    with pytest.raises(CredentialRefused, match=f"cannot sign with {alg}") as caught:
        await source(alg, key=key).fetch(NOTHING)
    assert "s3cret" not in str(caught.value)
    assert "PRIVATE" not in str(caught.value)
