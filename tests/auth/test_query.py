"""A value in a query parameter."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.signing import answer, moment, request, token

from proxy.auth.query import QueryScheme
from proxy.errors import ConfigurationError
from proxy.model import Verdict


def placed(scheme, target, one):
    return scheme.place(replace(request(), target=target), one, moment()).target


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (b"/a", b"/a?key=v"),
        (b"/a?b=1&c", b"/a?b=1&c&key=v"),
        (b"/a?x=%zz&[y]=+\xff", b"/a?x=%zz&[y]=+\xff&key=v"),
        (b"/a//%2F/..?", b"/a//%2F/..?key=v"),
    ],
)
def test_the_parameter_comes_last_and_nothing_else_is_touched(target, expected):
    assert placed(QueryScheme("key"), target, token("v")) == expected


def test_name_and_value_are_given_decoded_and_sent_percent_encoded():
    scheme = QueryScheme("api key")
    assert scheme.parameters == (b"api key",)
    assert placed(scheme, b"/a", token("a b+&=#/ü~")) == b"/a?api%20key=a%20b%2B%26%3D%23%2F%C3%BC~"


def test_a_new_token_is_sent_at_once():
    scheme = QueryScheme("k")
    old, new = token("old"), token("new")
    assert [placed(scheme, b"/", one) for one in (old, old, new)] == [b"/?k=old", b"/?k=old", b"/?k=new"]


def test_nothing_is_added_to_the_head():
    scheme = QueryScheme("k")
    assert scheme.sign(request(), token(), moment()) == []
    assert scheme.writes == ()


def test_a_parameter_without_a_name_is_a_configuration_error():
    with pytest.raises(ConfigurationError):
        QueryScheme("")


def test_a_401_asks_for_a_newer_value():
    assert QueryScheme("k").judge(request(), answer(401)) is Verdict.RENEW
    assert QueryScheme("k").judge(request(), answer(403)) is Verdict.PASS
