from __future__ import annotations

import base64

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from support.clock import FakeClock

from proxy.sandbox.assertions import Assertions
from proxy.sandbox.clients import ASSERTION_TYPE, DEFAULT_CLIENTS, Client, Clients, Credentials
from proxy.sandbox.refusal import Refusal

AUDIENCE = "https://as.example"
KEY = ECKey.generate_key("P-256")


@pytest.fixture
def clients():
    return Clients(
        [
            *DEFAULT_CLIENTS,
            Client(client_id="1PpG/Q 1", client_secret="z/tZ9VwFZqApmIQ+ZH1I5pLk/uB4ud:X2/8bL+wfFTt1rFw="),
            Client(client_id="post", client_secret="s", token_endpoint_auth_method="client_secret_post"),
            Client(client_id="key", jwks={"keys": [KEY.as_dict(private=False)]}),
            Client(
                client_id="not key",
                jwks={"keys": [KEY.as_dict(private=False)]},
                token_endpoint_auth_method="client_secret_post",
            ),
        ],
        Assertions(FakeClock()),
    )


def authenticate(clients, authorization=None, **form):
    return clients.authenticate(Credentials(authorization, form), [AUDIENCE]).client_id


def basic(text):
    return "Basic " + base64.b64encode(text.encode()).decode()


def assertion(**claims):
    body = {"iss": "key", "sub": "key", "aud": AUDIENCE, "exp": 1_800_000_060, "jti": "1", **claims}
    return jwt.encode({"alg": "ES256"}, {k: v for k, v in body.items() if v is not None}, KEY, algorithms=["ES256"])


def test_basic_credentials_are_form_decoded(clients):
    """The header is the published one of AppAuth-Android's issue 337."""
    header = (
        "Basic MVBwRyUyRlErMTp6JTJGdFo5VndGWnFBcG1JUSUyQlpIMUk1cExrJTJGdUI0dWQlM0FYMiUyRjhiTCUyQndmRlR0MXJGdyUzRA=="
    )
    assert authenticate(clients, header) == "1PpG/Q 1"


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Basic \u00fc", "Bearer x", basic("no-colon"), basic("sandbox:wrong")]
)
def test_basic_credentials_that_are_malformed_or_wrong_are_refused_with_a_challenge(clients, header):
    with pytest.raises(Refusal) as refusal:
        authenticate(clients, header)
    assert (refusal.value.error, refusal.value.status) == ("invalid_client", 401)
    assert refusal.value.headers == (("WWW-Authenticate", 'Basic realm="sandbox"'),)


def test_a_secret_in_the_form_proves_the_client(clients):
    assert authenticate(clients, client_id="sandbox", client_secret="sandbox-secret") == "sandbox"


def test_a_client_that_is_bound_to_one_method_cannot_use_another(clients):
    assert authenticate(clients, client_id="post", client_secret="s") == "post"
    with pytest.raises(Refusal, match="unknown client"):
        authenticate(clients, basic("post:s"))


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"client_id": "sandbox"},
        {"client_id": "nobody"},
        {"client_id": "nobody", "client_secret": ""},
        {"client_id": "key", "client_secret": ""},
    ],
)
def test_a_confidential_or_unknown_client_that_proves_nothing_is_refused(clients, form):
    with pytest.raises(Refusal) as refusal:
        authenticate(clients, **form)
    assert refusal.value.error == "invalid_client"


def test_a_public_client_only_names_itself(clients):
    assert authenticate(clients, client_id="sandbox-public") == "sandbox-public"


def test_two_methods_at_once_are_refused(clients):
    with pytest.raises(Refusal, match="Authorization, client_secret") as refusal:
        authenticate(clients, basic("sandbox:sandbox-secret"), client_id="sandbox", client_secret="sandbox-secret")
    assert refusal.value.error == "invalid_request"


def test_a_signed_assertion_proves_the_client_once(clients):
    form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion()}
    assert authenticate(clients, **form) == "key"
    with pytest.raises(Refusal, match="before"):
        authenticate(clients, **form)


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"client_assertion_type": "other", "client_assertion": "x"}, "client_assertion_type"),
        ({"client_assertion": assertion(sub="sandbox")}, "are the client"),
        ({"client_assertion": assertion(), "client_id": "sandbox"}, "are the client"),
        ({"client_assertion": assertion(jti=None)}, "jti"),
        ({"client_assertion": assertion(iss="not key", sub="not key")}, "otherwise"),
        ({"client_assertion": assertion(aud="other")}, "audience"),
    ],
)
def test_an_assertion_that_is_not_about_its_client_is_refused(clients, form, reason):
    with pytest.raises(Refusal, match=reason) as refusal:
        authenticate(clients, **{"client_assertion_type": ASSERTION_TYPE, **form})
    assert refusal.value.error == "invalid_client"


def test_a_registered_client_replaces_the_one_of_the_same_name(clients):
    clients.register(Client(client_id="sandbox", client_secret="new"))
    assert authenticate(clients, basic("sandbox:new")) == "sandbox"
    with pytest.raises(Refusal):
        authenticate(clients, basic("sandbox:sandbox-secret"))
    assert clients.names().count("sandbox") == 1


def test_no_secret_is_shown_by_a_repr():
    assert "sandbox-secret" not in repr(DEFAULT_CLIENTS)
    assert "hush" not in repr(Credentials("Basic hush", {"client_secret": "hush"}))
