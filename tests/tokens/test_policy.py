from __future__ import annotations

import email.utils

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.config.schema import Duration, Refresh
from proxy.tokens.policy import due_after, push_awaited, repeat_after, requested_pause, retry_after, usable_for

lifetimes = st.floats(min_value=0.01, max_value=1e9)
chances = st.floats(min_value=0, max_value=1, exclude_max=True)
settings = st.builds(
    Refresh,
    at=st.floats(min_value=0.01, max_value=1),
    before=st.floats(min_value=0, max_value=1e6).map(Duration),
    jitter=st.floats(min_value=0, max_value=1),
)


@pytest.mark.parametrize(
    ("lifetime", "due"),
    [
        (3600, 3240),  # 0.9 of it comes before 60 s from its end
        (300, 240),  # 60 s before its end come first
        (120, 60),
        (60, 30),  # the 60 s would be all of it: no more than half
        (10, 5),
    ],
)
def test_renewal_is_due_at_the_earlier_of_a_share_and_a_rest_of_at_most_half(lifetime, due):
    """A2."""
    assert due_after(lifetime, Refresh(), 0.0) == pytest.approx(due)


def test_jitter_takes_off_up_to_its_share():
    assert due_after(3600, Refresh(), 0.5) == pytest.approx(3240 * 0.95)
    assert due_after(3600, Refresh(jitter=0.0), 0.99) == pytest.approx(3240)


@given(lifetimes, settings, chances)
def test_jitter_only_ever_moves_the_renewal_earlier(lifetime, refresh, chance):
    """A2."""
    assert 0 <= due_after(lifetime, refresh, chance) <= due_after(lifetime, refresh, 0.0)


@given(lifetimes, settings, chances)
def test_renewal_is_never_due_after_the_expiry(lifetime, refresh, chance):
    assert due_after(lifetime, refresh, chance) <= lifetime


@given(lifetimes, st.builds(Refresh, before=st.floats(min_value=0, max_value=1e9).map(Duration)))
def test_no_setting_of_before_takes_more_than_half_of_the_life(lifetime, refresh):
    """A2."""
    assert due_after(lifetime, refresh, 0.0) >= min(0.5, refresh.at) * lifetime * 0.999


def test_a_token_is_not_handed_out_in_its_last_five_seconds_or_tenth():
    assert usable_for(3600) == 3595
    assert usable_for(50) == 45
    assert usable_for(10) == 9
    assert usable_for(0) == 0


@given(lifetimes)
def test_a_token_is_usable_after_its_renewal_is_due(lifetime):
    """A1."""
    assert due_after(lifetime, Refresh(), 0.0) <= usable_for(lifetime)


def test_a_renewal_without_more_life_is_repeated_after_half_of_what_is_left_but_not_soon():
    assert repeat_after(600) == 300
    assert repeat_after(10) == 30
    assert repeat_after(-5) == 30


def test_retry_after_is_read_as_seconds_or_as_a_date():
    """A4."""
    now = 1_800_000_000.0
    assert retry_after("120", now) == 120
    assert retry_after(" 7 ", now) == 7
    assert retry_after(email.utils.formatdate(now + 90, usegmt=True), now) == 90
    assert retry_after("Fri, 15 Jan 2027 08:01:30 -0000", now) == 90


@pytest.mark.parametrize("value", [None, "", "soon", "-5", "1.5", "²", "Fri, 32 Jan 2027 08:00:00 GMT", "\x00"])
def test_nonsense_in_retry_after_asks_for_nothing(value):
    assert retry_after(value, 1_800_000_000.0) == 0
    assert requested_pause(value, 1_800_000_000.0) is None


def test_no_time_at_all_is_a_time_that_was_named():
    assert requested_pause("0", 1_800_000_000.0) == 0
    assert requested_pause("Wed, 21 Oct 2015 07:28:00 GMT", 1_800_000_000.0) == 0


def test_a_date_in_the_past_and_endless_digits_do_no_harm():
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT", 1_800_000_000.0) == 0
    assert retry_after("9" * 5000, 0.0) == 999_999_999


@given(st.text(max_size=60))
def test_retry_after_reads_any_text_without_harm(value):
    assert retry_after(value, 1_800_000_000.0) >= 0


def test_a_push_is_awaited_as_long_as_it_may_be_where_there_was_one_before():
    assert push_awaited(10.0, before=True) == 10.0
    assert push_awaited(10.0, before=False) == 1.0
    assert push_awaited(0.5, before=False) == 0.5
