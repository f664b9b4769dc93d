"""`response`: places, formats and refusals that cannot be meant."""

from __future__ import annotations

import pytest
from support.full_file import SMALLEST, errors_of

HTTP = SMALLEST.rstrip("\n") + "\n  c: {type: http, obtain: {url: 'https://a'}, response: RESPONSE}\n"
OAUTH2 = SMALLEST.rstrip("\n") + "\n    response: RESPONSE\n"


@pytest.mark.parametrize("base", [HTTP, OAUTH2])
@pytest.mark.parametrize(
    ("response", "path", "said"),
    [
        ("{access_token: token}", "access_token", "no JSON pointer"),
        ("{expires_in: {header: 'a b'}}", "expires_in.header", "no name of a header field"),
        ("{expires_in: {cookie: 'a;b'}}", "expires_in.cookie", "no name of a cookie"),
        ("{access_token: {}}", "access_token", "a header field or a cookie"),
        ("{access_token: {header: A, cookie: b}}", "access_token", "a header field or a cookie"),
        ("{access_token: {heder: A}}", "access_token.heder", "did you mean `header`"),
        ("{acess_token: /t}", "acess_token", "did you mean `access_token`"),
        ("{format: text, access_token: /t}", "access_token", "the whole of it"),
        ("{format: csv}", "format", "auto, json, text or xml"),
        ("{expires_in_unit: m}", "expires_in_unit", "ms or s"),
        ("{zero_expires_in: ever}", "zero_expires_in", "failure or never"),
        ("{refused_on: [{}]}", "refused_on[0]", "every answer"),
        ("{refused_on: [{status: 42}]}", "refused_on[0].status", "three digits"),
        ("{refused_on: [{body_contains: ''}]}", "refused_on[0].body_contains", "contains nothing"),
    ],
)
def test_a_response_that_cannot_be_meant_is_refused_with_its_place(base, response, path, said):
    errors = errors_of(base.replace("RESPONSE", response))
    name = "c" if base is HTTP else "crm"
    assert [error.path for error in errors] == [f"credentials.{name}.response.{path}"], errors
    assert said in errors[0].message + (errors[0].hint or "")


@pytest.mark.parametrize(
    "response",
    [
        "{format: text}",
        "{format: text, access_token: ''}",
        "{format: text, access_token: {header: A}}",
        "{expires_in: null}",
    ],
)
def test_what_can_be_meant_is_taken(response):
    assert errors_of(HTTP.replace("RESPONSE", response)) == []
