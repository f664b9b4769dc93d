"""Credentials that have more than one token: of callers, of tenants, of conversations."""

from __future__ import annotations

import pytest
from support.full_file import errors_of, problems_of

OAUTH2 = "type: oauth2, token_endpoint: https://i.example/token, client_id: c, client_secret: {env: KEY}"
EXCHANGE = f"{OAUTH2}, grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange'"
PER = "per: {header: X-Tenant}"
GUARD = "update: {secret: {env: PUSH}}"


def one(keys: str) -> str:
    return (
        f"admin: {{bearer: {{env: KEY}}}}\nroutes: [{{match: /, upstream: 'https://a.b', credential: c}}]\n"
        f"credentials:\n  c: {{{keys}}}\n"
    )


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        (f"{EXCHANGE}, subject_token: {{request_header: Authorization}}, {PER}", "per", "not from both"),
        (f"type: external, {GUARD}, {PER}", "per", "whom a push is for"),
        (f"type: direct_line, secret: {{env: KEY}}, {PER}", "per", "each conversation has its own"),
        (f"{OAUTH2}, grant_type: refresh_token, refresh_token: {{env: SEED}}, {PER}", "per", "one user's"),
        (f"{OAUTH2}, scope: 'of:{{per}}'", "scope", "has no `per`"),
        (f"{OAUTH2}, token_parameters: {{tenant: '{{per}}'}}", "token_parameters.tenant", "has no `per`"),
        ("type: jwt, key: {env: KEY}, claims: {aud: [x, '{per}']}", "claims.aud[1]", "has no `per`"),
        ("type: http, obtain: {url: 'https://a/{per}'}", "obtain.url", "has no `per`"),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_place(keys, path, said):
    errors = errors_of(one(keys))
    assert [error.path for error in errors] == [f"credentials.c.{path}"], errors
    assert said in errors[0].message


@pytest.mark.parametrize(
    ("credential", "each"),
    [
        (f"{OAUTH2}, {PER}", "value of `per`"),
        (f"{EXCHANGE}, subject_token: {{request_header: Authorization}}", "caller"),
        ("type: direct_line, secret: {env: KEY}", "conversation"),
    ],
)
def test_what_is_about_one_token_draws_a_warning_where_there_are_many(credential, each):
    keys = f"{credential}, {GUARD}, vend: true, required: true, initial_token: {{access_token: {{env: KEY}}}}"
    found = {problem.path: problem.message for problem in problems_of(one(keys)) if problem.severity == "warning"}
    assert set(found) == {f"credentials.c.{key}" for key in ("update", "vend", "required", "initial_token")}
    assert all(f"a token for each {each}" in message for message in found.values())
    assert errors_of(one(keys)) == []


@pytest.mark.parametrize(
    "keys",
    [
        f"{OAUTH2}, {PER}, scope: 'of:{{per}}', token_parameters: {{tenant: '{{per}}'}}",
        f"{OAUTH2}, {GUARD}, vend: true, required: true",
        f"{EXCHANGE}, subject_token: {{env: KEY}}, {PER}",
        "type: external, " + GUARD + ", required: true",
        "type: direct_line, secret: {env: KEY}, refresh: {at: 0.5}, header: X-Token",
    ],
)
def test_what_can_be_is_no_mistake(keys):
    assert problems_of(one(keys)) == []
