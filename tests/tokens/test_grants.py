from __future__ import annotations

from proxy.tokens.grants import Wanted, client_credentials, jwt_bearer, password, refresh, token_exchange

PLAIN = Wanted()
ALL = Wanted(scope="a b", audience="aud", resource=("https://one.example", "https://two.example"))


def test_client_credentials_say_what_is_wanted():
    """B6: audience and resource may be repeated."""
    assert client_credentials(PLAIN) == [("grant_type", "client_credentials")]
    assert client_credentials(ALL) == [
        ("grant_type", "client_credentials"),
        ("scope", "a b"),
        ("audience", "aud"),
        ("resource", "https://one.example"),
        ("resource", "https://two.example"),
    ]


def test_an_empty_scope_is_sent_as_it_was_configured():
    assert ("scope", "") in client_credentials(Wanted(scope=""))


def test_the_operators_parameters_win_and_drop_nothing_else():
    wanted = Wanted(scope="a", audience="aud", extra={"scope": "other", "realm": "r"})
    assert client_credentials(wanted) == [
        ("grant_type", "client_credentials"),
        ("audience", "aud"),
        ("scope", "other"),
        ("realm", "r"),
    ]
    assert ("grant_type", "custom") in client_credentials(Wanted(extra={"grant_type": "custom"}))
    assert len(client_credentials(Wanted(extra={"grant_type": "custom"}))) == 1


def test_a_password_grant_sends_name_and_password():
    assert password("u", "p", Wanted(scope="a")) == [
        ("grant_type", "password"),
        ("username", "u"),
        ("password", "p"),
        ("scope", "a"),
    ]


def test_a_jwt_bearer_grant_sends_its_assertion():
    assert jwt_bearer("a.b.c", PLAIN) == [
        ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        ("assertion", "a.b.c"),
    ]


def test_a_refresh_names_the_scope_only_when_asked_to():
    """C1."""
    assert refresh("r", ALL, scope=False)[:3] == [
        ("grant_type", "refresh_token"),
        ("refresh_token", "r"),
        ("audience", "aud"),
    ]
    assert ("scope", "a b") in refresh("r", ALL, scope=True)


def test_a_token_exchange_names_subject_and_type():
    """B6."""
    assert token_exchange(("s", "urn:x"), PLAIN) == [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", "s"),
        ("subject_token_type", "urn:x"),
    ]


def test_an_actor_type_goes_with_an_actor_only():
    """B6: RFC 8693 §2.1."""
    parameters = dict(token_exchange(("s", "urn:x"), PLAIN, actor=("a", ""), requested_type="urn:jwt"))
    assert parameters["actor_token"] == "a"
    assert parameters["actor_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert parameters["requested_token_type"] == "urn:jwt"
    assert dict(token_exchange(("s", "t"), PLAIN, actor=("a", "urn:y")))["actor_token_type"] == "urn:y"


def test_what_is_wanted_cannot_be_printed_with_its_extras():
    assert "s3cret" not in repr(Wanted(extra={"api_key": "s3cret"}))
