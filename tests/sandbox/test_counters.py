from __future__ import annotations

import pytest

from proxy.sandbox.counters import Concurrent, Counters


def test_the_most_at_once_is_remembered_after_they_are_gone():
    count = Concurrent()
    with count.one():
        with count.one(), count.one():
            pass
        with count.one():
            pass
    assert (count.total, count.now, count.most) == (4, 0, 3)


def test_a_request_that_fails_is_no_longer_in_progress():
    count = Concurrent()
    with pytest.raises(ValueError, match="x"), count.one():
        raise ValueError("x")
    assert count.now == 0


def test_grants_and_refusals_are_counted_by_name():
    counters = Counters()
    counters.granted("password")
    counters.granted("password")
    counters.refused("invalid_grant")
    assert (counters.grants, counters.refusals) == ({"password": 2}, {"invalid_grant": 1})
