from __future__ import annotations

from email.utils import formatdate

import pytest
from support.signing import WALL, answer, moment, request

from proxy.auth.bearer import BearerScheme
from proxy.auth.dated import DatedScheme
from proxy.auth.query import QueryScheme
from proxy.auth.skew import ServerTime
from proxy.model import Token, Verdict

TOKEN = Token(access_token="t")


def dated(status: int, skew: float):
    return answer(status, fields=((b"Date", formatdate(WALL + skew, usegmt=True).encode()),))


@pytest.mark.parametrize("inner", [BearerScheme(), BearerScheme("X-Key", ""), QueryScheme("key")])
def test_it_signs_as_the_scheme_that_it_follows(inner):
    scheme = DatedScheme(inner, ServerTime(), lambda: WALL)
    assert scheme.sign(request(), TOKEN, moment()) == inner.sign(request(), TOKEN, moment())
    assert scheme.place(request(), TOKEN, moment()) == inner.place(request(), TOKEN, moment())
    for name in ("writes", "places", "parameters", "wants_body", "learns", "constant"):
        assert getattr(scheme, name) == getattr(inner, name)


@pytest.mark.parametrize("skew", [-600, 30])
def test_a_refusal_tells_the_time(skew):
    time = ServerTime()
    time.stamp(WALL)
    assert DatedScheme(BearerScheme(), time, lambda: WALL).judge(request(), dated(401, skew)) is Verdict.RENEW
    assert time.offset == skew


def test_other_answers_tell_nothing():
    time = ServerTime()
    time.stamp(WALL)
    for status in (200, 403, 404, 500):
        assert DatedScheme(BearerScheme(), time, lambda: WALL).judge(request(), dated(status, 600)) is Verdict.PASS
    assert time.offset == 0


def test_a_token_that_is_refused_in_its_old_age_tells_nothing_of_its_age():
    time = ServerTime()
    time.stamp(WALL - 500)
    assert DatedScheme(BearerScheme(), time, lambda: WALL).judge(request(), dated(401, 1)) is Verdict.RENEW
    assert (time.offset, time.stamp(WALL)) == (0, WALL)
