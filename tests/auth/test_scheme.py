"""The one interface."""

from __future__ import annotations

import inspect

import pytest

from proxy.auth.basic import BasicScheme
from proxy.auth.bearer import BearerScheme
from proxy.auth.header import HeaderScheme
from proxy.auth.query import QueryScheme
from proxy.auth.scheme import Scheme

EVERY: list[Scheme] = [BearerScheme(), HeaderScheme("X-Key"), QueryScheme("k"), BasicScheme("u")]


@pytest.mark.parametrize("scheme", EVERY, ids=lambda scheme: type(scheme).__name__)
def test_every_scheme_is_called_in_the_same_way(scheme):
    for method in ("place", "sign", "judge"):
        expected = list(inspect.signature(getattr(Scheme, method)).parameters)[1:]
        assert list(inspect.signature(getattr(scheme, method)).parameters) == expected
    assert scheme.wants_body in {"none", "form", "all"}
    assert all(name == name.lower() for name in scheme.writes)
