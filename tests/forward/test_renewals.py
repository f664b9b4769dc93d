from __future__ import annotations

from proxy.forward.renewals import Renewals


def test_a_renewed_token_that_is_refused_too_stops_renewals_for_thirty_seconds_doubling_to_ten_minutes():
    renewals = Renewals()
    now, pauses = 0.0, []
    for _ in range(8):
        assert renewals.allowed(now)
        renewals.refused_again(now)
        start = now
        while not renewals.allowed(now):
            now += 1.0
        pauses.append(now - start)
    assert pauses == [30, 60, 120, 240, 480, 600, 600, 600]


def test_a_burst_of_refusals_lengthens_the_pause_once():
    renewals = Renewals()
    for late in range(10):
        renewals.refused_again(late * 0.1)
    assert not renewals.allowed(29.9)
    assert renewals.allowed(30.0)


def test_one_success_forgets_everything():
    renewals = Renewals()
    renewals.refused_again(0.0)
    renewals.refused_again(31.0)
    renewals.succeeded()
    assert renewals.allowed(31.1)
    renewals.refused_again(32.0)
    assert renewals.allowed(62.0)
