from __future__ import annotations

import gc

import pytest

from proxy.forward.renewal_hold import Renewal, RenewalHold, RouteRenewals
from proxy.model import Token


def token(generation: int, value: str = "") -> Token:
    return Token(access_token=value or f"at-{generation}", generation=generation)


def allowed(renewal_hold: RenewalHold, refused: Token, now: float) -> bool:
    """Whether a refusal leads to a renewal; if one of ours brought the token, the hold begins."""
    renewal = renewal_hold.renewal(refused, now)
    if renewal is Renewal.FUTILE:
        renewal_hold.refused_again(refused, now)
    return renewal is Renewal.ALLOWED


def test_a_renewed_token_that_is_refused_too_stops_renewals_for_thirty_seconds_doubling_to_ten_minutes():
    renewal_hold = RenewalHold()
    now, pauses = 0.0, []
    for generation in range(8):
        assert allowed(renewal_hold, token(generation), now)
        renewal_hold.refused_again(token(generation + 1), now)
        start = now
        while not allowed(renewal_hold, token(generation + 1), now):
            now += 1.0
        pauses.append(now - start)
    assert pauses == [30, 60, 120, 240, 480, 600, 600, 600]


def test_a_burst_of_refusals_lengthens_the_pause_once():
    renewal_hold = RenewalHold()
    for late in range(10):
        renewal_hold.refused_again(token(2), late * 0.1)
    assert not allowed(renewal_hold, token(2), 29.9)
    assert allowed(renewal_hold, token(2), 30.0)


def test_one_accepted_token_forgets_everything():
    renewal_hold = RenewalHold()
    renewal_hold.refused_again(token(2), 0.0)
    renewal_hold.refused_again(token(3), 31.0)
    assert renewal_hold.accepted(token(3))
    assert allowed(renewal_hold, token(3), 31.1)
    renewal_hold.refused_again(token(4), 32.0)
    assert allowed(renewal_hold, token(4), 62.0)


@pytest.mark.parametrize(("generation", "ends"), [(1, False), (2, True), (3, True)])
def test_only_the_refused_token_or_a_newer_one_ends_the_hold(generation, ends):
    renewal_hold = RenewalHold()
    renewal_hold.refused_again(token(2), 0.0)
    assert renewal_hold.accepted(token(generation)) is ends
    assert allowed(renewal_hold, token(2), 1.0) is ends
    assert renewal_hold.watching is not ends


def test_a_token_that_a_renewal_of_this_route_brought_begins_the_hold_when_it_is_refused():
    renewal_hold = RenewalHold()
    renewal_hold.brought(token(2), 0.0)
    assert allowed(renewal_hold, token(1), 1.0), "a late refusal of the one before says nothing"
    assert not allowed(renewal_hold, token(2), 1.0)
    assert not allowed(renewal_hold, token(2), 30.9)
    assert allowed(renewal_hold, token(2), 31.0)


def test_to_ask_changes_nothing():
    renewal_hold = RenewalHold()
    renewal_hold.brought(token(2), 0.0)
    assert [renewal_hold.renewal(token(2), 1.0) for _ in range(3)] == [Renewal.FUTILE] * 3
    renewal_hold.refused_again(token(2), 1.0)
    assert [renewal_hold.renewal(token(2), 2.0) for _ in range(3)] == [Renewal.HELD] * 3
    assert renewal_hold.renewal(token(2), 31.0) is Renewal.ALLOWED


def test_once_it_was_accepted_a_refusal_later_on_is_an_ordinary_one():
    renewal_hold = RenewalHold()
    renewal_hold.brought(token(2), 0.0)
    assert renewal_hold.accepted(token(2))
    assert not renewal_hold.watching
    assert allowed(renewal_hold, token(2), 1.0)


def test_a_token_that_nobody_sent_for_long_is_not_held_against_the_route():
    renewal_hold = RenewalHold()
    renewal_hold.brought(token(2), 0.0)
    assert allowed(renewal_hold, token(2), 600.0)


def test_tokens_without_a_generation_are_told_apart_by_what_they_are():
    renewal_hold = RenewalHold()
    renewal_hold.brought(token(0, "new"), 0.0)
    assert allowed(renewal_hold, token(0, "old"), 1.0)
    assert not allowed(renewal_hold, token(0, "new"), 1.0)


class Caller:
    """Stands for one."""


def test_each_caller_has_a_hold_of_its_own_and_it_goes_with_the_caller():
    route = RouteRenewals()
    assert not route.watching
    one, other = Caller(), Caller()
    route.refused_again(one, token(2), 0.0)
    route.brought(other, token(7), 0.0)
    assert not allowed(route.of(one), token(2), 1.0)
    assert allowed(route.of(None), token(2), 1.0)
    route.answered(other, token(7), 200)
    assert route.watching, "the first one still waits"
    del one
    gc.collect()
    route.refused_again(other, token(8), 2.0)
    route.answered(other, token(8), 200)
    assert not route.watching


@pytest.mark.parametrize(
    ("status", "accepted"),
    [(101, True), (200, True), (204, True), (304, True), (400, False), (403, False), (429, False), (503, False)],
)
def test_only_an_answer_that_cannot_come_before_the_token_was_looked_at_says_that_it_was_accepted(status, accepted):
    route = RouteRenewals()
    route.refused_again(None, token(2), 0.0)
    route.answered(None, token(2), status)
    assert route.watching is not accepted
    assert allowed(route.of(None), token(2), 1.0) is accepted
