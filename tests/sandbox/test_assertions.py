"""Assertions are made by an independent library (joserfc)."""

from __future__ import annotations

import base64
import hmac

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from support.clock import FakeClock

from proxy.sandbox.assertions import AssertionRefused, Assertions

SECRET = "a secret of more than thirty-two octets"
AUDIENCE = "https://as.example"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def assertions(clock):
    return Assertions(clock)


def make(key, clock, *, alg, header=None, **claims):
    now = int(clock.wall())
    body = {"iss": "app", "sub": "app", "aud": AUDIENCE, "iat": now, "exp": now + 60, "jti": clock.octets(9).hex()}
    body = {name: value for name, value in {**body, **claims}.items() if value is not None}
    return jwt.encode({"alg": alg, **(header or {})}, body, key, algorithms=[alg])


def check(assertions, assertion, jwks=None):
    return assertions.check(
        assertion,
        secret=lambda name: SECRET if name == "app" else None,
        jwks=lambda name: jwks if name == "app" else None,
        audiences=(AUDIENCE, AUDIENCE + "/token"),
    )


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # RFC 9864 has a new name, clients still send the old one
@pytest.mark.parametrize(
    ("alg", "make_key"),
    [
        ("RS256", lambda: RSAKey.generate_key(2048)),
        ("PS256", lambda: RSAKey.generate_key(2048)),
        ("ES256", lambda: ECKey.generate_key("P-256")),
        ("EdDSA", lambda: OKPKey.generate_key("Ed25519")),
    ],
)
def test_an_assertion_verifies_with_the_public_key_of_its_issuer(assertions, clock, alg, make_key):
    key = make_key()
    jwks = {"keys": [key.as_dict(private=False)]}
    assert check(assertions, make(key, clock, alg=alg), jwks)["sub"] == "app"


def test_an_assertion_verifies_with_the_shared_secret_of_its_issuer(assertions, clock):
    assert check(assertions, make(OctKey.import_key(SECRET), clock, alg="HS256"))["iss"] == "app"


def test_the_named_key_is_used_and_an_unnamed_one_is_found(assertions, clock):
    old, new = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
    jwks = {"keys": [{**old.as_dict(private=False), "kid": "old"}, {**new.as_dict(private=False), "kid": "new"}]}
    check(assertions, make(new, clock, alg="ES256", header={"kid": "new"}), jwks)
    check(assertions, make(new, clock, alg="ES256"), jwks)
    with pytest.raises(AssertionRefused, match="signature"):
        check(assertions, make(new, clock, alg="ES256", header={"kid": "old"}), jwks)


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"aud": "https://other.example"}, "audience"),
        ({"exp": 1_799_999_900}, "expired"),
        ({"exp": 1_800_009_999}, "too long"),
        ({"exp": "soon"}, "expired"),
        ({"nbf": 1_800_000_100}, "not valid yet"),
        ({"exp": None}, "MissingRequiredClaim"),
        ({"iss": "stranger"}, "no key"),
    ],
)
def test_an_assertion_that_is_not_for_here_and_now_is_refused(assertions, clock, claims, reason):
    with pytest.raises(AssertionRefused, match=reason):
        check(assertions, make(OctKey.import_key(SECRET), clock, alg="HS256", **claims))


def test_one_of_several_audiences_is_enough(assertions, clock):
    check(assertions, make(OctKey.import_key(SECRET), clock, alg="HS256", aud=["x", AUDIENCE + "/token"]))


def test_an_assertion_with_a_jti_is_good_once(assertions, clock):
    assertion = make(OctKey.import_key(SECRET), clock, alg="HS256")
    check(assertions, assertion)
    with pytest.raises(AssertionRefused, match="before"):
        check(assertions, assertion)


def test_a_signature_made_with_the_public_key_as_a_secret_is_refused(assertions, clock):
    key = RSAKey.generate_key(2048)
    signing_input = make(OctKey.import_key(SECRET), clock, alg="HS256").rpartition(".")[0]
    digest = hmac.digest(key.as_pem(private=False), signing_input.encode(), "sha256")
    forged = f"{signing_input}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
    with pytest.raises(AssertionRefused):
        check(assertions, forged, {"keys": [key.as_dict(private=False)]})


@pytest.mark.parametrize("assertion", ["", "a.b.c", "eyJhbGciOiJub25lIn0.eyJpc3MiOiJhcHAifQ."])
def test_what_is_unsigned_or_no_assertion_is_refused(assertions, assertion):
    with pytest.raises(AssertionRefused):
        check(assertions, assertion)
