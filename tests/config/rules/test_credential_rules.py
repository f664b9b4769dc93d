"""Credentials of every type: names, where the token goes, when it is renewed."""

from __future__ import annotations

import pytest
from support.full_file import SMALLEST, errors_of, problems_of

MORE = SMALLEST.rstrip("\n")


def with_keys(keys: str) -> str:
    return f"{MORE}\n    {keys}\n"


def with_credential(credential: str, more: str = "") -> str:
    return f"{MORE}\n  c: {{{credential}}}\n{more}\n"


@pytest.mark.parametrize(
    ("keys", "path", "said"),
    [
        ("header: 'X Y'", "header", "no name"),
        ("header: Host", "header", "belongs to the connection"),
        ('header_prefix: "a\\nb"', "header_prefix", "line breaks"),
        ("query: ''", "query", "printable"),
        ("query: t\n    header: X-T", "query", "not both"),
        ("cookie: 'a b'", "cookie", "no name of a cookie"),
        ("cookie: ''", "cookie", "no name of a cookie"),
        ("cookie: t\n    header: X-T", "cookie", "not both"),
        ("query: t\n    cookie: t", "cookie", "not both"),
        ("cookie: t\n    dpop: true", "cookie", "beside its proof"),
        ("refresh: {at: 0}", "refresh.at", "more than 0"),
        ("refresh: {at: 1.1}", "refresh.at", "at most 1"),
        ("refresh: {at: 90%}", "refresh.at", "decimal digits"),
        ("refresh: {jitter: 1}", "refresh.jitter", "less than 1"),
        ("refresh: {before: -1s}", "refresh.before", "duration"),
        ("per: {header: X-T, pattern: '['}", "per.pattern", "regular expression"),
        ("per: {header: 'X T'}", "per.header", "no name"),
        ("per: {header: X-T, max: 0}", "per.max", "more than 0"),
        ("initial_token: {}", "initial_token", "holds no token"),
        ("initial_token: {access_token: {env: KEY}, expires_in: 1h}", "initial_token.expires_in", "a number"),
        ("vend: true", "vend", "could fetch the token"),
        ("timeouts: {total: 0s}", "timeouts.total", "more than 0"),
        ("default_expires_in: 300", "default_expires_in", "with a unit: 300s"),
    ],
)
def test_a_token_that_cannot_be_kept_or_sent_is_refused_with_its_place(keys, path, said):
    errors = errors_of(with_keys(keys))
    assert [error.path for error in errors] == [f"credentials.crm.{path}"], errors
    assert said in errors[0].message + (errors[0].hint or "")


@pytest.mark.parametrize(
    ("credential", "path", "said"),
    [
        ("type: header, name: Connection, value: {env: KEY}", ".name", "belongs to the connection"),
        ('type: header, name: X, value: {env: KEY}, prefix: "a\\r"', ".prefix", "line breaks"),
        ("type: query, name: '', value: {env: KEY}", ".name", "printable"),
        ("type: basic, username: 'a:b', password: {env: KEY}", ".username", "no colon"),
        ("type: basic, username: {value: 'a:b'}", ".username.value", "no colon"),
        ("type: basic, password: {env: KEY}", ".username", "needs `username`"),
        ("type: bearer", ".token", "needs `token`"),
        ("type: body, value: {env: KEY}", "", "json_pointer: /key"),
        ("type: body, value: {env: KEY}, json_pointer: /a, form: a", ".form", "JSON or a form"),
        ("type: body, value: {env: KEY}, json_pointer: a", ".json_pointer", "no JSON pointer"),
        ("type: body, value: {env: KEY}, json_pointer: ''", ".json_pointer", "the whole body"),
        ("type: body, value: {env: KEY}, form: ''", ".form", "printable"),
        ("type: query, name: k, value: {base64: [a], env: KEY}", ".value.base64", "one source"),
        ("type: query, name: k, value: {base64: [{env: NONE}]}", ".value.base64[0].env", "not set"),
        ("type: oauth1, consumer_key: k, consumer_secret: {env: KEY}, transmit: query, realm: r", ".realm", "alone"),
        ("type: oauth1, consumer_key: k, consumer_secret: {env: KEY}, transmit: body", ".transmit", "header or query"),
        ("type: direct_line, secret: {env: KEY}, domain: http://a", ".domain", "over http://"),
        ("type: jwt, key: {env: KEY}, alg: none", ".alg", "no algorithm"),
        ("type: exec, command: []", ".command", "empty list"),
        ("type: exec, command: ls", ".command", "[value]"),
        ("type: python, callable: nothing", ".callable", "module:function"),
        ("type: python, callable: 'a:b', header: 'X Y'", ".header", "no name"),
        ("type: http, obtain: {url: 'http://a'}", ".obtain.url", "over http://"),
        ("type: http, obtain: {url: 'https://a', method: 'A B'}", ".obtain.method", "no request method"),
        ("type: http, obtain: {url: 'https://a', json: {}, body: x}", ".obtain.body", "one body"),
        ("type: http, obtain: {url: 'https://a', headers: {'A B': x}}", ".obtain.headers.A B", "no name"),
        ("type: http, obtain: {url: 'https://a', headers: {A: \"x\\n\"}}", ".obtain.headers.A", "line breaks"),
        ("type: http, obtain: {url: 'https://a', headers: {A: x, a: y}}", ".obtain.headers.a", "set twice"),
        ("type: http", "", "needs `obtain`"),
        ("type: http, refresh: {url: 'https://a'}", "", "initial_token"),
        ("type: http, obtain: {url: 'https://a', basic: {username: 'a:b'}}", ".obtain.basic.username", "no colon"),
        ("type: http, obtain: {url: 'https://a', basic: {username: a, scheme: 'a b'}}", ".obtain.basic.scheme", "word"),
        (
            "type: http, obtain: {url: 'https://a', basic: {username: a}, headers: {authorization: x}}",
            ".obtain.basic",
            "both write",
        ),
        ("type: jwt, key: {env: KEY}, headers: {alg: x}", ".headers.alg", "by itself"),
        ("type: jwt, key: {env: KEY}, key_encoding: hex", ".key_encoding", "HS256"),
        ("type: jwt, key: {env: KEY}, alg: HS256, key_password: {env: KEY}", ".key_password", "private key"),
        ("type: http, obtain: {url: 'https://a'}, refresh: {at: 2}", ".refresh.at", "at most 1"),
        (
            "type: http, obtain: {url: 'https://a'}, response: {access_token: token}",
            ".response.access_token",
            "pointer",
        ),
        ("type: oauth3", "", "did you mean `oauth2`?"),
        ("typ: oauth2", "", "did you mean `type`?"),
        ("name: X", "", "needs a `type`"),
    ],
)
def test_a_credential_that_cannot_work_is_refused_with_its_place(credential, path, said):
    errors = errors_of(with_credential(credential))
    assert [error.path.removesuffix(".type") for error in errors] == [f"credentials.c{path}"], errors
    assert said in errors[0].message + (errors[0].hint or "")


