from __future__ import annotations

import math

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.model import Token
from proxy.tokens.lifetime import (
    LONGEST,
    Asked,
    LastStated,
    Life,
    dated,
    dated_ahead,
    end,
    ended,
    jwt_claims,
    life,
)

NOW = Asked(wall=1_800_000_000.0, elapsed=500.0)
SECRET = "a secret that is long enough for HS256"


def lived(token: str = "opaque", **said: object) -> Life:
    return life(NOW, token, assumed=300.0, **said)


@pytest.mark.parametrize("value", [3600, 3600.0, "3600", "3600.0", " 3600 ", "3.6e3"])
def test_expires_in_is_read_in_every_type_that_servers_send(value):
    """A10."""
    assert lived(expires_in=value) == Life(3600.0, stated=True)


@pytest.mark.parametrize("value", [None, "", "soon", True, False, [3600], {}, "nan", "inf", float("inf"), "1_0_x"])
def test_what_is_no_number_states_nothing(value):
    """A10."""
    assert lived(expires_in=value) == Life(300.0, stated=False)


def test_zero_and_less_are_stated():
    assert lived(expires_in=0) == Life(0.0, stated=True)
    assert lived(expires_in="-5") == Life(-5.0, stated=True)


@pytest.mark.parametrize("value", [2**31, 2**63, 10**40, "9" * 300])
def test_a_huge_lifetime_is_68_years(value):
    """A10."""
    assert lived(expires_in=value) == Life(LONGEST, stated=True)


@pytest.mark.parametrize(
    "value",
    [
        1_800_003_600,
        1_800_003_600.0,
        "1800003600",
        1_800_003_600_000,
        "1800003600000",
        "2027-01-15T09:00:00Z",
        "2027-01-15T09:00:00+00:00",
        "2027-01-15T10:00:00.000+01:00",
    ],
)
def test_a_point_in_time_is_read_as_seconds_milliseconds_or_rfc_3339(value):
    """A10."""
    assert lived(expires_at=value) == Life(3600.0, stated=True)


def test_a_date_may_stand_where_a_number_of_seconds_should():
    assert lived(expires_in="2027-01-15T09:00:00Z") == Life(3600.0, stated=True)


def test_expires_in_is_believed_before_a_point_in_time():
    assert lived(expires_in=60, expires_at=1_800_003_600).seconds == 60


def test_a_jwt_says_when_it_ends_if_nothing_else_does():
    token = jwt.encode({"exp": 1_800_001_000}, SECRET)
    assert lived(token) == Life(1000.0, stated=True)
    assert lived(token, expires_at=1_800_002_000).seconds == 2000
    assert lived(token, expires_in="") == Life(1000.0, stated=True)


def test_a_jwt_without_exp_states_nothing():
    assert lived(jwt.encode({"sub": "x"}, SECRET)) == Life(300.0, stated=False)


@pytest.mark.parametrize("token", ["a.b", "a.b.c", "..", "a.é.c", "a.W10.c", "a.IiI.c", "a." + "W" * 9999 + ".c"])
def test_what_only_looks_like_a_jwt_has_no_claims(token):
    assert jwt_claims(token) == {}


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.integers())))
def test_any_value_is_read_without_harm_and_never_lives_longer_than_68_years(value):
    for said in ({"expires_in": value}, {"expires_at": value}):
        result = lived(**said)
        assert result.seconds <= LONGEST
        assert math.isfinite(result.seconds)


@given(st.text(max_size=200))
def test_any_token_is_looked_into_without_harm(token):
    assert isinstance(jwt_claims(token), dict)


def test_the_last_lifetime_that_was_stated_is_assumed_from_then_on():
    last = LastStated()
    assert last.after(None, 77) == 77
    assert last.after(Token(access_token="a", lifetime=300.0), 77) == 77, "an assumption is no statement"
    assert last.after(Token(access_token="a", lifetime=900.0, expires_wall=9.0), 77) == 900
    assert last.after(Token(access_token="b", lifetime=300.0), 77) == 900


@pytest.mark.parametrize(
    ("wall", "elapsed", "ends"),
    [
        (0.0, 0.0, 1_800_003_600.0),
        (600.0, 600.0, 1_800_003_600.0),
        (-86400.0, 600.0, 1_800_000_000.0 - 86400 + 3000),  # stepped back after ten minutes
        (86400.0, 600.0, 1_800_003_600.0),  # stepped forward: the wall clock says so first
        (0.3, 0.9, 1_800_003_600.0),  # they drift
    ],
)
def test_the_end_of_a_token_is_what_the_first_of_the_clocks_says_on_the_clock_of_now(wall, elapsed, ends):
    token = Token(access_token="t", expires_wall=NOW.wall + 3600, expires_elapsed=NOW.elapsed + 3600)
    assert end(token, NOW.wall + wall, NOW.elapsed + elapsed) == pytest.approx(ends)


def test_a_token_without_a_stated_end_has_none():
    assert end(Token(access_token="t"), 1.0, 1.0) is None


@pytest.mark.parametrize(("ahead", "wrong"), [(-1e6, False), (0, False), (60, False), (60.5, True), (1e9, True)])
def test_what_lies_more_than_a_minute_ahead_was_dated_by_a_wrong_clock(ahead, wrong):
    assert dated_ahead(NOW.wall + ahead, NOW.wall) is wrong


def test_a_token_is_dated_on_both_clocks_from_when_it_was_asked_for():
    token = dated(Token(access_token="t", token_type="DPoP"), NOW, Life(60.0, stated=True))
    assert (token.access_token, token.token_type) == ("t", "DPoP")
    assert (token.issued_wall, token.issued_elapsed) == (NOW.wall, NOW.elapsed)
    assert (token.expires_wall, token.expires_elapsed, token.lifetime) == (NOW.wall + 60, NOW.elapsed + 60, 60.0)


def test_a_token_whose_lifetime_nobody_stated_has_no_end():
    token = dated(Token(access_token="t"), NOW, Life(300.0, stated=False))
    assert (token.expires_wall, token.expires_elapsed, token.lifetime) == (None, None, 300.0)


def test_a_token_that_had_ended_before_it_was_asked_for_has_no_lifetime():
    token = dated(Token(access_token="t"), NOW, Life(-5.0, stated=True))
    assert (token.expires_wall, token.lifetime) == (NOW.wall - 5, 0.0)


@pytest.mark.parametrize(
    ("wall", "elapsed", "expected"), [(59, 59, False), (60, 0, True), (0, 60, True), (60, 60, True)]
)
def test_a_token_has_ended_once_either_clock_says_so(wall, elapsed, expected):
    token = dated(Token(access_token="t"), NOW, Life(60.0, stated=True))
    assert ended(token, NOW.wall + wall, NOW.elapsed + elapsed) is expected


def test_a_token_without_a_stated_end_never_ends():
    assert not ended(dated(Token(access_token="t"), NOW, Life(60.0, stated=False)), math.inf, math.inf)
