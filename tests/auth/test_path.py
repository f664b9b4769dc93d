"""A token in the path of the upstream's URL."""

from __future__ import annotations

import pytest
from support.signing import answer, moment, token

from proxy.auth.bearer import BearerScheme
from proxy.auth.path import PathScheme
from proxy.errors import CredentialRefused
from proxy.model import Request, Verdict

BASE = b"/bot{credential}/v1"


def asked(rest=b"/getMe?a={credential}", base=BASE):
    return Request(b"GET", "https", b"api.example", base + rest, base_path=base)


def test_the_token_stands_in_the_upstreams_own_path_and_nowhere_else():
    scheme = PathScheme(BearerScheme())
    assert scheme.place(asked(), token("123:A-b_c"), moment()).target == b"/bot123:A-b_c/v1/getMe?a={credential}"
    assert scheme.place(asked(), token("a/b?c#ü %"), moment()).target.startswith(b"/bota%2Fb%3Fc%23%C3%BC%20%25/v1/")
    assert scheme.sign(asked(), token(), moment()) == []
    assert scheme.base(BASE) == b"/bota%2Fb%3Fc%23%C3%BC%20%25/v1"
    assert scheme.base(b"/other") == b"/other"


def test_a_token_that_would_climb_is_refused_and_not_named():
    for value in ("..", ".", "..;hush"):
        with pytest.raises(CredentialRefused, match="elsewhere") as refused:
            PathScheme(BearerScheme()).place(asked(base=b"/{credential}"), token(value), moment())
        assert "hush" not in str(refused.value)


def test_a_request_for_everything_has_no_path_to_stand_in():
    everything = Request(b"OPTIONS", "https", b"api.example", b"*", base_path=BASE)
    assert PathScheme(BearerScheme()).place(everything, token(), moment()) is everything


def test_a_refusal_is_read_as_the_credentials_own_scheme_reads_it():
    assert PathScheme(BearerScheme()).judge(asked(), answer(401)) is Verdict.RENEW
    assert PathScheme(BearerScheme()).judge(asked(), answer(403)) is Verdict.PASS
