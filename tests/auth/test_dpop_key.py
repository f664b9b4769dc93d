"""The keys that DPoP tokens are bound to."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import example, given
from hypothesis import strategies as st
from joserfc.jwk import import_key
from jwt.algorithms import ECAlgorithm
from jwt.utils import base64url_decode
from support.dpop import payload_of
from support.signing import token

from proxy.auth.dpop_key import DpopKey, DpopKeys, base64url, r_and_s, thumbprint
from proxy.errors import ConfigurationError

ALGORITHMS = ["ES256", "ES384", "EdDSA", "PS256"]

RFC_7515_A3_KEY = {
    "kty": "EC",
    "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
}
RFC_7515_A3_JWS = (
    "eyJhbGciOiJFUzI1NiJ9"
    ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
)


def pem_of(private, form=PrivateFormat.PKCS8, encryption=None):
    return private.private_bytes(Encoding.PEM, form, encryption or NoEncryption()).decode()


@pytest.fixture(scope="module", params=ALGORITHMS)
def key(request):
    return DpopKey.generate(request.param)


def test_what_a_key_signs_is_verified_by_joserfc(key):
    claims = b'{"htm":"GET"}'
    assert payload_of(key.sign(claims), key.jwk) == claims


def test_the_head_holds_the_type_the_algorithm_and_the_public_part_alone(key):
    """D1."""
    head = json.loads(base64url_decode(key.sign(b"{}").split(b".")[0]))
    assert head == {"typ": "dpop+jwt", "alg": key.alg, "jwk": key.jwk}
    assert not {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & key.jwk.keys()


def test_a_key_survives_its_pem_form(key):
    again = DpopKey.load(key.pem(), key.alg)
    assert again.thumbprint == key.thumbprint
    assert again.alg == key.alg


def test_the_thumbprint_agrees_with_joserfc(key):
    assert key.thumbprint == import_key(key.jwk).thumbprint()


def test_a_key_cannot_be_printed_only_named(key):
    assert repr(key) == f"DpopKey({key.alg}, {key.thumbprint})"


def test_the_thumbprint_of_rfc_7638():
    """Section 3.1; members that do not count are left out."""
    modulus = (
        "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3okn"
        "jhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6q"
        "MQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJ"
        "zKnqDKgw"
    )
    jwk = {"kty": "RSA", "n": modulus, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    assert thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_thumbprint_of_rfc_9449():
    """Section 6.1."""
    jwk = {
        "kty": "EC",
        "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA",
        "crv": "P-256",
    }
    assert thumbprint(jwk) == "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"


def test_the_key_of_rfc_7515():
    """Appendix A.3: the same key verifies the printed signature, and what we sign with it."""
    private = ECAlgorithm.from_jwk(RFC_7515_A3_KEY)
    key = DpopKey.load(pem_of(private), "ES256")
    assert key.jwk == {name: RFC_7515_A3_KEY[name] for name in ("kty", "crv", "x", "y")}
    assert b'"http://example.com/is_root":true' in payload_of(RFC_7515_A3_JWS.encode(), key.jwk)
    assert payload_of(key.sign(b"{}"), key.jwk) == b"{}"


@given(
    st.sampled_from([32, 48]).flatmap(lambda width: st.tuples(st.just(width), *[st.integers(1, 256**width - 1)] * 2))
)
@example((32, 1, 1))
@example((32, 2**255 - 1, 2**255))
@example((48, 2**383, 2**384 - 1))
def test_both_halves_of_a_signature_are_as_wide_as_the_curve(signature):
    """RFC 7518 §3.4."""
    width, r, s = signature
    assert r_and_s(encode_dss_signature(r, s), width) == r.to_bytes(width, "big") + s.to_bytes(width, "big")


def test_base64url_of_rfc_7515():
    """Appendix C."""
    assert base64url(bytes([3, 236, 255, 224, 193])) == b"A-z_4ME"


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_every_usual_pem_form_is_read(form):
    assert DpopKey.load(pem_of(ec.generate_private_key(ec.SECP256R1()), form)).alg == "ES256"
    assert DpopKey.load(pem_of(rsa.generate_private_key(65537, 2048), form), "PS256").alg == "PS256"


def test_a_key_that_does_not_fit_is_a_configuration_error_that_shows_nothing():
    private = ec.generate_private_key(ec.SECP256R1())
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    for pem, alg, why in [
        ("nonsense", None, "PEM"),
        (public, None, "PEM"),
        (pem_of(private, encryption=BestAvailableEncryption(b"x")), None, "key_password"),
        (pem_of(private), "ES384", "ES256, not for ES384"),
        (pem_of(ec.generate_private_key(ec.SECP521R1())), None, "P-256"),
        (pem_of(rsa.generate_private_key(65537, 1024)), "PS256", "2048"),
        (pem_of(ed448.Ed448PrivateKey.generate()), "EdDSA", "Ed25519"),
    ]:
        with pytest.raises(ConfigurationError, match=why) as caught:
            DpopKey.load(pem, alg)
        assert pem not in str(caught.value)


def test_an_unknown_algorithm_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match=r"dpop\.alg"):
        DpopKey.generate("RS256")


def test_a_token_is_sent_with_the_key_that_it_is_bound_to():
    """D11."""
    old, new = DpopKey.generate(), DpopKey(ed25519.Ed25519PrivateKey.generate())
    keys = DpopKeys(old)
    keys.use(new)
    assert keys.current is new
    assert keys.of(token(key_thumbprint=old.thumbprint)) is old
    assert keys.of(token(key_thumbprint=new.thumbprint)) is new
    assert keys.of(token(key_thumbprint="never had it")) is new
    assert keys.of(token()) is new
    assert keys.has(token(key_thumbprint=old.thumbprint))
    assert keys.has(token())
    assert not keys.has(token(key_thumbprint="never had it"))
