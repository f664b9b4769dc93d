"""Token requests octet by octet, in each of their formats."""

from __future__ import annotations

import pytest

from proxy.config.schema import TokenRequest
from proxy.tokens.token_request import login, packed

URL = "https://login.example/token"
PAIRS = [("grant_type", "client_credentials"), ("client_id", "me & co"), ("resource", "r1"), ("resource", "r2")]
BASIC = [("Authorization", "Basic eA==")]
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("shape", "url", "headers", "body"),
    [
        (
            TokenRequest(),
            URL,
            [("Content-Type", FORM), *BASIC],
            b"grant_type=client_credentials&client_id=me+%26+co&resource=r1&resource=r2",
        ),
        (
            TokenRequest(format="json"),
            URL,
            [("Content-Type", "application/json"), *BASIC],
            b'{"grant_type":"client_credentials","client_id":"me & co","resource":["r1","r2"]}',
        ),
        (
            TokenRequest(format="query"),
            f"{URL}?grant_type=client_credentials&client_id=me+%26+co&resource=r1&resource=r2",
            BASIC,
            b"",
        ),
        (
            TokenRequest(names={"client_id": "client_key", "grant_type": "type"}),
            URL,
            [("Content-Type", FORM), *BASIC],
            b"type=client_credentials&client_key=me+%26+co&resource=r1&resource=r2",
        ),
        (
            TokenRequest(format="json", headers={"content-type": "application/vnd.x+json", "X-Key": "k"}),
            URL,
            [*BASIC, ("content-type", "application/vnd.x+json"), ("X-Key", "k")],
            b'{"grant_type":"client_credentials","client_id":"me & co","resource":["r1","r2"]}',
        ),
    ],
)
def test_parameters_go_out_as_the_server_wants_them(shape, url, headers, body):
    request = packed(URL, PAIRS, BASIC, shape)
    assert (request.url, request.headers, request.body) == (url, headers, body)


def test_a_query_that_is_there_is_kept():
    assert packed(f"{URL}?v=2", [("a", "b")], [], TokenRequest(format="query")).url == f"{URL}?v=2&a=b"


def test_more_than_two_of_a_name_are_one_list():
    body = packed(URL, [("r", "1"), ("r", "2"), ("r", "3")], [], TokenRequest(format="json")).body
    assert body == b'{"r":["1","2","3"]}'


def test_a_user_name_and_a_password_are_one_value():
    assert login("ü", "", "Basic") == "Basic w7w6"
    assert login("a", "b", "Token") == "Token YTpi"


def test_a_request_cannot_be_printed():
    assert repr(packed(URL, [("s3cret", "s3cret")], [], TokenRequest(format="query"))) == "Packed()"
