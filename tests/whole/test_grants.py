"""Every grant and every proof of a client against a real authorization server."""

from __future__ import annotations

import pytest
from support.oidc_provider.resource_server import ResourceServer
from support.process import Program
from support.settings import client_credentials, one_route

pytestmark = pytest.mark.peer("oidc_provider")

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@pytest.fixture
async def api(provider):
    async with ResourceServer(provider) as running:
        yield running


def credential(provider, client_id, **more):
    made = client_credentials(provider.token_endpoint, client_id, provider.secrets.get(client_id, ""), **more)
    if client_id not in provider.secrets:
        del made["client_secret"]
    return made


@pytest.fixture
def key_file(provider, tmp_path):
    (tmp_path / "client.pem").write_bytes(provider.client_key.as_pem(private=True))
    return {"file": "client.pem"}


@pytest.mark.parametrize("endpoint", ["token_endpoint", "issuer"])
async def test_a_client_proves_itself_with_its_key_and_the_issuers_metadata_are_enough(
    provider, api, tmp_path, fetch, key_file, endpoint
):
    """B4: three tokens: oidc-provider refuses an assertion that it has seen before."""
    made = credential(
        provider,
        "key",
        token_endpoint_auth_method="private_key_jwt",
        token_endpoint_auth_signing_alg="ES256",
        client_assertion_key=key_file,
        **({"client_assertion_audience": provider.issuer} if endpoint == "token_endpoint" else {}),
    )
    if endpoint == "issuer":
        del made["token_endpoint"]
        made["issuer"] = provider.issuer
    async with Program(one_route(api.url, made), tmp_path) as program:
        for _ in range(3):
            assert (await fetch(program.url + "/api/x"))[0] == 200
            await provider.forget_access_tokens()
    assert len(set(api.tokens)) == 3
    assert (await provider.stats())["statuses"] == {"200": 3}


async def test_a_client_proves_itself_with_a_signature_made_with_its_secret(provider, api, tmp_path, fetch):
    made = credential(
        provider,
        "secret_jwt",
        token_endpoint_auth_method="client_secret_jwt",
        client_assertion_audience=provider.issuer,
    )
    async with Program(one_route(api.url, made), tmp_path) as program:
        assert (await fetch(program.url + "/api/x"))[0] == 200


async def test_a_key_and_a_wanted_nonce_go_together_since_the_assertion_is_made_anew(
    provider, tmp_path, fetch, key_file
):
    """B4."""
    await provider.set(require_nonce=True)
    made = credential(
        provider,
        "key",
        token_endpoint_auth_method="private_key_jwt",
        token_endpoint_auth_signing_alg="ES256",
        client_assertion_key=key_file,
        client_assertion_audience=provider.issuer,
        dpop=True,
    )
    async with ResourceServer(provider, dpop=True) as api, Program(one_route(api.url, made), tmp_path) as program:
        assert (await fetch(program.url + "/api/x"))[0] == 200
    assert (await provider.stats())["statuses"] == {"400": 1, "200": 1}


async def test_a_refresh_token_is_rotated_with_each_renewal_and_the_grant_lives_on(provider, api, tmp_path, fetch):
    seed = await provider.mint_refresh_token("basic")
    made = credential(provider, "basic", grant_type="refresh_token", refresh_token={"value": seed})
    async with Program(one_route(api.url, made), tmp_path) as program:
        for _ in range(10):
            assert (await fetch(program.url + "/api/x"))[0] == 200
            await provider.forget_access_tokens()
    assert len(set(api.tokens)) == 10
    assert (await provider.stats())["by_grant"] == {"refresh_token": 10}
    assert {(await provider.introspect(token))["active"] for token in api.tokens} == {False}


@pytest.mark.parametrize("dpop", [False, True])
async def test_a_rotated_refresh_token_outlives_the_process(provider, tmp_path, fetch, dpop):
    """C2 and D11: a public client's grant is bound to the key, which must outlive the process as well."""
    client_id = "public" if dpop else "basic"
    seed = await provider.mint_refresh_token(client_id)
    made = credential(provider, client_id, grant_type="refresh_token", refresh_token={"value": seed}, dpop=dpop)
    if dpop:
        made["token_endpoint_auth_method"] = "none"
    async with ResourceServer(provider, dpop=dpop) as api:
        config = {**one_route(api.url, made), "store": {"type": "file", "path": "state/tokens"}}
        for _ in range(3):
            async with Program(config, tmp_path) as program:
                assert (await fetch(program.url + "/api/x"))[0] == 200
                await provider.forget_access_tokens()
                assert (await fetch(program.url + "/api/x"))[0] == 200
                await provider.forget_access_tokens()
    assert set((await provider.stats())["statuses"]) == {"200"}
    assert len(set(api.tokens)) == 6


async def test_a_grant_that_was_used_elsewhere_is_reported_as_refused(provider, api, tmp_path, fetch):
    seed = await provider.mint_refresh_token("basic")
    made = credential(provider, "basic", grant_type="refresh_token", refresh_token={"value": seed})
    config = one_route(api.url, made)
    async with Program(config, tmp_path) as first:
        assert (await fetch(first.url + "/api/x"))[0] == 200
    async with Program(config, tmp_path) as second:
        status, headers, _ = await fetch(second.url + "/api/x")
        assert status == 502
        assert 'details="credential_refused"' in headers["Proxy-Status"]
        assert seed not in second.log


async def test_the_callers_own_token_is_exchanged_once_per_caller(provider, api, tmp_path, fetch, http):
    made = credential(
        provider,
        "basic",
        grant_type=EXCHANGE,
        subject_token={"request_header": "Authorization"},
        audience="other",
    )
    subjects = []
    for client_id in ("post", "post"):
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "client_secret": provider.secrets[client_id],
        }
        async with http.post(provider.token_endpoint, data=form) as answer:
            subjects.append((await answer.json())["access_token"])
    async with Program(one_route(api.url, made), tmp_path) as program:
        for subject in subjects * 3:
            headers = {"Authorization": f"Bearer {subject}"}
            assert (await fetch(program.url + "/api/x", headers=headers))[0] == 200
        status, headers, _ = await fetch(program.url + "/api/x")
        assert status == 401
        assert "WWW-Authenticate" in headers
    assert (await provider.stats())["by_grant"] == {"client_credentials": 2, EXCHANGE: 2}
    assert not set(subjects) & set(api.tokens)
