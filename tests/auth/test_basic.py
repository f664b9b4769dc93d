"""User name and password."""

from __future__ import annotations

import base64

from support.signing import answer, moment, request, token

from proxy.auth.basic import BasicScheme
from proxy.model import Verdict


def sign(login):
    return BasicScheme().sign(request(), token(login), moment())


def test_the_examples_of_rfc_7617():
    """Sections 2 and 2.1."""
    assert sign("Aladdin:open sesame") == [(b"Authorization", b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")]
    assert sign("test:123£") == [(b"Authorization", b"Basic dGVzdDoxMjPCow==")]


def test_a_password_may_hold_colons_and_controls():
    ((_, value),) = sign(":a:b\n")
    assert base64.b64decode(value.removeprefix(b"Basic ")) == b":a:b\n"


def test_a_401_asks_for_a_newer_login():
    assert BasicScheme().judge(request(), answer(401, b'Basic realm="x"')) is Verdict.RENEW
