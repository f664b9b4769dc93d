"""One request to a token endpoint, from a configuration with everything in it."""

from __future__ import annotations

import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.clock import FakeClock

from proxy.config.schema import Assertion, OAuth2, Secret, TokenRequest
from proxy.errors import CredentialRefused
from proxy.model import Moment
from proxy.tokens.issuer_errors import NoGrant
from proxy.tokens.parts import Parts
from proxy.tokens.sources.issuer_request import IssuerSecrets, filled, grant, proof

JWT_BEARER: Any = "urn:ietf:params:oauth:grant-type:jwt-bearer"
RSA_KEY = rsa.generate_private_key(65537, 2048)
PEM = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
URL = "https://login.example/token"
NOW = Moment(1_800_000_000.0, lambda n: b"x" * n)


def reading(value: str):
    async def read() -> str:
        return value

    return read


async def test_every_string_that_goes_out_may_hold_placeholders():
    account = Secret(env="ACCOUNT")
    config = OAuth2(
        token_endpoint="https://login.example/{pw}/token?k={pw}",
        refresh_endpoint="https://login.example/{per}",
        client_id="me-{per}",
        resource=("https://api.example/{per}",),
        token_parameters={"secret": "x{pw}x"},
        token_request=TokenRequest(headers={"X-Id": "{uuid}", "X-Key": account}),
        assertion=Assertion(key=Secret(env="K"), claims={"iss": account, "sub": ["{per}"]}, headers={"typ": "{per}"}),
        client_assertion_audience="https://login.example/{per}",
        client_assertion_claims={"x": "{per}"},
    )
    parts = Parts(FakeClock(), {"pw": reading("a&b/c")}, {account: reading("acc")}, per="t1")
    found = await filled(config, parts)
    assert found.token_endpoint == "https://login.example/a%26b%2Fc/token?k=a%26b%2Fc"
    assert (found.refresh_endpoint, found.client_id) == ("https://login.example/t1", "me-t1")
    assert (found.resource, found.token_parameters) == (("https://api.example/t1",), {"secret": "xa&b/cx"})
    assert found.token_request.headers["X-Key"] == "acc"
    assert len(str(found.token_request.headers["X-Id"])) == 36
    assert found.assertion is not None
    assert (found.assertion.claims, found.assertion.headers) == ({"iss": "acc", "sub": ["t1"]}, {"typ": "t1"})
    assert found.client_assertion_audience == "https://login.example/t1"
    assert found.client_assertion_claims == {"x": "t1"}


async def test_a_configuration_without_placeholders_is_taken_as_it_is():
    config = OAuth2()
    assert await filled(config, Parts(FakeClock())) is config


async def test_a_value_that_would_lead_elsewhere_is_refused_without_showing_it():
    config = OAuth2(token_endpoint="https://login.example/{pw}/token")
    with pytest.raises(CredentialRefused, match="lead the token request elsewhere"):
        await filled(config, Parts(FakeClock(), {"pw": reading("..")}))


async def test_a_google_service_account_signs_with_what_its_file_holds():
    account = {"client_email": "sa@p.example", "private_key": PEM, "private_key_id": "k7", "token_uri": "https://x"}
    config = OAuth2(
        grant_type=JWT_BEARER,
        assertion=Assertion(google_service_account=Secret(file="sa.json"), claims={"scope": "s"}),
    )
    secrets = IssuerSecrets(service_account=reading(json.dumps(account)))
    parameters, subject = await grant(config, secrets, None, URL, NOW)
    assertion = dict(parameters)["assertion"]
    assert jwt.get_unverified_header(assertion) == {"alg": "RS256", "kid": "k7", "typ": "JWT"}
    options: Any = {"verify_exp": False, "verify_iat": False}
    claims = jwt.decode(assertion, RSA_KEY.public_key(), ["RS256"], audience=URL, options=options)
    assert (claims["iss"], claims["scope"], claims["exp"] - claims["iat"]) == ("sa@p.example", "s", 3600)
    assert subject is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"client_email": 1, "private_key": "k"}', "hush"])
async def test_what_is_no_service_account_is_refused_without_showing_it(text):
    config = OAuth2(grant_type=JWT_BEARER, assertion=Assertion(google_service_account=Secret(file="sa.json")))
    with pytest.raises(CredentialRefused) as caught:
        await grant(config, IssuerSecrets(service_account=reading(text)), None, URL, NOW)
    assert "hush" not in str(caught.value)


async def test_claims_of_the_operator_win_and_none_takes_one_away():
    config = OAuth2(
        client_id="me",
        token_endpoint_auth_method="private_key_jwt",
        client_assertion_claims={"aud": "other", "nbf": 7, "jti": None},
        client_assertion_headers={"typ": "client-authentication+jwt"},
    )
    found = await proof(config, IssuerSecrets(client_assertion_key=reading(PEM)), URL, NOW)
    assertion = dict(found.parameters)["client_assertion"]
    assert jwt.get_unverified_header(assertion) == {"alg": "RS256", "typ": "client-authentication+jwt"}
    claims = jwt.decode(assertion, options={"verify_signature": False})
    assert (claims["aud"], claims["nbf"], "jti" in claims) == ("other", 7, False)


async def test_nothing_to_send_is_told_as_that():
    with pytest.raises(NoGrant):
        await grant(OAuth2(grant_type="refresh_token"), IssuerSecrets(), None, URL, NOW)
