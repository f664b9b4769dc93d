from __future__ import annotations

import base64
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from joserfc import jwk
from joserfc import jwt as joserfc_jwt

from proxy.errors import CredentialRefused
from proxy.model import Moment
from proxy.tokens.client_auth import SigningKey, basic, dates, post, public, ready_made, signed

SECRET = "a client secret of decent length, for HS256 wants 32 octets"
SHARED = SigningKey(SECRET, "HS256")
MOMENTS = iter(range(10_000))


def moment() -> Moment:
    return Moment(1_800_000_000.5, lambda count: next(MOMENTS).to_bytes(count, "big"))


def pem(key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem(key) -> str:
    """What somebody gives who mistook one file for the other."""
    form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key.public_key().public_bytes(*form).decode()


KEYS: dict[str, Any] = {
    "RSA": rsa.generate_private_key(65537, 2048),
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}
SIGNING = [
    *((alg, "RSA") for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
    *(("ES256", "P-256"), ("ES384", "P-384"), ("ES512", "P-521"), ("EdDSA", "Ed25519")),
]


def assertion(proof) -> str:
    return dict(proof.parameters)["client_assertion"]


def test_basic_is_that_of_rfc_6749():
    """B1: RFC 6749 §2.3.1."""
    assert basic("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw").headers == (
        ("Authorization", "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"),
    )


def test_both_parts_of_basic_are_form_encoded_first():
    """B1: the vector of AppAuth-Android, and RFC 6749 appendix B."""
    proof = basic("1PpG/Q 1", "z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw=")
    assert proof.headers[0][1] == (
        "Basic MVBwRyUyRlErMTp6JTJGdFo5VndGWnFBcG1JUSUyQlpIMUk1cExrJTJGdUI0dWQlM0FYMiUyRjhiTCUyQndmRlR0MXJGdyUzRA=="
    )
    encoded = base64.b64decode(basic("id", " %&+£€").headers[0][1].split()[1])
    assert encoded == b"id:+%25%26%2B%C2%A3%E2%82%AC"


def test_raw_basic_is_for_servers_that_do_not_decode():
    """B1."""
    encoded = base64.b64decode(basic("i/d", "s+e/c: €", "raw").headers[0][1].split()[1])
    assert encoded.decode() == "i/d:s+e/c: €"


def test_post_puts_id_and_secret_into_the_body_alone():
    """B2."""
    proof = post("id", "secret")
    assert proof.parameters == (("client_id", "id"), ("client_secret", "secret"))
    assert proof.headers == ()


def test_a_public_client_only_says_who_it_is():
    assert public("id").parameters == (("client_id", "id"),)
    assert public(None).parameters == ()


def test_a_ready_made_assertion_is_passed_on_as_it_is():
    assert ready_made(None, "a.b.c").parameters == (
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", "a.b.c"),
    )
    assert ready_made("id", "a.b.c").parameters[0] == ("client_id", "id")


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864, but RFC 8037 servers know no other name
@pytest.mark.parametrize(("algorithm", "key"), SIGNING)
def test_an_independent_library_verifies_what_a_private_key_signs(algorithm, key):
    """B4."""
    text = assertion(signed("id", SigningKey(pem(KEYS[key]), algorithm, key_id="k1"), "https://as.example", moment()))
    public_pem = (
        KEYS[key].public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    kind: Any = {"RSA": "RSA", "Ed25519": "OKP"}.get(key, "EC")
    token = joserfc_jwt.decode(text, jwk.import_key(public_pem, kind), algorithms=[algorithm])
    assert token.header == {"alg": algorithm, "kid": "k1", "typ": "JWT"}
    assert token.claims["iss"] == token.claims["sub"] == "id"
    assert token.claims["aud"] == "https://as.example"


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_client_secret_signs_too(algorithm):
    text = assertion(signed("id", SigningKey(SECRET * 2, algorithm), "aud", moment()))
    claims = jwt.decode(
        text,
        SECRET * 2,
        [algorithm],
        audience="aud",
        options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
    )
    assert claims["iss"] == "id"


def test_an_assertion_is_dated_back_and_good_for_a_minute():
    """B4. An issuer whose clock is behind must not take it for one from the future."""
    claims = jwt.decode(assertion(signed("id", SHARED, "aud", moment())), options={"verify_signature": False})
    assert (claims["iat"], claims["exp"]) == (1_799_999_990, 1_800_000_050)
    assert "nbf" not in claims


@pytest.mark.parametrize(("lifetime", "back"), [(3600, 10), (60, 10), (20, 10), (10, 5), (2, 1)])
def test_a_short_life_is_not_eaten_by_the_backdating(lifetime, back):
    found = dates(1_800_000_000.0, lifetime)
    assert found == {"iat": 1_800_000_000 - back, "exp": 1_800_000_000 - back + lifetime}


def test_every_assertion_has_a_jti_of_its_own():
    """B4."""
    found = {
        jwt.decode(assertion(signed("id", SHARED, "aud", moment())), options={"verify_signature": False})["jti"]
        for _ in range(20)
    }
    assert len(found) == 20


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        *(("no key", "RS256"), (SECRET, "ES256"), (SECRET, "none-such"), (pem(KEYS["P-256"]), "RS256")),
        *((public_pem(KEYS["RSA"]), "RS256"), (public_pem(KEYS["RSA"]), "PS256"), (public_pem(KEYS["P-256"]), "ES256")),
        *((public_pem(KEYS["Ed25519"]), "EdDSA"), (pem(KEYS["P-384"]), "ES256"), (pem(KEYS["RSA"]), "HS256")),
    ],
)
def test_a_key_that_does_not_go_with_the_algorithm_is_a_refusal_that_does_not_show_it(key, algorithm):
    with pytest.raises(CredentialRefused) as caught:
        signed("id", SigningKey(key, algorithm), "aud", moment())
    assert algorithm in str(caught.value)
    assert key not in str(caught.value)


def test_a_proof_cannot_be_printed():
    assert "secret" not in repr(post("id", "secret"))
