"""Secret references: one kind each, and every one that can be resolved now, resolves."""

from __future__ import annotations

import base64

import pytest
from support.full_file import ENVIRON, SMALLEST, errors_of, problems_of

EXCHANGE = "token_endpoint: 'https://a/t', client_id: a, grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange'"


def with_secret(secret: str) -> str:
    return SMALLEST.replace("{env: CRM_CLIENT_SECRET}", secret)


@pytest.mark.parametrize(
    ("secret", "key", "said"),
    [
        ("{}", "", "refers to nothing"),
        ("hush", "", "by reference"),
        ("", "", "empty"),
        ("[hush]", "", "must be"),
        ("{env: KEY, file: x}", ".file", "one source: `env` or `file`"),
        ("{env: KEY, ttl: 5m}", ".ttl", "belongs to `exec`"),
        ("{env: KEY, json_pointer: /a}", ".json_pointer", "belongs to `file` and `exec`"),
        ("{exec: [x], json_pointer: a}", ".json_pointer", "no JSON pointer"),
        ("{exec: []}", ".exec", "empty list"),
        ("{exec: ls}", ".exec", "a list"),
        ("{env: NOWHERE}", ".env", "the environment variable NOWHERE is not set"),
        ("{env: EMPTY}", ".env", "is empty"),
        ("{env: 'A=B'}", ".env", "no name"),
        ("{env: }", ".env", "empty"),
        ("{env: 5}", ".env", "quote it"),
        ("{file: nowhere}", ".file", "no such file"),
        ("{file: .}", ".file", "is a directory"),
        ("{file: /dev/null}", ".file", "no regular file"),
        ("{file: binary}", ".file", "not UTF-8"),
        ("{file: blank}", ".file", "is empty"),
        ("{file: large}", ".file", "1 MiB"),
        ("{file: good, json_pointer: /a}", ".file", "holds no JSON"),
        ("{file: json, json_pointer: /b}", ".file", "nothing at /b"),
        ("{file: json, json_pointer: /list}", ".file", "no string at /list"),
        ("{value: ''}", ".value", "is empty"),
        ("{credential: nobody}", ".credential", "no credential `nobody`"),
        ("{credential: crm}", ".credential", "its own token"),
        ("{vault: hush}", "", "unknown key"),
        ("{fil: hush}", ".fil", "did you mean `file`?"),
    ],
)
def test_a_reference_that_cannot_be_resolved_is_refused_with_its_place(tmp_path, secret, key, said):
    (tmp_path / "binary").write_bytes(b"\xff\xfehush")
    (tmp_path / "blank").write_text("\n")
    (tmp_path / "large").write_bytes(b"x" * (1024 * 1024 + 1))
    (tmp_path / "good").write_text("hush\n")
    (tmp_path / "json").write_text('{"a": "hush", "list": ["hush"]}')
    errors = [p for p in problems_of(with_secret(secret), tmp_path, {**ENVIRON, "EMPTY": ""}) if p.severity == "error"]
    assert [error.path for error in errors] == [f"credentials.crm.client_secret{key}"], errors
    assert said in errors[0].message + (errors[0].hint or "")
    assert "hush" not in str(errors)


def test_a_secret_in_the_file_itself_draws_a_warning_that_does_not_show_it():
    (problem,) = problems_of(with_secret("{value: hush-hush}"))
    assert (problem.severity, problem.line, problem.path) == ("warning", 11, "credentials.crm.client_secret.value")
    assert problem.excerpt == "client_secret: {value: ***}"


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ("{type: python, callable: 'm:f'}", "a token for each request"),
        ("{type: direct_line, secret: {env: KEY}}", "a token for each conversation"),
        ("{type: exec, command: [x], per: {header: X-Tenant}}", "a token for each value of `per`"),
        (f"{{type: oauth2, {EXCHANGE}, subject_token: {{request_header: X-User}}}}", "a token for each caller"),
        ("{type: oauth1, consumer_key: k, consumer_secret: {env: KEY}}", "has no token"),
    ],
)
def test_a_credential_without_a_token_of_its_own_is_not_referred_to(other, said):
    (error,) = errors_of(with_secret("{credential: other}") + f"  other: {other}\n")
    assert error.path == "credentials.crm.client_secret.credential"
    assert said in error.message


def test_credentials_that_need_each_other_are_refused():
    http = "{type: http, obtain: {url: 'https://a', headers: {A: {credential: %s}}}}"
    text = SMALLEST + "".join(
        f"  {name}: {http % other}\n" for name, other in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a"))
    )
    assert [error.path for error in errors_of(text)] == [
        f"credentials.{name}.obtain.headers.A.credential" for name in "abc"
    ]


def test_only_credentials_use_the_token_of_another():
    (error,) = errors_of(SMALLEST + "admin: {bearer: {credential: crm}}\n")
    assert error.path == "admin.bearer.credential"


@pytest.mark.parametrize(("key", "good"), [(b"k" * 32, True), (b"k" * 31, False), (b"", False)])
def test_an_encryption_key_is_32_octets_on_every_line(tmp_path, key, good):
    lines = [base64.b64encode(b"x" * 32).decode(), base64.b64encode(key).decode() or "not base64!"]
    (tmp_path / "key").write_text("\n".join(lines) + "\n")
    errors = errors_of(SMALLEST + "store: {type: file, path: s, encryption_key: {file: key}}\n", tmp_path)
    assert [error.path for error in errors] == ([] if good else ["store.encryption_key.file"])