@pytest.mark.parametrize(
    ("credential", "path"),
    [
        ("type: bearer, token: {credential: login}", "token"),
        ("type: header, name: Authorization, prefix: 'Bearer ', value: {credential: login}", "value"),
        (
            "type: external, update: {secret: {env: PUSH}}, initial_token: {access_token: {credential: login}}",
            "initial_token.access_token",
        ),
    ],
)
def test_a_user_name_and_a_password_are_no_token(credential, path):
    (error,) = errors_of(with_credential(credential, "  login: {type: basic, username: u, password: {env: KEY}}"))
    assert error.path == f"credentials.c.{path}.credential"
    assert "no token" in error.message


def test_a_user_name_and_a_password_are_a_whole_authorization():
    credential = "type: header, name: Authorization, value: {credential: login}"
    assert problems_of(with_credential(credential, "  login: {type: basic, username: {env: KEY}}")) == []


@pytest.mark.parametrize(
    "credential",
    ["type: jwt, key: {env: KEY}", "type: exec, command: [x]", "type: external, update: {secret: {env: PUSH}}"],
)
def test_a_way_out_that_nobody_takes_draws_a_warning(credential):
    (problem,) = problems_of(with_credential(credential + ", via_proxy: {url: 'http://egress:3128'}"))
    assert (problem.severity, problem.path) == ("warning", "credentials.c.via_proxy")


@pytest.mark.parametrize("name", ["a b", "a/b", "ä", "'-'", "'.'", "x" * 101])
def test_a_name_that_cannot_stand_in_a_url_is_refused(name):
    (error,) = errors_of(f"{MORE}\n  {name}: {{type: bearer, token: {{env: KEY}}}}\n")
    assert "stands in URLs" in error.message


@pytest.mark.parametrize(
    ("more", "good"),
    [
        ("", False),
        ("admin: {bearer: {env: KEY}}", True),
        ("admin: {listen: off}", False),
        ("admin: {listen: unix:/a/admin}", False),
        ("admin: {listen: unix:/a/admin}\nlisten: unix:/a/s\ncallers: {unix_uids: [1]}", True),
    ],
)
def test_tokens_are_vended_only_to_callers_who_are_known(more, good):
    errors = errors_of(with_keys("vend: true") + more + "\n")
    assert [error.path for error in errors] == ([] if good else ["credentials.crm.vend"])


def test_the_key_set_of_a_guard_is_a_reason_for_a_proxy():
    guard = "jwt: {jwks_uri: 'https://idp.example/jwks', issuer: 'https://i', audience: a, claims: {sub: s}}"
    text = f"type: external, via_proxy: 'http://egress:3128', update: {{{guard}}}"
    assert problems_of(with_credential(text)) == []
