"""A value in a header field."""

from __future__ import annotations

import pytest
from support.signing import answer, moment, request, token

from proxy.auth.header import HeaderScheme, checked, field_name
from proxy.errors import ConfigurationError, CredentialRefused
from proxy.model import Verdict


def sign(scheme, value):
    return scheme.sign(request(), token(value), moment())


def test_the_value_goes_out_under_its_name_as_spelled():
    scheme = HeaderScheme("maven-Api-Key")
    assert sign(scheme, "k3y") == [(b"maven-Api-Key", b"k3y")]
    assert scheme.writes == (b"maven-api-key",)


def test_the_prefix_stands_before_the_value():
    assert sign(HeaderScheme("X-Auth", "Token "), "k") == [(b"X-Auth", b"Token k")]


def test_letters_beyond_ascii_go_out_as_utf_8():
    assert sign(HeaderScheme("X-Key"), "schlüssel") == [(b"X-Key", "schlüssel".encode())]


def test_a_new_token_object_is_sent_at_once_and_an_old_one_still_can_be():
    scheme = HeaderScheme("X-Key")
    old, new = token("old"), token("new")
    sent = [scheme.sign(request(), one, moment())[0][1] for one in (old, old, new, old)]
    assert sent == [b"old", b"old", b"new", b"old"]


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "a\x7fb", "a\x1bb"])
def test_a_value_that_would_break_the_head_is_refused_without_being_shown(value):
    with pytest.raises(CredentialRefused, match="control characters") as caught:
        sign(HeaderScheme("X-Key"), value)
    assert value not in str(caught.value)


def test_a_refused_value_leaves_the_scheme_usable():
    scheme = HeaderScheme("X-Key")
    bad = token("a\nb")
    for _ in range(2):
        with pytest.raises(CredentialRefused):
            scheme.sign(request(), bad, moment())
    assert sign(scheme, "good") == [(b"X-Key", b"good")]


def test_a_tab_inside_a_value_is_no_control():
    assert checked((b"a", b"b\tc")) == (b"a", b"b\tc")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "a\n", "Host", "Content-Length", "transfer-encoding", "TE"])
def test_what_no_credential_can_be_called_is_a_configuration_error(name):
    with pytest.raises(ConfigurationError, match="not the name of a header field"):
        field_name(name)


@pytest.mark.parametrize("name", [b"", b"a\r\nb", b"Content-Length", b"connection"])
def test_a_ready_made_field_that_would_bend_the_head_is_refused(name):
    with pytest.raises(CredentialRefused, match="cannot hold one"):
        checked((name, b"x"))


def test_a_prefix_that_would_break_the_head_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match="prefix"):
        HeaderScheme("X-Key", "a\r\n")


def test_the_target_stays_as_it_is():
    assert HeaderScheme("X-Key").place(one := request(), token(), moment()) is one


def test_a_401_asks_for_a_newer_value_and_nothing_else_does():
    scheme = HeaderScheme("X-Key")
    assert scheme.judge(request(), answer(401)) is Verdict.RENEW
    assert scheme.judge(request(), answer(403)) is Verdict.PASS
    assert scheme.judge(request(), answer(200)) is Verdict.PASS
