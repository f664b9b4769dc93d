from __future__ import annotations

import pytest
from support.clock import FakeClock

from proxy.config.schema import Refresh
from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.model import Token
from proxy.tokens.attempts import Attempts, fingerprint
from proxy.tokens.cache import TokenCache
from proxy.tokens.held_token import HeldToken
from proxy.tokens.issuer_errors import ReplyLost


def reported(token, *, error=None, clock=None, attempts=None, due=2000.0, generation=3):
    clock = clock or FakeClock()
    held_token = HeldToken(clock, TokenCache(clock), Refresh(jitter=0.0))
    held_token.take(token)
    attempts = attempts or Attempts()
    return attempts.report(held_token, error, clock, due=due, generation=generation)


def token(lifetime: float, age: float = 0.0) -> Token:
    clock = FakeClock()
    return Token(
        access_token="t",
        expires_wall=clock.wall() + lifetime - age,
        expires_elapsed=clock.elapsed() + lifetime - age,
        lifetime=lifetime,
        issued_elapsed=clock.elapsed() - age,
        generation=3,
    )


@pytest.mark.parametrize(
    ("held", "error", "state"),
    [
        (None, CredentialRefused("no"), "empty"),
        (token(100, age=100), CredentialRefused("no"), "expired"),
        (token(100, age=90), CredentialRefused("no"), "failing"),
        (token(100, age=90), None, "stale"),
        (token(100), None, "fresh"),
        (Token(access_token="", fields=((b"X", b"y"),), issued_elapsed=1000.0), None, "fresh"),
    ],
)
def test_the_first_state_that_applies_is_told(held, error, state):
    assert reported(held, error=error).state == state


def test_moments_are_told_in_epoch_seconds():
    report = reported(token(3600), generation=7)
    assert report.expires_at == 1_800_003_600
    assert report.refresh_at == 1_800_001_000
    assert report.generation == 7
    assert reported(None, due=float("inf")).refresh_at is None
    assert reported(None).expires_at is None


def test_attempts_are_counted_by_result():
    attempts = Attempts()
    attempts.succeeded(10.0, 0.2)
    attempts.failed(CredentialUnavailable("down"), 20.0, 0.1)
    attempts.failed(ReplyLost("lost"), 30.0, 0.1)
    attempts.failed(CredentialRefused("no"), 40.0, 0.1)
    report = reported(None, attempts=attempts, error=CredentialRefused("no"))
    assert report.refreshes == {"success": 1, "unavailable": 2, "refused": 1}
    assert report.last_refresh == 10.0
    assert report.last_error == "no"
    assert report.history == ((10.0, True), (20.0, False), (30.0, False), (40.0, False))
    assert sum(report.durations.buckets) == 4
    assert report.attempted


def test_the_history_is_short():
    attempts = Attempts()
    for second in range(100):
        attempts.succeeded(float(second), 0.1)
    assert len(reported(None, attempts=attempts).history) == 30


def test_a_fingerprint_tells_tokens_apart_and_gives_nothing_away():
    one, two = (fingerprint(Token(access_token=name)) for name in ("one", "two"))
    assert one != two
    assert one == fingerprint(Token(access_token="one"))
    assert len(one) == 8
    assert int(one, 16) >= 0
    assert fingerprint(None) is None
    assert fingerprint(Token(access_token="")) is None
