"""Every type of credential: the right scheme with the right token, and what lives on over a reload."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from proxy.errors import ConfigurationError
from proxy.model import Moment, Request

REQUEST = Request(b"GET", "https", b"api.example", b"/v1?a=b")
MOMENT = Moment(1_800_000_000.0, bytes)


def signed(built):
    """Target and fields of a request that carries the token at hand."""
    credential = built.credential
    token = credential.tokens.ready()
    placed = credential.scheme.place(REQUEST, token, MOMENT)
    return placed.target, credential.scheme.sign(placed, token, MOMENT)


@pytest.mark.parametrize(
    ("config", "target", "fields"),
    [
        (
            {"type": "header", "name": "X-Key", "value": {"env": "KEY"}, "prefix": "k="},
            b"/v1?a=b",
            [(b"X-Key", b"k=hush-key")],
        ),
        ({"type": "query", "name": "key", "value": {"env": "KEY"}}, b"/v1?a=b&key=hush-key", []),
        ({"type": "bearer", "token": {"env": "KEY"}}, b"/v1?a=b", [(b"Authorization", b"Bearer hush-key")]),
        (
            {"type": "basic", "username": "u", "password": {"env": "KEY"}},
            b"/v1?a=b",
            [(b"Authorization", b"Basic dTpodXNoLWtleQ==")],
        ),
    ],
)
async def test_a_given_secret_goes_where_its_type_says_and_counts_as_fresh(bench, config, target, fields):
    built = bench.credential(config)
    assert signed(built) == (target, fields)
    assert built.entry.tokens is None
    assert built.entry.type == built.credential.type == config["type"]


async def test_a_file_that_changes_is_read_anew(bench, tmp_path):
    (tmp_path / "token").write_text("one\n")
    built = bench.credential({"type": "bearer", "token": {"file": "token"}})
    assert signed(built)[1] == [(b"Authorization", b"Bearer one")]
    (tmp_path / "token").write_text("second\n")
    await bench.clock.advance(2)
    assert signed(built)[1] == [(b"Authorization", b"Bearer second")]


async def test_an_oauth1_credential_signs_with_its_secrets(bench):
    built = bench.credential(
        {"type": "oauth1", "consumer_key": "k", "consumer_secret": {"env": "KEY"}, "token": {"value": "t"}}
    )
    ((name, value),) = signed(built)[1]
    assert name == b"Authorization"
    assert b'oauth_consumer_key="k", oauth_token="t"' in value


async def test_an_oauth1_credential_signs_with_an_rsa_key(bench, tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    config = {
        "type": "oauth1",
        "consumer_key": "k",
        "signature_method": "RSA-SHA256",
        "private_key": {"file": "key.pem"},
    }
    assert b"oauth_signature=" in signed(bench.credential(config))[1][0][1]


async def test_an_oauth1_credential_signs_on_while_its_key_file_holds_no_key(bench, tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    keys = {"signature_method": "RSA-SHA256", "private_key": {"file": "key.pem"}}
    built = bench.credential({"type": "oauth1", "consumer_key": "k", **keys})
    before = signed(built)
    (tmp_path / "key.pem").write_bytes(pem[:400])
    await bench.clock.advance(2)
    assert signed(built) == before


async def test_a_private_key_does_not_come_from_a_command(bench):
    config = {"type": "oauth1", "consumer_key": "k", "signature_method": "RSA-SHA1", "private_key": {"exec": ["cat"]}}
    with pytest.raises(ConfigurationError, match=r"credentials\.main: private_key: a key comes from a file"):
        bench.credential(config)


async def test_a_python_callable_is_found_beside_the_configuration(bench, tmp_path):
    (tmp_path / "own_scheme_of_this_test.py").write_text("async def f(*, url, method):\n    return f'{method} {url}'\n")
    built = bench.credential({"type": "python", "callable": "own_scheme_of_this_test:f"})
    token = await built.credential.picker.pick(REQUEST, lambda _: None).current()
    assert token.fields == ((b"Authorization", b"GET https://api.example/v1?a=b"),)


async def test_a_callable_that_is_not_there_is_a_mistake_with_the_credentials_name(bench):
    with pytest.raises(ConfigurationError, match=r"credentials\.main: callable none_such:f: there is no module"):
        bench.credential({"type": "python", "callable": "none_such:f"})


# ---- over a reload ---------------------------------------------------------------------------------------------------

ISSUED = {
    "type": "oauth2",
    "token_endpoint": "https://login.example/token",
    "client_id": "c",
    "client_secret": {"env": "KEY"},
}


async def test_a_credential_that_is_configured_the_same_is_the_same_object(bench):
    old = bench.build({"credentials": {"main": ISSUED}})
    new = bench.build({"credentials": {"other": ISSUED, "main": ISSUED}}, old)
    assert new.credentials["main"] is old.credentials["main"]
    assert new.credentials["other"].life != old.credentials["main"].life


@pytest.mark.parametrize(
    "change",
    [
        {"vend": True},
        {"required": True},
        {"update": {"secret": {"env": "KEY"}}},
        {"update": {"secret": {"exec": ["echo", "x"]}}},
    ],
)
async def test_what_the_admin_side_alone_goes_by_changes_without_a_new_life(bench, change):
    bearer = {"admin": {"bearer": {"env": "KEY"}}}
    old = bench.build({"credentials": {"main": ISSUED}, **bearer})
    new = bench.build({"credentials": {"main": {**ISSUED, **change}}, **bearer}, old)
    assert new.credentials["main"].life == old.credentials["main"].life
    entry = new.credentials["main"].entry
    assert entry != old.credentials["main"].entry
    assert entry.tokens is old.credentials["main"].entry.tokens
    assert (entry.vend, entry.required, entry.update is not None) == (
        "vend" in change,
        "required" in change,
        "update" in change,
    )
    assert bench.build({"credentials": {"main": ISSUED}, **bearer}, new).credentials["main"].entry.update is None


async def test_a_dpop_credential_stays_one_for_pushes(bench):
    old = bench.build({"credentials": {"main": {**ISSUED, "dpop": True}}})
    new = bench.build({"credentials": {"main": {**ISSUED, "dpop": True, "required": True}}}, old)
    assert new.credentials["main"].entry.kind == "DPoP"


@pytest.mark.parametrize(
    "change", [{"scope": "s"}, {"client_id": "d"}, {"header": "X-Token"}, {"timeouts": {"total": "5s"}}]
)
async def test_any_other_change_begins_a_new_life(bench, change):
    old = bench.build({"credentials": {"main": ISSUED}})
    new = bench.build({"credentials": {"main": {**ISSUED, **change}}}, old)
    assert new.credentials["main"].life != old.credentials["main"].life


async def test_a_name_that_becomes_another_type_begins_a_new_life(bench):
    old = bench.build({"credentials": {"main": ISSUED}})
    new = bench.build({"credentials": {"main": {"type": "external", "update": {"secret": {"env": "KEY"}}}}}, old)
    assert new.credentials["main"].life != old.credentials["main"].life
    assert bench.build({"credentials": {"main": ISSUED}}, new).credentials["main"].credential.type == "oauth2"
