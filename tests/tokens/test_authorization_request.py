"""Authorization requests, and the answers that a browser brings."""

from __future__ import annotations

import base64
import hashlib
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from proxy.config.schema import OAuth2
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.tokens.authorization_request import answered, authorization_request

ENDPOINT = "https://login.example/authorize?tenant=t"
REDIRECT = "http://127.0.0.1:8765/callback"


def octets():
    """Other ones each time."""
    count = iter(range(256))
    return lambda size: bytes([next(count)]) * size


def request(issuer=None, *, names_issuer=False, **config):
    given = {"client_id": "c d", "scope": "read write", **config}
    return authorization_request(
        OAuth2(**given), ENDPOINT, REDIRECT, octets(), issuer=issuer, names_issuer=names_issuer
    )


def pairs(one):
    return parse_qsl(urlsplit(one.url).query)


def test_a_request_asks_for_a_code_with_a_state_and_a_challenge_of_its_own():
    one = request()
    said = dict(pairs(one))
    assert one.url.startswith("https://login.example/authorize?tenant=t&")
    challenge = base64.urlsafe_b64encode(hashlib.sha256(one.verifier.encode()).digest()).rstrip(b"=").decode()
    assert said == {
        "tenant": "t", "client_id": "c d", "scope": "read write", "response_type": "code", "redirect_uri": REDIRECT,
        "state": one.state, "code_challenge": challenge, "code_challenge_method": "S256",
    }  # fmt: skip
    assert one.state != one.verifier
    assert 43 <= len(one.verifier) <= 128


def test_the_operators_parameters_go_along_and_guard_nothing_away():
    one = request(
        authorization_parameters={"access_type": "offline", "scope": "mine", "state": "fixed"},
        audience="api",
        resource=("https://a.example", "https://b.example"),
    )
    said = pairs(one)
    assert ("access_type", "offline") in said
    assert [value for name, value in said if name == "scope"] == ["mine"]
    assert [value for name, value in said if name == "state"] == [one.state]
    assert [value for name, value in said if name == "resource"] == ["https://a.example", "https://b.example"]
    assert ("audience", "api") in said


def test_scopes_are_joined_as_the_provider_wants_them():
    assert dict(pairs(request(scope_separator=",")))["scope"] == "read,write"


def test_without_pkce_nothing_is_challenged_and_no_verifier_is_sent():
    one = request(pkce=None)
    assert "code_challenge" not in dict(pairs(one))
    assert answered(one, f"?state={one.state}&code=c") == [
        ("grant_type", "authorization_code"), ("code", "c"), ("redirect_uri", REDIRECT),
    ]  # fmt: skip


@pytest.mark.parametrize("shape", ["{r}?{q}", "?{q}", "{q}", "  {r}?{q}\n", "/callback?{q}"])
def test_the_code_is_taken_from_whatever_holds_the_query(shape):
    one = request()
    query = urlencode({"state": one.state, "code": "c+/="})
    assert answered(one, shape.format(r=REDIRECT, q=query)) == [
        ("grant_type", "authorization_code"), ("code", "c+/="), ("redirect_uri", REDIRECT),
        ("code_verifier", one.verifier),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["", "?code=c", "?code=c&state=", "?code=c&state=other", "nonsense", "?state=%ff&code=c"]
)
def test_an_answer_to_another_request_is_none(text):
    assert answered(request(), text) is None


def test_of_a_parameter_that_comes_twice_the_first_counts():
    one = request()
    assert answered(one, f"?state={one.state}&code=a&code=b&state=x")[1] == ("code", "a")
    assert answered(one, f"?state=x&state={one.state}&code=a") is None


@pytest.mark.parametrize(
    ("issuer", "names_issuer", "said", "good"),
    [
        ("https://i.example", True, "https://i.example", True),
        ("https://i.example", True, "https://evil.example", False),
        ("https://i.example", True, None, False),
        ("https://i.example", False, None, True),
        ("https://i.example", False, "https://evil.example", False),
        (None, False, "https://whoever.example", True),
    ],
)
def test_an_answer_of_another_issuer_is_refused(issuer, names_issuer, said, good):
    one = request(issuer, names_issuer=names_issuer)
    text = "?" + urlencode({"state": one.state, "code": "c", **({} if said is None else {"iss": said})})
    if good:
        assert answered(one, text)
    else:
        with pytest.raises(CredentialRefused, match="RFC 9207"):
            answered(one, text)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("access_denied", CredentialRefused, "said no"),
        ("invalid_scope", CredentialRefused, "answered with invalid_scope"),
        ("temporarily_unavailable", CredentialUnavailable, "temporarily_unavailable"),
        ("s3cret", CredentialRefused, "not registered"),
    ],
)
def test_an_error_is_named_if_it_is_registered_and_never_quoted(error, kind, message):
    one = request()
    with pytest.raises(kind, match=message) as caught:
        answered(one, f"?state={one.state}&error={error}&error_description=s3cret")
    assert "s3cret" not in caught.value.detail


def test_an_answer_without_a_code_is_refused():
    one = request()
    with pytest.raises(CredentialRefused, match="neither a code nor an error"):
        answered(one, f"?state={one.state}")


def test_a_request_cannot_be_printed():
    assert repr(request()) == "AuthorizationRequest()"
