"""A value in a cookie."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.signing import answer, moment, request, token

from proxy.auth.cookie import CookieScheme, with_cookie
from proxy.errors import ConfigurationError, CredentialRefused
from proxy.model import Verdict


def test_the_token_is_the_cookies_value():
    scheme = CookieScheme("B1SESSION")
    one = replace(request(), section=b"\r\nHost: a\r\n")
    assert scheme.place(one, token("a.b-c"), moment()).section == b"\r\nHost: a\r\nCookie: B1SESSION=a.b-c\r\n"
    assert scheme.sign(one, token(), moment()) == []


@pytest.mark.parametrize("name", ["", "a b", "a=b", "a;b", "ä", "a\n"])
def test_what_is_no_name_of_a_cookie_is_a_configuration_error(name):
    with pytest.raises(ConfigurationError, match="not the name of a cookie"):
        CookieScheme(name)


@pytest.mark.parametrize("value", ["a;b", "a b", "a\r\nSet: x", "a\tb", "\x00"])
def test_a_token_that_would_end_its_cookie_is_refused_without_being_named(value):
    with pytest.raises(CredentialRefused, match="cookie contains") as refused:
        CookieScheme("k").place(request(), token(value), moment())
    assert value not in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"", b"Cookie: k=v\r\n"),
        (b"X: y\r\n", b"X: y\r\nCookie: k=v\r\n"),
        (b"Cookie: a=b\r\nX: y\r\n", b"Cookie: a=b; k=v\r\nX: y\r\n"),
        (b"COOKIE:a=b;c=d  \r\n", b"COOKIE: a=b;c=d; k=v\r\n"),
        (b"Cookie: \r\n", b"Cookie: k=v\r\n"),
        (b"Cookie: k=mine\r\n", b"Cookie: k=v\r\n"),
        (b"Cookie: k=mine; a=b; k=mine\r\n", b"Cookie: a=b; k=v\r\n"),
        (b"Cookie: a=b;k = mine;\r\n", b"Cookie: a=b; k=v\r\n"),
        (b"Cookie: a=b; %6b=mine; k\r\n", b"Cookie: a=b; k=v\r\n"),
        (b"Cookie: K=mine; kk=1; a=k=1\r\n", b"Cookie: K=mine; kk=1; a=k=1; k=v\r\n"),
        (b"Cookie: a=b\r\nX: y\r\ncookie: k=mine; c=d\r\n", b"Cookie: a=b; c=d; k=v\r\nX: y\r\n"),
        (b"X-Cookie: k=mine\r\n", b"X-Cookie: k=mine\r\nCookie: k=v\r\n"),
    ],
)
def test_the_callers_cookie_of_that_name_goes_and_all_others_stay(lines, expected):
    assert with_cookie(b"\r\n" + lines, b"k", b"v") == b"\r\n" + expected


def test_a_401_asks_for_a_newer_value():
    assert CookieScheme("k").judge(request(), answer(401)) is Verdict.RENEW
    assert CookieScheme("k").judge(request(), answer(403)) is Verdict.PASS
