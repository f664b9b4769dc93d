from __future__ import annotations

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from support.clock import FakeClock

from proxy.sandbox.clients import DEFAULT_CLIENTS, Client
from proxy.sandbox.grant_types import GRANTS, JWT_BEARER, TOKEN_EXCHANGE, Ask
from proxy.sandbox.refusal import Refusal
from proxy.sandbox.state import make_state

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
CONFIDENTIAL, PUBLIC = DEFAULT_CLIENTS


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def state(clock):
    made = make_state(clock, DEFAULT_CLIENTS, {"ann": "her password"})
    made.issuer = "https://as.example"
    return made


def grant(state, grant_type, *, client=CONFIDENTIAL, audience=(), jkt=None, **form):
    return GRANTS[grant_type](state, Ask(client, form, audience, jkt))


def test_client_credentials_give_a_bearer_token_and_no_refresh_token(state):
    answer = grant(state, "client_credentials", scope="a b", audience=("https://api.example",))
    token = state.ledger.access(answer.pop("access_token"))
    assert answer == {"token_type": "Bearer", "expires_in": 3600, "scope": "a b"}
    assert (token.family.subject, token.family.audience) == ("sandbox", ("https://api.example",))


def test_a_public_client_has_no_credentials_grant(state):
    with pytest.raises(Refusal, match="public") as refusal:
        grant(state, "client_credentials", client=PUBLIC)
    assert refusal.value.error == "unauthorized_client"


@pytest.mark.parametrize(("spelling", "stated"), [("number", 60), ("string", "60"), ("omitted", None)])
def test_the_lifetime_is_spelled_as_the_settings_say_and_holds_all_the_same(state, spelling, stated):
    state.script.change(expires_in=60, expires_in_as=spelling)
    answer = grant(state, "client_credentials")
    assert answer.get("expires_in") == stated
    assert state.ledger.access(answer["access_token"]).expires_wall == 1_800_000_060


def test_the_right_password_gives_a_refresh_token_too(state):
    answer = grant(state, "password", username="ann", password="her password")
    assert state.ledger.refresh(answer["refresh_token"]).family.subject == "ann"


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"username": "ann", "password": "wrong"}, "invalid_grant"),
        ({"username": "bob", "password": "her password"}, "invalid_grant"),
        ({"username": "ann"}, "invalid_request"),
        ({"username": "ann", "password": ""}, "invalid_request"),
    ],
)
def test_a_wrong_or_missing_password_is_refused(state, form, error):
    with pytest.raises(Refusal) as refusal:
        grant(state, "password", **form)
    assert refusal.value.error == error


def test_a_refresh_gives_a_new_refresh_token_and_the_second_use_of_the_old_one_is_counted(state):
    first = grant(state, "password", username="ann", password="her password")["refresh_token"]
    second = grant(state, "refresh_token", refresh_token=first)["refresh_token"]
    assert second != first
    with pytest.raises(Refusal) as refusal:
        grant(state, "refresh_token", refresh_token=first)
    assert (refusal.value.error, state.counters.refresh_token_reuses) == ("invalid_grant", 1)
    with pytest.raises(Refusal):
        grant(state, "refresh_token", refresh_token=second)


def test_without_rotation_the_answer_has_no_refresh_token_and_the_old_one_stays_good(state):
    state.script.change(rotation=False)
    first = grant(state, "password", username="ann", password="her password")["refresh_token"]
    for _ in range(3):
        assert "refresh_token" not in grant(state, "refresh_token", refresh_token=first)


def test_the_refresh_token_of_a_public_client_is_bound_to_its_key(state):
    form = {"username": "ann", "password": "her password"}
    answer = grant(state, "password", client=PUBLIC, jkt="mine", **form)
    assert answer["token_type"] == "DPoP"
    with pytest.raises(Refusal, match="another key"):
        grant(state, "refresh_token", client=PUBLIC, jkt="other", refresh_token=answer["refresh_token"])
    grant(state, "refresh_token", client=PUBLIC, jkt="mine", refresh_token=answer["refresh_token"])


def test_the_refresh_token_of_a_confidential_client_works_with_a_new_key(state):
    answer = grant(state, "password", jkt="old", username="ann", password="her password")
    token = grant(state, "refresh_token", jkt="new", refresh_token=answer["refresh_token"])["access_token"]
    assert state.ledger.access(token).jkt == "new"


def test_an_assertion_signed_by_a_registered_client_gives_a_token_about_its_subject(state, clock):
    key = ECKey.generate_key("P-256")
    state.clients.register(Client(client_id="robot", jwks={"keys": [key.as_dict(private=False)]}))
    claims = {"iss": "robot", "sub": "ann", "aud": "https://as.example/oauth2/token", "exp": int(clock.wall()) + 60}
    assertion = jwt.encode({"alg": "ES256"}, claims, key, algorithms=["ES256"])
    answer = grant(state, JWT_BEARER, client=Client(client_id=""), assertion=assertion)
    assert state.ledger.access(answer["access_token"]).family.subject == "ann"
    with pytest.raises(Refusal) as refusal:
        grant(state, JWT_BEARER, assertion=assertion[:-4] + "AAAA")
    assert refusal.value.error == "invalid_grant"


async def test_an_exchanged_token_has_the_subject_of_the_old_one_and_does_not_outlive_it(state, clock):
    state.script.change(expires_in=100)
    subject = grant(state, "password", username="ann", password="her password")["access_token"]
    await clock.advance(40)
    answer = grant(state, TOKEN_EXCHANGE, subject_token=subject, subject_token_type=ACCESS_TOKEN)
    assert state.ledger.access(answer["access_token"]).family.subject == "ann"
    assert (answer["expires_in"], answer["issued_token_type"], answer["token_type"]) == (60, ACCESS_TOKEN, "Bearer")


def test_an_exchanged_token_that_is_no_access_token_is_of_type_n_a(state):
    subject = grant(state, "client_credentials")["access_token"]
    form = {"subject_token": subject, "subject_token_type": ACCESS_TOKEN, "requested_token_type": JWT}
    assert grant(state, TOKEN_EXCHANGE, **form)["token_type"] == "N_A"


@pytest.mark.parametrize(
    "change",
    [
        {"subject_token": "unknown"},
        {"subject_token": ""},
        {"subject_token_type": "unknown"},
        {"requested_token_type": "unknown"},
        {"actor_token": "x"},
        {"actor_token_type": ACCESS_TOKEN},
        {"actor_token": "unknown", "actor_token_type": ACCESS_TOKEN},
    ],
)
def test_an_exchange_that_makes_no_sense_is_an_invalid_request(state, change):
    subject = grant(state, "client_credentials")["access_token"]
    with pytest.raises(Refusal) as refusal:
        grant(state, TOKEN_EXCHANGE, **{"subject_token": subject, "subject_token_type": ACCESS_TOKEN, **change})
    assert refusal.value.error == "invalid_request"


def test_an_ask_shows_no_secret():
    assert "hush" not in repr(Ask(CONFIDENTIAL, {"password": "hush"}, (), None))
