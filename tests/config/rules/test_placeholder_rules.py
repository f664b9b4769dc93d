"""Placeholders that name nothing, secrets that nobody uses, and secrets that are written where none is read."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.full_file import SMALLEST, errors_of, problems_of

BASE = SMALLEST.rstrip("\n")


def http(keys: str, more: str = "") -> str:
    return f"{BASE}\n  c:\n    type: http\n    obtain: {{url: 'https://a', {keys}}}\n    {more}\n"


def oauth2(keys: str) -> str:
    return f"{BASE}\n    {keys}\n"


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ("json: {a: ['{pww}']}", "json.a[0]"),
        ("form: {a: 'x{pww}'}", "form.a"),
        ("headers: {X-Key: '{pww}'}", "headers.X-Key"),
        ("body: 'a{pww}b'", "body"),
        ("basic: {username: '{pww}'}", "basic.username"),
    ],
)
def test_a_placeholder_that_names_nothing_is_refused_with_what_there_is(keys, path):
    (error,) = errors_of(http(keys + ", method: PUT", "secrets: {pw: {env: KEY}}"))
    assert error.path == f"credentials.c.obtain.{path}"
    assert "nothing fills in `{pww}`" in error.message
    assert "did you mean `pw`?" in (error.hint or "")
    assert "{pw}, {uuid}, {timestamp}" in (error.hint or "")
    assert "{{pww}}" in (error.hint or "")


@pytest.mark.parametrize(
    ("keys", "path"),
    [
        ("token_parameters: {a: '{nobody}'}", "token_parameters.a"),
        ("scope: '{access_token}'", "scope"),
        ("client_assertion_claims: {}\n    audience: '{nobody}'", "audience"),
        ("token_request: {headers: {X: '{nobody}'}}", "token_request.headers.X"),
        ("refresh_endpoint: 'https://a/{nobody}'", "refresh_endpoint"),
    ],
)
def test_it_is_so_in_oauth2_too(keys, path):
    errors = [error for error in errors_of(oauth2(keys)) if "nothing fills in" in error.message]
    assert [error.path for error in errors] == [f"credentials.crm.{path}"]


@pytest.mark.parametrize(
    "keys",
    [
        "json: {a: '{pw}{uuid}{timestamp}{timestamp_ms}{now}{now+7d:%Y-%m-%d}{access_token}{refresh_token}'}",
        'body: "{\\"a\\": {\\"b\\": \\"{pw}\\"}}"',
        "body: '{pw} {{literal}} { x } {}'",
    ],
)
def test_what_is_known_and_what_is_no_placeholder_is_taken(keys):
    assert problems_of(http(keys, "secrets: {pw: {env: KEY}}")) == [] or "pw" in keys
    assert errors_of(http(keys, "secrets: {pw: {env: KEY}}")) == []


@pytest.mark.parametrize(
    ("name", "said"), [("uuid", "something else"), ("refresh_token", "something else"), ("'a b'", "a word")]
)
def test_a_secret_has_a_name_that_can_be_used(name, said):
    (error,) = errors_of(http("method: PUT", f"secrets: {{{name}: {{env: KEY}}}}"))
    assert said in error.message


def test_a_time_that_cannot_be_written_is_refused():
    (error,) = errors_of(http("form: {a: '{now+999999999d}'}"))
    assert "no time" in error.message


def test_a_secret_that_nothing_names_draws_a_warning():
    (found,) = problems_of(http("method: PUT", "secrets: {pw: {env: KEY}}"))
    assert (found.severity, found.path) == ("warning", "credentials.c.secrets.pw")


@pytest.mark.parametrize("reference", ["{env: KEY}", "{file: pw}", "{exec: [pass], ttl: 5m}", "{credential: crm}"])
def test_an_object_that_looks_like_a_secret_where_none_is_read_draws_a_warning(reference):
    (found,) = problems_of(http(f"json: {{user: u, password: {reference}}}"))
    assert (found.severity, found.path) == ("warning", "credentials.c.obtain.json.password")
    assert "secrets:" in (found.hint or "")


@pytest.mark.parametrize("harmless", ["{value: x}", "{env: a, colour: b}", "{file: a, env: b}", "{}"])
def test_an_object_that_only_has_such_a_name_in_it_is_data(harmless):
    assert problems_of(http(f"json: {{a: {harmless}}}")) == []


def test_the_path_of_a_secret_file_that_is_sent_as_it_is_draws_a_warning(tmp_path: Path):
    (tmp_path / "pw").write_text("hush")
    text = http("json: {password: pw}, headers: {X-Key: {file: pw}}")
    (found,) = problems_of(text, tmp_path)
    assert (found.severity, found.path) == ("warning", "credentials.c.obtain.json.password")
    assert "path of a secret" in found.message


def test_a_reference_where_only_strings_stand_is_told_how_to_write_it():
    (error,) = errors_of(oauth2("token_parameters: {password: {env: KEY}}"))
    assert error.path == "credentials.crm.token_parameters.password"
    assert "secrets: {name:" in (error.hint or "")
