"""An `oauth2` credential put together: against the sandbox's own issuer, as the program would ask it."""

from __future__ import annotations

import jwt
import pytest
from support.issuer import scripted_issuer

from proxy.auth.dpop import DpopScheme
from proxy.auth.dpop_key import DpopKey
from proxy.errors import CallerUnknown, ConfigurationError, CredentialRefused
from proxy.model import Moment, Request
from proxy.sandbox.sandbox_server import Sandbox, SandboxOptions

REQUEST = Request(b"GET", "https", b"api.example", b"/v1")


@pytest.fixture
async def sandbox(bench):
    async with Sandbox(SandboxOptions(port=0), clock=bench.clock) as running:
        yield running


@pytest.fixture
def issued(sandbox):
    return {
        "type": "oauth2",
        "token_endpoint": sandbox.token_endpoint,
        "client_id": "sandbox",
        "client_secret": {"value": "sandbox-secret"},
        "refresh": {"eager": False},
    }


async def token_of(built):
    await built.start()
    try:
        return await built.credential.tokens.current()
    finally:
        await built.stop()


async def test_a_token_is_fetched_and_sent_as_bearer(bench, issued):
    built = bench.credential(issued)
    token = await token_of(built)
    assert built.credential.scheme.sign(REQUEST, token, Moment(0.0, bytes)) == [
        (b"Authorization", b"Bearer " + token.access_token.encode())
    ]
    assert (built.entry.type, built.entry.kind, built.entry.eager) == ("oauth2", "Bearer", False)


async def test_the_token_goes_to_another_field_or_into_the_query(bench, issued):
    built = bench.credential({**issued, "header": "X-Token", "header_prefix": ""})
    token = await token_of(built)
    assert built.credential.scheme.sign(REQUEST, token, Moment(0.0, bytes)) == [
        (b"X-Token", token.access_token.encode())
    ]
    built = bench.credential({**issued, "query": "access_token"})
    assert built.credential.scheme.place(REQUEST, token, Moment(0.0, bytes)).target.endswith(
        b"?access_token=" + token.access_token.encode()
    )


async def test_a_refresh_token_is_a_seed_and_a_second_manager_takes_up_what_came_of_it(bench, issued, sandbox):
    config = {**issued, "grant_type": "refresh_token", "refresh_token": {"value": "sandbox-refresh-token"}}
    first = await token_of(bench.credential(config))
    assert (await token_of(bench.credential(config))).access_token == first.access_token
    assert sandbox.counters.grants == {"refresh_token": 1}


async def test_a_dpop_credential_signs_with_a_key_of_its_own_or_the_configured_one(bench, issued, tmp_path):
    built = bench.credential({**issued, "dpop": True})
    assert isinstance(built.credential.scheme, DpopScheme)
    assert built.entry.kind == "DPoP"
    token = await token_of(built)
    assert token.key_thumbprint == built.credential.scheme.keys.current.thumbprint
    key = DpopKey.generate("ES384")
    (tmp_path / "dpop.pem").write_text(key.pem())
    built = bench.credential(
        {**issued, "dpop": {"alg": "ES384", "key": {"file": "dpop.pem"}, "htu_base": "https://p.example"}}
    )
    assert built.credential.scheme.keys.current.thumbprint == key.thumbprint
    fields = dict(built.credential.scheme.sign(REQUEST, token, Moment(0.0, bytes)))
    proof = jwt.decode(fields[b"DPoP"].decode(), options={"verify_signature": False})
    assert proof["htu"] == "https://p.example/v1"


async def test_new_tokens_are_bound_to_the_dpop_key_that_its_file_holds_now(bench, issued, tmp_path):
    """The tokens before them are still proved with theirs; what is no key changes nothing."""
    first, second = DpopKey.generate(), DpopKey.generate()
    (tmp_path / "dpop.pem").write_text(first.pem())
    built = bench.credential({**issued, "dpop": {"key": {"file": "dpop.pem"}}})
    old = await token_of(built)
    for text, key in ((second.pem(), second), ("no key", second)):
        (tmp_path / "dpop.pem").write_text(text)
        await bench.clock.advance(2)
        token = await built.credential.tokens.renew(built.credential.tokens.ready())
        assert token.key_thumbprint == key.thumbprint
    assert built.credential.scheme.keys.of(old).thumbprint == old.key_thumbprint == first.thumbprint


