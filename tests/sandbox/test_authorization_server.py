from __future__ import annotations

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from proxy.sandbox.clients import ASSERTION_TYPE, Client

BASIC = {"Authorization": aiohttp.encode_basic_auth("sandbox", "sandbox-secret")}
KEY = ECKey.generate_key("P-256")


def proof(sandbox, clock, **claims):
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": KEY.as_dict(private=False)}
    body = {"jti": clock.octets(9).hex(), "htm": "POST", "htu": sandbox.token_endpoint, "iat": int(clock.wall())}
    return jwt.encode(header, {**body, **claims}, KEY, algorithms=["ES256"])


async def introspect(http, token):
    async with http.post("/oauth2/introspect", data={"token": token}, headers=BASIC) as answer:
        assert answer.status == 200
        return await answer.json()


async def test_a_token_request_is_answered_as_rfc_6749_says_and_never_cached(http):
    async with http.post("/oauth2/token", data={"grant_type": "client_credentials"}, headers=BASIC) as answer:
        assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
        assert set(await answer.json()) == {"access_token", "token_type", "expires_in"}


async def test_a_refusal_says_why_and_is_counted(ask, sandbox):
    assert (await ask(grant_type="client_credentials", client_secret="wrong"))[0] == 401
    status, body = await ask(grant_type="nonsense")
    assert (status, body["error"]) == (400, "unsupported_grant_type")
    assert sandbox.counters.refusals == {"invalid_client": 1, "unsupported_grant_type": 1}
    assert sandbox.counters.grants == {}


@pytest.mark.parametrize(
    "data",
    [
        '{"grant_type": "client_credentials"}',
        aiohttp.FormData([("grant_type", "client_credentials"), ("grant_type", "password")]),
        aiohttp.FormData([("grant_type", "client_credentials"), ("scope", "a"), ("scope", "b")]),
    ],
)
async def test_what_is_no_form_or_says_a_thing_twice_is_an_invalid_request(http, data):
    async with http.post("/oauth2/token", data=data, headers=BASIC) as answer:
        assert (answer.status, (await answer.json())["error"]) == (400, "invalid_request")


async def test_resources_may_be_several_and_are_the_audience_of_the_token(http):
    form = aiohttp.FormData([("grant_type", "client_credentials"), ("resource", "urn:a"), ("resource", "urn:b")])
    async with http.post("/oauth2/token", data=form, headers=BASIC) as answer:
        token = (await answer.json())["access_token"]
    assert (await introspect(http, token))["aud"] == ["urn:a", "urn:b"]


async def test_introspection_knows_a_token_until_it_expires(http, ask, clock, sandbox):
    _, body = await ask(grant_type="client_credentials", scope="a")
    known = await introspect(http, body["access_token"])
    assert known == {
        "active": True,
        "client_id": "sandbox",
        "sub": "sandbox",
        "scope": "a",
        "token_type": "Bearer",
        "iat": 1_800_000_000,
        "exp": 1_800_003_600,
        "iss": sandbox.url,
    }
    await clock.advance(3600)
    assert await introspect(http, body["access_token"]) == {"active": False}


async def test_introspection_knows_refresh_tokens_and_wants_a_client(http, ask):
    _, body = await ask(grant_type="password", username="sandbox-user", password="sandbox-password")
    assert (await introspect(http, body["refresh_token"]))["active"] is True
    async with http.post("/oauth2/introspect", data={"token": body["refresh_token"]}) as answer:
        assert answer.status == 401


async def test_a_revoked_token_is_inactive_and_an_unknown_one_is_no_error(http, ask, sandbox):
    _, body = await ask(grant_type="client_credentials")
    for token in (body["access_token"], "unknown"):
        async with http.post("/oauth2/revoke", data={"token": token}, headers=BASIC) as answer:
            assert answer.status == 200
    assert await introspect(http, body["access_token"]) == {"active": False}
    async with http.post("/oauth2/revoke", data={"token": "x"}) as answer:
        assert answer.status == 401
    assert (sandbox.counters.revocations, sandbox.counters.introspections) == (3, 1)


async def test_the_metadata_lead_to_keys_that_verify_a_jwt_access_token(http, ask, sandbox):
    sandbox.script.change(jwt=True)
    _, body = await ask(grant_type="client_credentials")
    for path in ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"):
        async with http.get(path) as answer:
            metadata = await answer.json()
        assert (metadata["issuer"], metadata["token_endpoint"]) == (sandbox.url, sandbox.token_endpoint)
    async with http.get(metadata["jwks_uri"]) as answer:
        keys = KeySet.import_key_set(await answer.json())
    assert jwt.decode(body["access_token"], keys, algorithms=["ES256"]).claims["iss"] == sandbox.url


