"""The one interface."""

from __future__ import annotations

import inspect

import pytest
from msgspec.structs import replace
from support.signing import moment, request, token

from proxy.auth.basic import BasicScheme
from proxy.auth.bearer import BearerScheme
from proxy.auth.body_value import BodyScheme
from proxy.auth.cookie import CookieScheme
from proxy.auth.dpop import DpopScheme
from proxy.auth.dpop_key import DpopKey, DpopKeys
from proxy.auth.header import HeaderScheme
from proxy.auth.oauth1 import OAuth1Scheme
from proxy.auth.query import QueryScheme
from proxy.auth.scheme import Scheme
from proxy.auth.signature import OAuth1Keys

EVERY: list[Scheme] = [
    BearerScheme(),
    HeaderScheme("X-Key"),
    QueryScheme("k"),
    BasicScheme(),
    CookieScheme("session"),
    BodyScheme(form="key"),
    OAuth1Scheme("k", OAuth1Keys()),
    OAuth1Scheme("k", OAuth1Keys(), in_query=True),
    DpopScheme(DpopKeys(DpopKey.generate())),
]


@pytest.mark.parametrize("scheme", EVERY, ids=lambda scheme: type(scheme).__name__)
def test_every_scheme_is_called_in_the_same_way(scheme):
    for method in ("place", "sign", "judge"):
        expected = list(inspect.signature(getattr(Scheme, method)).parameters)[1:]
        assert list(inspect.signature(getattr(scheme, method)).parameters) == expected
    assert scheme.wants_body in {"none", "form", "all"}
    assert all(name == name.lower() for name in scheme.writes)
    assert scheme.places or not scheme.parameters


@pytest.mark.parametrize("scheme", EVERY, ids=lambda scheme: type(scheme).__name__)
def test_a_scheme_writes_what_it_says_and_is_as_constant_as_it_says(scheme):
    one = token()
    first, second = (scheme.sign(request(), one, moment()) for _ in range(2))
    assert tuple(name.lower() for name, _ in first) == scheme.writes
    form = request(b"POST", content_type=b"application/x-www-form-urlencoded", body=b"a=b")
    where = replace(form, section=b"\r\n", target=b"/a?X-Amz-Signature=b")
    placed = [scheme.place(where, one, moment()) for _ in range(2)]
    assert all((found == where) is not scheme.places for found in placed)
    assert ((first, placed[0]) == (second, placed[1])) is scheme.constant
