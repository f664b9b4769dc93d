"""What makes a stored refresh token another one's, and what only its access token."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.assembly.binding import binding_of, tag_of
from proxy.config import schema
from proxy.config.schema import Duration, Secret

ISSUED: dict[str, Any] = {
    "token_endpoint": "https://login.example/token",
    "client_id": "c",
    "client_secret": Secret(env="A"),
}
ASKED: dict[str, Any] = {
    "obtain": schema.HttpCall(url="https://api.example/token", form={"scope": "a"}),
    "refresh": schema.HttpRefresh(url="https://api.example/refresh"),
}


def assertion(**claims: str) -> schema.Assertion:
    return schema.Assertion(key=Secret(env="K"), claims=claims)


SPOKEN_FOR = {**ISSUED, "assertion": assertion(sub="u", scope="a")}
SIGNED = {"key": Secret(env="K"), "claims": {"aud": "a"}}
RUN = {"command": ("issue", "a"), "env": {"TENANT": "a"}}


def same(kind: Any, before: dict[str, Any], change: dict[str, Any]) -> tuple[bool, bool]:
    """Whether audience and request stay."""
    one, other = binding_of(kind(**before)), binding_of(kind(**{**before, **change}))
    return one.audience == other.audience, one.request == other.request


def test_a_type_is_called_as_in_the_file():
    assert tag_of(schema.DirectLine(secret=Secret(env="A"))) == "direct_line"


@pytest.mark.parametrize(
    "change",
    [
        {"header": "X-Token"},
        {"vend": True},
        {"refresh": schema.Refresh(at=0.5)},
        {"timeouts": schema.TokenTimeouts(total=Duration(1))},
        {"client_secret": Secret(env="B")},
        {"initial_token": schema.InitialToken(refresh_token=Secret(env="C"))},
        {"update": schema.UpdateGuard(secret=Secret(env="U"))},
        {"default_expires_in": Duration(7)},
        {"required": True},
    ],
)
def test_how_a_token_is_sent_guarded_and_timed_does_not_make_it_another(change):
    """A14."""
    assert same(schema.OAuth2, ISSUED, change) == (True, True)


@pytest.mark.parametrize(
    ("kind", "before", "change"),
    [
        (schema.OAuth2, ISSUED, {"scope": "s"}),
        (schema.OAuth2, ISSUED, {"audience": "a"}),
        (schema.OAuth2, ISSUED, {"resource": ("https://r.example",)}),
        (schema.OAuth2, ISSUED, {"token_parameters": {"tenant": "t"}}),
        (schema.OAuth2, ISSUED, {"dpop": True}),
        (schema.OAuth2, ISSUED, {"grant_type": "password"}),
        (schema.OAuth2, ISSUED, {"issuer": "https://login.example"}),
        (schema.OAuth2, SPOKEN_FOR, {"assertion": assertion(sub="u", scope="b")}),
        (schema.Jwt, SIGNED, {"claims": {"aud": "b"}}),
        (schema.Exec, RUN, {"command": ("issue", "b")}),
        (schema.Exec, RUN, {"env": {"TENANT": "b"}}),
    ],
)
def test_what_is_asked_for_binds_the_access_token_alone(kind, before, change):
    """A14."""
    assert same(kind, before, change) == (True, False)


@pytest.mark.parametrize(
    ("kind", "before", "change"),
    [
        (schema.OAuth2, ISSUED, {"token_endpoint": "https://other.example/token"}),
        (schema.OAuth2, ISSUED, {"token_endpoint": "https://login.example/other"}),
        (schema.OAuth2, ISSUED, {"token_endpoint": "http://login.example/token"}),
        (schema.OAuth2, ISSUED, {"token_endpoint": "https://login.example:8443/token"}),
        (schema.OAuth2, ISSUED, {"token_endpoint": None, "issuer": "https://login.example"}),
        (schema.OAuth2, {"issuer": "https://a.example"}, {"issuer": "https://b.example"}),
        (schema.OAuth2, ISSUED, {"client_id": "d"}),
        (schema.OAuth2, ISSUED, {"client_id": None}),
        (schema.OAuth2, ISSUED, {"username": "u"}),
        (schema.OAuth2, SPOKEN_FOR, {"assertion": assertion(sub="v", scope="a")}),
        (schema.Http, ASKED, {"refresh": schema.HttpRefresh(url="https://other.example/refresh")}),
        (schema.Http, ASKED, {"refresh": schema.HttpRefresh(url="https://api.example/other")}),
        (schema.Http, ASKED, {"refresh": schema.HttpRefresh()}),
        (schema.Http, ASKED, {"obtain": schema.HttpCall(url="https://api.example/token", form={"scope": "b"})}),
        (schema.Http, ASKED, {"obtain": schema.HttpCall(url="https://other.example/token", form={"scope": "a"})}),
        (schema.Http, ASKED, {"obtain": schema.HttpCall(url="https://api.example/token", json={"user": "v"})}),
        (schema.Http, ASKED, {"obtain": schema.HttpCall(url="https://api.example/token", body="user=v")}),
        (schema.Http, ASKED, {"obtain": schema.HttpCall(url="https://api.example/token", headers={"X-User": "v"})}),
    ],
)
def test_who_receives_a_refresh_token_and_whose_it_is_binds_everything(kind, before, change):
    assert same(kind, before, change)[0] is False


def test_without_a_request_that_refreshes_it_is_the_one_that_obtains():
    before = {"obtain": schema.HttpCall(url="https://api.example/token")}
    assert same(schema.Http, before, {"obtain": schema.HttpCall(url="https://b.example/token")}) == (False, False)


@pytest.mark.parametrize("spelled", ["HTTPS://Login.Example/token", "https://login.example:443/token"])
def test_the_same_place_spelled_otherwise_is_the_same(spelled):
    assert same(schema.OAuth2, ISSUED, {"token_endpoint": spelled})[0]


def test_two_types_never_share_anything():
    external, command = binding_of(schema.External()), binding_of(schema.Exec(command=("x",)))
    assert external.audience != command.audience
    assert external.request != command.request


def test_a_key_that_is_at_its_default_counts_for_nothing():
    """A later version, with more keys, finds what this one has stored."""
    assert same(schema.OAuth2, ISSUED, {"basic_encoding": "form", "resource": (), "token_parameters": {}}) == (
        True,
        True,
    )
    assert binding_of(schema.External()) == binding_of(schema.External(header="X"))


def test_the_hashes_show_nothing_of_what_they_are_made_of():
    shown = repr(binding_of(schema.Http(obtain=schema.HttpCall(url="https://api.example", body="s3cret"))))
    assert "s3cret" not in shown
    assert "example" not in shown