async def test_a_client_proves_itself_with_a_signed_assertion(http, sandbox, clock):
    sandbox.register(Client(client_id="robot", jwks={"keys": [KEY.as_dict(private=False)]}))
    claims = {"iss": "robot", "sub": "robot", "aud": sandbox.url, "exp": int(clock.wall()) + 60, "jti": "1"}
    assertion = jwt.encode({"alg": "ES256"}, claims, KEY, algorithms=["ES256"])
    form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion, "grant_type": "client_credentials"}
    async with http.post("/oauth2/token", data=form) as answer:
        assert answer.status == 200
    async with http.post("/oauth2/token", data=form) as answer:
        assert (answer.status, (await answer.json())["error"]) == (401, "invalid_client")


async def test_a_jwt_bearer_assertion_may_come_without_client_authentication(http, sandbox, clock):
    sandbox.register(Client(client_id="robot", jwks={"keys": [KEY.as_dict(private=False)]}))
    claims = {"iss": "robot", "sub": "ann", "aud": sandbox.token_endpoint, "exp": int(clock.wall()) + 60}
    assertion = jwt.encode({"alg": "ES256"}, claims, KEY, algorithms=["ES256"])
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    async with http.post("/oauth2/token", data=form) as answer:
        token = (await answer.json())["access_token"]
    assert (await introspect(http, token))["sub"] == "ann"


async def test_a_token_that_was_asked_for_with_a_proof_is_bound_to_its_key(http, sandbox, clock):
    form = {"grant_type": "client_credentials"}
    async with http.post("/oauth2/token", data=form, headers={**BASIC, "DPoP": proof(sandbox, clock)}) as answer:
        body = await answer.json()
        assert (body["token_type"], "DPoP-Nonce" in answer.headers) == ("DPoP", False)
    assert (await introspect(http, body["access_token"]))["cnf"] == {"jkt": KEY.thumbprint()}


async def test_a_wanted_nonce_is_handed_out_with_the_refusal_and_with_every_answer(http, sandbox, clock):
    sandbox.script.change(dpop_nonces="every_request", dpop_nonce_window=1)
    form, nonce, seen = {"grant_type": "client_credentials"}, None, []
    for _ in range(3):
        headers = {**BASIC, "DPoP": proof(sandbox, clock, **({"nonce": nonce} if nonce else {}))}
        async with http.post("/oauth2/token", data=form, headers=headers) as answer:
            seen.append((answer.status, (await answer.json()).get("error")))
            assert answer.headers["DPoP-Nonce"] != nonce
            nonce = answer.headers["DPoP-Nonce"]
    assert seen == [(400, "use_dpop_nonce"), (200, None), (200, None)]
    assert sandbox.counters.nonce_challenges == 1


async def test_a_required_nonce_stays_good_while_it_is_young(http, sandbox, clock):
    sandbox.script.change(dpop_nonces="required")
    nonces = set()
    for _ in range(2):
        headers = {**BASIC, "DPoP": proof(sandbox, clock)}
        form = {"grant_type": "client_credentials"}
        async with http.post("/oauth2/token", data=form, headers=headers) as answer:
            nonces.add(answer.headers["DPoP-Nonce"])
    assert len(nonces) == 1


async def test_a_missing_doubled_or_wrong_proof_is_refused_where_one_is_required(http, sandbox, clock):
    sandbox.script.change(dpop_required=True)
    twice = [("DPoP", proof(sandbox, clock)), ("DPoP", proof(sandbox, clock))]
    for proofs in ([], twice, [("DPoP", proof(sandbox, clock, htm="GET"))]):
        headers = [*BASIC.items(), *proofs]
        form = {"grant_type": "client_credentials"}
        async with http.post("/oauth2/token", data=form, headers=headers) as answer:
            assert (answer.status, (await answer.json())["error"]) == (400, "invalid_dpop_proof")


async def test_token_faults_strike_token_requests_only(http, ask, sandbox):
    sandbox.script.change(token_faults=[{"kind": "status", "status": 503}])
    async with http.get("/open/x") as answer:
        assert answer.status == 200
    async with http.post("/oauth2/token", data={}) as answer:
        assert answer.status == 503
    assert (await ask(grant_type="client_credentials"))[0] == 200
    assert sandbox.counters.token_requests.total == 2
