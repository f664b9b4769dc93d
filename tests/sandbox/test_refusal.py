from __future__ import annotations

from proxy.sandbox.refusal import Refusal, invalid_client


def test_a_refusal_is_a_400_unless_it_says_otherwise():
    refusal = Refusal("invalid_scope", "no such scope")
    assert (refusal.error, refusal.status, str(refusal), refusal.headers) == ("invalid_scope", 400, "no such scope", ())


def test_a_client_that_tried_basic_is_challenged_with_basic():
    assert invalid_client("wrong", basic=True).headers == (("WWW-Authenticate", 'Basic realm="sandbox"'),)
    assert invalid_client("wrong").headers == ()
    assert invalid_client("wrong").status == 401