async def test_a_dpop_key_does_not_come_from_a_command(bench, issued):
    with pytest.raises(ConfigurationError, match=r"credentials\.main: dpop\.key: a key comes from a file"):
        bench.credential({**issued, "dpop": {"key": {"exec": ["cat", "key.pem"]}}})


async def test_a_key_of_another_kind_than_its_algorithm_is_a_mistake(bench, issued, tmp_path):
    (tmp_path / "rsa.pem").write_text(DpopKey.generate("PS256").pem())
    own = {key: value for key, value in issued.items() if key != "client_secret"}
    with pytest.raises(ConfigurationError, match=r"credentials\.main: this key cannot sign with ES256"):
        bench.credential(
            {**own, "client_assertion_key": {"file": "rsa.pem"}, "token_endpoint_auth_signing_alg": "ES256"}
        )


async def test_each_tenant_has_a_token_of_its_own(bench, issued):
    built = bench.credential({**issued, "per": {"header": "X-Tenant", "pattern": "[a-z]+"}})
    picker = built.credential.picker
    tokens = {
        tenant: (await picker.pick(REQUEST, lambda _, tenant=tenant: tenant).current()).access_token
        for tenant in (b"one", b"two")
    }
    assert len(set(tokens.values())) == 2
    assert picker.strips == (b"x-tenant",)
    assert built.entry.tokens is None
    with pytest.raises(CallerUnknown):
        picker.pick(REQUEST, lambda _: b"NO")


async def test_the_callers_own_token_is_exchanged(bench, issued, sandbox):
    subject = await token_of(bench.credential(issued))
    exchange = "urn:ietf:params:oauth:grant-type:token-exchange"
    built = bench.credential({**issued, "grant_type": exchange, "subject_token": {"request_header": "Authorization"}})
    picked = built.credential.picker.pick(REQUEST, lambda _: b"Bearer " + subject.access_token.encode())
    assert (await picked.current()).access_token != subject.access_token
    assert sandbox.counters.grants[exchange] == 1
    refused = built.credential.picker.pick(REQUEST, lambda _: b"Bearer nonsense")
    with pytest.raises(CallerUnknown):
        await refused.current()


@pytest.mark.parametrize("behalf", [False, True])
async def test_for_many_callers_an_initial_token_has_no_effect(bench, issued, behalf):
    """A refresh token would keep the exchanged token alive without its subject."""
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": {"request_header": "X-Caller"},
    }
    more = exchange if behalf else {"per": {"header": "X-Caller"}}
    async with scripted_issuer() as issuer:
        issuer.script.append({"access_token": "at", "expires_in": 60, "refresh_token": "rt"})
        built = bench.credential(
            {
                **issued,
                **more,
                "token_endpoint": f"{issuer.url}/token",
                "initial_token": {"refresh_token": {"value": "seed"}},
            }
        )
        tokens = built.credential.picker.pick(REQUEST, lambda _: b"caller")
        await tokens.renew(await tokens.current())
        assert len({asked["grant_type"] for asked in issuer.asked}) == 1


@pytest.mark.parametrize("behalf", [False, True])
async def test_a_changed_secret_ends_the_refusal_of_every_caller(bench, issued, tmp_path, behalf):
    subject = await token_of(bench.credential(issued))
    (tmp_path / "secret").write_text("wrong\n")
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": {"request_header": "X-Caller"},
    }
    more = exchange if behalf else {"per": {"header": "X-Caller"}}
    built = bench.credential({**issued, "client_secret": {"file": "secret"}, **more})
    callers = [subject.access_token.encode()] if behalf else [b"one", b"two"]
    for caller in callers:
        with pytest.raises(CredentialRefused, match="invalid_client"):
            await built.credential.picker.pick(REQUEST, lambda _, caller=caller: caller).current()
    (tmp_path / "secret").write_text("sandbox-secret\n")
    await bench.clock.advance(2)
    for caller in callers:
        assert await built.credential.picker.pick(REQUEST, lambda _, caller=caller: caller).current()


async def test_an_assertion_is_signed_here_and_secrets_are_read_from_files(bench, issued, sandbox, tmp_path):
    (tmp_path / "secret").write_text("sandbox-secret\n")
    built = bench.credential(
        {
            **issued,
            "client_secret": {"file": "secret"},
            "grant_type": "password",
            "username": "sandbox-user",
            "password": {"value": "sandbox-password"},
        }
    )
    await token_of(built)
    assert sandbox.counters.grants == {"password": 1}
