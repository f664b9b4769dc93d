"""A record's token on our clocks; how it is handed to the data path is tried with the manager."""

from __future__ import annotations

from support.clock import FakeClock

from proxy.tokens.store.token_store import Grant
from proxy.tokens.stored_token import FROM_STORE, held_token, token_of


def test_a_record_is_put_on_the_clocks_of_this_process():
    clock = FakeClock(wall=1000.0, elapsed=50.0)
    token = token_of(Grant(access_token="a", expires_at=1100.0, issued_at=900.0, lifetime=200.0), clock)
    assert (token.expires_elapsed, token.issued_elapsed) == (150.0, -50.0)
    assert token_of(Grant(), clock) is None
    assert token_of(Grant(fields=((b"X", b"y"),)), clock).fields == ((b"X", b"y"),)
    assert token_of(Grant(refresh_token="r"), clock) is None


def test_what_came_is_handed_on_exactly_as_it_came_if_it_is_what_was_saved():
    clock = FakeClock(wall=1000.0, elapsed=50.0)
    grant = Grant(access_token="a", expires_at=1100.0, issued_at=900.0, lifetime=200.0, generation=7)
    came = held_token(grant, clock, FROM_STORE, None)
    clock.suspend(10)
    again = held_token(grant, clock, came, None)
    assert (again.generation, again.issued_elapsed) == (7, came.issued_elapsed)
    assert held_token(Grant(access_token="b"), clock, came, None).access_token == "b"
    assert held_token(Grant(), clock, came, None) is None
