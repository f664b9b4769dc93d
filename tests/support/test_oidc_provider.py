"""The real authorization server must be what the tests of the sidecar take it for."""

from __future__ import annotations

import time
import uuid

import aiohttp
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from proxy.sandbox.proofs import token_hash
from support.oidc_provider.provider import API, OidcProvider
from support.oidc_provider.resource_server import ResourceServer

pytestmark = pytest.mark.peer("oidc_provider")

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
TOKEN_TYPE = "urn:ietf:params:oauth:token-type:access_token"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
KEY = ECKey.generate_key("P-256")


@pytest.fixture
async def provider():
    async with OidcProvider() as running:
        yield running


@pytest.fixture
def ask(provider):
    """A token request of the client `post`, or of another: status, JSON, header fields."""

    async def one(client_id="post", headers=None, **members):
        form = {"client_id": client_id, **members}
        if client_id in provider.secrets and "client_assertion" not in form:
            form["client_secret"] = provider.secrets[client_id]
        async with (
            aiohttp.ClientSession() as http,
            http.post(provider.token_endpoint, data=form, headers=headers) as answer,
        ):
            return answer.status, await answer.json(), answer.headers

    return one


def proof(method, url, alg="ES256", **claims):
    header = {"typ": "dpop+jwt", "alg": alg, "jwk": KEY.as_dict(private=False)}
    body = {"jti": str(uuid.uuid4()), "htm": method, "htu": url, "iat": int(time.time()), **claims}
    return jwt.encode(header, body, KEY, algorithms=[alg])


async def test_a_token_is_active_until_it_is_revoked_or_forgotten(provider, ask):
    tokens = [(await ask(grant_type="client_credentials", resource=API, scope="read"))[1] for _ in range(2)]
    assert tokens[0].items() >= {"token_type": "Bearer", "expires_in": 600, "scope": "read"}.items()
    first, second = (token["access_token"] for token in tokens)
    assert (await provider.introspect(first))["aud"] == API
    await provider.revoke(first, "post")
    assert await provider.introspect(first) == {"active": False}
    assert (await provider.introspect(second))["active"]
    assert await provider.forget_access_tokens() == 1
    assert await provider.introspect(second) == {"active": False}


async def test_a_client_signs_with_its_key_or_its_secret_and_each_assertion_is_good_once(provider, ask):
    keys = {
        "key": (provider.client_key, "ES256"),
        "secret_jwt": (OctKey.import_key(provider.secrets["secret_jwt"]), "HS256"),
    }
    for client_id, (key, alg) in keys.items():
        now = int(time.time())
        claims = {"iss": client_id, "sub": client_id, "aud": provider.issuer, "exp": now + 60, "iat": now, "jti": "1"}
        assertion = jwt.encode({"alg": alg}, claims, key, algorithms=[alg])
        form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
        form["grant_type"] = "client_credentials"
        assert (await ask(client_id, **form))[0] == 200
        assert (await ask(client_id, **form))[1]["error"] == "invalid_client"


async def test_a_second_use_of_a_refresh_token_revokes_the_grant(provider, ask):
    first = await provider.mint_refresh_token("post")
    _, answer, _ = await ask(grant_type="refresh_token", refresh_token=first)
    assert answer["refresh_token"] != first
    assert (await provider.introspect(answer["access_token"]))["sub"] == "ann"
    assert (await ask(grant_type="refresh_token", refresh_token=first))[1]["error"] == "invalid_grant"
    assert (await ask(grant_type="refresh_token", refresh_token=answer["refresh_token"]))[0] == 400
    assert not (await provider.introspect(answer["access_token"]))["active"]
    assert (await provider.stats())["grants_revoked"] == 1


async def test_without_rotation_a_refresh_token_stays_the_same(provider, ask):
    await provider.set(rotate=False)
    token = await provider.mint_refresh_token("post")
    for _ in range(3):
        assert (await ask(grant_type="refresh_token", refresh_token=token))[1]["refresh_token"] == token


async def test_a_refresh_token_of_a_public_client_can_be_minted_for_a_key(provider, ask):
    token = await provider.mint_refresh_token("public", jkt=KEY.thumbprint())
    form = {"grant_type": "refresh_token", "refresh_token": token}
    assert (await ask("public", **form))[1]["error"] == "invalid_grant"
    headers = {"DPoP": proof("POST", provider.token_endpoint)}
    assert (await ask("public", headers, **form))[1]["token_type"] == "DPoP"


async def test_a_token_is_exchanged_for_another_of_the_same_subject(provider, ask):
    _, subject, _ = await ask(grant_type="client_credentials")
    form = {"subject_token": subject["access_token"], "subject_token_type": TOKEN_TYPE, "audience": "other"}
    _, answer, _ = await ask(grant_type=EXCHANGE, **form)
    assert (answer["issued_token_type"], answer["token_type"]) == (TOKEN_TYPE, "Bearer")
    assert (await provider.introspect(answer["access_token"]))["sub"] == "post"
    form["subject_token"] = "unknown"
    assert (await ask(grant_type=EXCHANGE, **form))[1]["error"] == "invalid_request"


async def test_a_required_nonce_is_told_and_then_enough(provider, ask):
    await provider.set(require_nonce=True)
    status, answer, headers = await ask(
        headers={"DPoP": proof("POST", provider.token_endpoint)}, grant_type="client_credentials"
    )
    assert (status, answer["error"]) == (400, "use_dpop_nonce")
    signed = proof("POST", provider.token_endpoint, nonce=headers["DPoP-Nonce"])
    assert (await ask(headers={"DPoP": signed}, grant_type="client_credentials"))[1]["token_type"] == "DPoP"


async def test_an_answer_that_is_lost_was_granted_all_the_same(provider, ask):
    await provider.set(lose_answers=1)
    token = await provider.mint_refresh_token("post")
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await ask(grant_type="refresh_token", refresh_token=token)
    assert (await ask(grant_type="refresh_token", refresh_token=token))[1]["error"] == "invalid_grant"
    stats = await provider.stats()
    assert (stats["token_requests"], stats["by_grant"]) == (2, {"refresh_token": 1})


async def test_the_resource_server_accepts_what_the_provider_knows(provider, ask):
    _, answer, _ = await ask(grant_type="client_credentials")
    async with ResourceServer(provider) as api, aiohttp.ClientSession() as http:
        for token in (answer["access_token"], "unknown"):
            async with http.get(api.url + "/x", headers={"Authorization": f"Bearer {token}"}):
                pass
        assert (api.statuses, api.challenges) == ([200, 401], ["invalid_token"])


async def test_the_resource_server_wants_its_newest_nonce_with_every_proof(provider, ask):
    headers = {"DPoP": proof("POST", provider.token_endpoint)}
    token = (await ask(headers=headers, grant_type="client_credentials"))[1]["access_token"]
    async with ResourceServer(provider, dpop=True) as api, aiohttp.ClientSession() as http:
        nonce = "none yet"
        for _ in range(3):
            signed = proof("GET", api.url + "/x", nonce=nonce, ath=token_hash(token))
            headers = {"Authorization": f"DPoP {token}", "DPoP": signed}
            async with http.get(api.url + "/x?q=1", headers=headers) as answer:
                nonce = answer.headers["DPoP-Nonce"]
        async with http.get(api.url + "/x?q=1", headers=headers):
            pass
        assert (api.statuses, api.challenges) == ([401, 200, 200, 401], ["use_dpop_nonce", "use_dpop_nonce"])
