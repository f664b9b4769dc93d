"""The text of a secret, where it goes."""

from __future__ import annotations

import json

import pytest
from support.full_file import ENVIRON, SMALLEST, errors_of, problems_of

OFF = SMALLEST.replace("{env: CRM_CLIENT_SECRET}", "{value: x}")


def credential(text: str) -> str:
    return f"{SMALLEST}  other: {text}\n"


PLACES = {
    "credentials.other.value": credential("{type: header, name: X-Key, value: {env: S}}"),
    "credentials.other.token": credential("{type: bearer, token: {env: S}}"),
    "credentials.other.password": credential("{type: basic, username: u, password: {env: S}}"),
    "credentials.other.secret": credential("{type: direct_line, secret: {env: S}}"),
    "credentials.other.client_secret": credential(
        "{type: oauth2, token_endpoint: 'https://a/t', client_id: a, client_secret: {env: S}, basic_encoding: raw}"
    ),
    "credentials.other.initial_token.access_token": credential(
        "{type: external, update: {secret: {env: KEY}}, initial_token: {access_token: {env: S}}}"
    ),
    "credentials.other.obtain.headers.X-Key": credential(
        "{type: http, obtain: {url: 'https://a/t', headers: {X-Key: {env: S}}}}"
    ),
    "admin.bearer": SMALLEST + "admin: {bearer: {env: S}}\n",
    "callers.bearer": SMALLEST + "callers: {bearer: {env: S}}\n",
    "routes[0].headers.set.X-Key": SMALLEST.replace(
        "    credential: crm\n", "    credential: crm\n    headers: {set: {X-Key: {env: S}}}\n"
    ),
}
ENCODED = {
    "credentials.crm.client_secret": SMALLEST.replace("{env: CRM_CLIENT_SECRET}", "{env: S}"),
    "credentials.other.value": credential("{type: query, name: key, value: {env: S}}"),
    "credentials.other.token": credential(
        "{type: oauth1, consumer_key: k, consumer_secret: {env: KEY}, token: {env: S}, token_secret: {env: KEY}}"
    ),
    "credentials.other.update.secret": credential("{type: external, update: {secret: {env: S}}}"),
}
ALL = [*PLACES.items(), *ENCODED.items()]


def problems(text, tmp_path, secret):
    return problems_of(text, tmp_path, {**ENVIRON, "S": secret})


@pytest.mark.parametrize(("path", "text"), ALL)
@pytest.mark.parametrize("secret", ["hush", "hush\n", "\ufeffhush\r\n", "a hush", "h\u00fcsh"])
def test_a_secret_that_can_be_sent_passes(tmp_path, path, text, secret):
    assert not [p for p in problems(text, tmp_path, secret) if p.path.startswith(path)]


@pytest.mark.parametrize(("path", "text"), ALL)
@pytest.mark.parametrize("secret", [" hush", "hush ", "hush\u00a0", "\u200bhush"])
def test_white_space_at_an_end_is_pointed_at_and_not_shown(tmp_path, path, text, secret):
    (told,) = problems(text, tmp_path, secret)

    assert (told.severity, told.path) == ("warning", f"{path}.env")
    assert "white space" in told.message
    assert "hush" not in str(told)


@pytest.mark.parametrize(("path", "text"), PLACES.items())
@pytest.mark.parametrize("secret", ["one\ntwo", "hush\n\n", "hush\r", "\nhush", "hu\x01sh", "hu\x7fsh", "hu\x1b[2Jsh"])
def test_a_control_is_refused_where_it_can_never_be_sent(tmp_path, path, text, secret):
    (error,) = problems(text, tmp_path, secret)

    assert (error.severity, error.path) == ("error", f"{path}.env")
    assert "control character" in error.message
    assert "hush" not in str(error)


@pytest.mark.parametrize(("path", "text"), ENCODED.items())
@pytest.mark.parametrize("secret", ["one\ntwo", "hu\x01sh"])
def test_a_control_passes_where_it_is_encoded(tmp_path, path, text, secret):
    assert not [p for p in problems(text, tmp_path, secret) if p.path.startswith(path)]


def test_a_file_and_a_value_are_judged_like_the_environment(tmp_path):
    (tmp_path / "key").write_text("hush\nhush\n")
    for secret in ("{file: key}", "{value: " + json.dumps("hush\x01") + "}"):
        text = credential("{type: header, name: X-Key, value: " + secret + "}")

        assert [error.path.rpartition(".")[0] for error in errors_of(text, tmp_path)] == ["credentials.other.value"]


def test_a_key_file_may_end_in_empty_lines(tmp_path):
    key = "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n\n"
    text = credential("{type: jwt, key: {env: S}, claims: {iss: a}}")

    assert not [p for p in problems(text, tmp_path, key) if "white space" in p.message or "control" in p.message]
