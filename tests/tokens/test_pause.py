from __future__ import annotations

import pytest
from support.clock import FakeClock

from proxy.errors import CredentialRefused, CredentialUnavailable
from proxy.tokens.pause import Pause


class Inputs:
    def __init__(self) -> None:
        self.changes = 0

    def __call__(self) -> int:
        return self.changes


def paused(fault, *, slowly=False, times=1):
    clock, inputs = FakeClock(), Inputs()
    pause = Pause(clock, inputs)
    for _ in range(times):
        pause.begin(fault, slowly=slowly)
    return pause, clock, inputs


def test_nothing_waits_at_first():
    pause = Pause(FakeClock(), int)
    pause.check()
    assert not pause.holds()
    assert pause.fault is None
    assert pause.next_look(17.0) == 17.0


async def test_an_unavailable_issuer_is_asked_again_soon_then_later():
    pause, clock, _ = paused(CredentialUnavailable("down"))
    assert pause.holds()
    await clock.advance(1)
    assert not pause.holds()
    assert pause.begin(CredentialUnavailable("down"), slowly=False) == 2


async def test_everyone_fails_fast_meanwhile_and_is_told_how_long():
    pause, clock, _ = paused(CredentialUnavailable("down", retry_after=90))
    await clock.advance(30)
    with pytest.raises(CredentialUnavailable, match="down") as caught:
        pause.check()
    assert caught.value.retry_after == 60


def test_a_refusal_is_held_for_a_minute():
    pause, clock, _ = paused(CredentialRefused("no"))
    assert pause.until == clock.elapsed() + 60
    with pytest.raises(CredentialRefused, match="no"):
        pause.check()


def test_an_unreachable_issuer_in_between_starts_the_refusals_anew():
    pause, _, _ = paused(CredentialRefused("no"), times=3)
    pause.begin(CredentialUnavailable("down"), slowly=False)
    assert pause.begin(CredentialRefused("no"), slowly=False) == 60


def test_where_each_attempt_may_do_harm_they_are_rare():
    pause, _, _ = paused(CredentialUnavailable("lost"), slowly=True, times=2)
    assert pause.begin(CredentialUnavailable("lost"), slowly=True) == 240


def test_a_changed_secret_ends_the_waiting():
    pause, _, inputs = paused(CredentialRefused("no"))
    inputs.changes += 1
    assert not pause.holds()
    pause.check()


def test_during_a_refusal_the_secrets_are_looked_at_every_few_seconds():
    pause, clock, _ = paused(CredentialRefused("no"))
    assert pause.next_look(0.0) == clock.elapsed() + 5
    pause, clock, _ = paused(CredentialUnavailable("down"), times=6)
    assert pause.next_look(0.0) == clock.elapsed() + 32


def test_lifting_lets_one_attempt_through_and_forgets_nothing():
    pause, _, _ = paused(CredentialRefused("no"))
    pause.lift()
    assert not pause.holds()
    assert pause.fault is not None
    assert pause.begin(CredentialRefused("no"), slowly=False) == 120


def test_a_success_forgets_everything():
    pause, _, _ = paused(CredentialRefused("no"), times=4)
    pause.end()
    assert pause.fault is None
    assert pause.begin(CredentialRefused("no"), slowly=False) == 60
