"""User name and password."""

from __future__ import annotations

import base64

import pytest
from support.signing import answer, moment, request, token

from proxy.auth.basic import BasicScheme
from proxy.errors import ConfigurationError
from proxy.model import Verdict


def sign(scheme, password):
    return scheme.sign(request(), token(password), moment())


def test_the_examples_of_rfc_7617():
    """Sections 2 and 2.1."""
    assert sign(BasicScheme("Aladdin"), "open sesame") == [(b"Authorization", b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")]
    assert sign(BasicScheme("test"), "123£") == [(b"Authorization", b"Basic dGVzdDoxMjPCow==")]


def test_a_password_may_hold_colons_and_controls():
    ((_, value),) = sign(BasicScheme(""), "a:b\n")
    assert base64.b64decode(value.removeprefix(b"Basic ")) == b":a:b\n"


@pytest.mark.parametrize(("name", "why"), [("a:b", "colon"), ("a\nb", "control"), ("a\x7f", "control")])
def test_a_user_name_that_the_scheme_cannot_carry_is_a_configuration_error(name, why):
    with pytest.raises(ConfigurationError, match=why):
        BasicScheme(name)


def test_a_401_asks_for_a_newer_password():
    assert BasicScheme("a").judge(request(), answer(401, b'Basic realm="x"')) is Verdict.RENEW
