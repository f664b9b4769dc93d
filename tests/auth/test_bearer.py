"""A token in a header field."""

from __future__ import annotations

import pytest
from support.signing import answer, moment, request, token

from proxy.auth.bearer import BearerScheme
from proxy.errors import CredentialRefused
from proxy.model import Verdict


def sign(scheme, one):
    return scheme.sign(request(), one, moment())


def test_a_token_is_sent_as_rfc_6750_says():
    scheme = BearerScheme()
    assert sign(scheme, token("mF_9.B5f-4.1JqM")) == [(b"Authorization", b"Bearer mF_9.B5f-4.1JqM")]
    assert scheme.writes == (b"authorization",)


def test_signing_twice_with_the_same_token_does_the_work_once():
    scheme = BearerScheme()
    one = token()
    assert sign(scheme, one) is sign(scheme, one)


def test_another_field_and_another_word_can_be_asked_for():
    assert sign(BearerScheme("PRIVATE-TOKEN", ""), token("x")) == [(b"PRIVATE-TOKEN", b"x")]
    assert sign(BearerScheme(prefix="token "), token("x")) == [(b"Authorization", b"token x")]


def test_ready_made_fields_go_out_as_they_are():
    fields = ((b"X-Date", b"today"), (b"x-signature", b"\xff"))
    assert sign(BearerScheme(), token("unused", fields=fields)) == list(fields)


def test_ready_made_fields_cannot_break_the_head_either():
    with pytest.raises(CredentialRefused):
        sign(BearerScheme(), token("unused", fields=((b"X-Date", b"a\r\nb: c"),)))


@pytest.mark.parametrize("scheme", [BearerScheme(), BearerScheme("X-Token", "")])
def test_an_attempt_is_judged_alike_whichever_field_carried_the_token(scheme):
    assert scheme.judge(request(), answer(401)) is Verdict.RENEW
    assert scheme.judge(request(), answer(401, b'Bearer error="invalid_token"')) is Verdict.RENEW
    assert scheme.judge(request(), answer(401, b'Bearer error="surprise"')) is Verdict.RENEW
    assert scheme.judge(request(), answer(401, b'Bearer error="insufficient_scope"')) is Verdict.PASS
    assert scheme.judge(request(), answer(403)) is Verdict.PASS


def test_an_error_of_another_scheme_says_nothing_about_a_bearer_token():
    mixed = answer(401, b'Bearer error="invalid_token", DPoP error="use_dpop_nonce"')
    assert BearerScheme().judge(request(), mixed) is Verdict.RENEW
