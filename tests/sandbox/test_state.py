from __future__ import annotations

from joserfc import jwt
from joserfc.jwk import ECKey
from support.clock import FakeClock

from proxy.sandbox.clients import DEFAULT_CLIENTS
from proxy.sandbox.ledger import Family
from proxy.sandbox.state import make_state


def state():
    made = make_state(FakeClock(), DEFAULT_CLIENTS, {})
    made.issuer = "https://as.example"
    return made


def test_an_access_token_lives_as_long_as_the_settings_say_or_less():
    made = state()
    made.script.change(expires_in=60)
    family = Family("app", "app")
    assert made.issue(family).expires_wall == 1_800_000_060
    assert made.issue(family, at_most=10).expires_wall == 1_800_000_010


def test_a_jwt_access_token_says_what_rfc_9068_wants_and_an_independent_library_verifies_it():
    made = state()
    made.script.change(jwt=True, expires_in=60)
    token = made.issue(Family("app", "user", "a b", ("https://api.example",)), jkt="thumb")
    key = ECKey.import_key(made.signing_key)
    decoded = jwt.decode(token.value, key, algorithms=["ES256"])
    assert decoded.header["typ"] == "at+jwt"
    assert decoded.claims.pop("jti")
    assert decoded.claims == {
        "iss": "https://as.example",
        "sub": "user",
        "client_id": "app",
        "aud": ["https://api.example"],
        "iat": 1_800_000_000,
        "exp": 1_800_000_060,
        "scope": "a b",
        "cnf": {"jkt": "thumb"},
    }
    assert made.ledger.access(token.value) is token


def test_two_tokens_are_never_the_same_even_in_one_second():
    made = state()
    made.script.change(jwt=True)
    family = Family("app", "app")
    assert made.issue(family).value != made.issue(family).value
