from __future__ import annotations

import math

import pytest

from proxy.errors import CredentialError, CredentialRefused, CredentialUnavailable
from proxy.tokens.issuer_errors import ReplyUnreadable
from proxy.tokens.renewal_pause import NONE, RenewalPause

NOW = 1000.0


def unchanged() -> int:
    return 0


def paused(error: CredentialError, *, slowly: bool = False, times: int = 1) -> RenewalPause:
    pause = NONE
    for _ in range(times):
        pause = pause.after(error, NOW, 0.0, 0, slowly=slowly)
    return pause


def test_nothing_waits_at_first():
    NONE.check(NOW, unchanged)
    assert not NONE.holds(NOW, unchanged)
    assert NONE.error is None
    assert NONE.next_look(17.0, NOW) == 17.0


def test_an_unavailable_issuer_is_asked_again_soon_then_later():
    pause = paused(CredentialUnavailable("down"))
    assert pause.holds(NOW, unchanged)
    assert not pause.holds(NOW + 1, unchanged)
    assert paused(CredentialUnavailable("down"), times=2).until == NOW + 2


def test_chance_shortens_the_wait_for_an_unavailable_issuer():
    assert NONE.after(CredentialUnavailable("down"), NOW, 0.75, 0, slowly=False).until == NOW + 0.25


def test_everyone_fails_fast_meanwhile_and_is_told_how_long():
    pause = paused(CredentialUnavailable("down", retry_after=8))
    with pytest.raises(CredentialUnavailable, match="down") as caught:
        pause.check(NOW + 3, unchanged)
    assert caught.value.retry_after == 5
    pause.check(NOW + 8, unchanged)


@pytest.mark.parametrize(
    "pause",
    [
        paused(CredentialUnavailable("down", retry_after=90)),
        paused(CredentialUnavailable("down"), times=9),
        paused(ReplyUnreadable("garbage"), times=9),
    ],
)
def test_a_request_that_wants_the_token_waits_ten_seconds_at_most_where_the_pause_may_pass(pause):
    with pytest.raises(CredentialUnavailable) as caught:
        pause.check(NOW + 9.5, unchanged)
    assert caught.value.retry_after == 1
    pause.check(NOW + 10, unchanged)
    assert pause.holds(NOW + 59, unchanged), "without requests there is no hurry"


def test_a_request_does_not_shorten_what_is_held():
    for pause in (paused(CredentialRefused("no"), times=4), paused(CredentialUnavailable("lost"), slowly=True)):
        with pytest.raises(CredentialError):
            pause.check(NOW + 39, unchanged)


def test_a_refusal_that_brought_what_was_missing_is_not_held():
    """A DPoP nonce that changes with every answer."""
    refused = CredentialRefused("invalid_client")
    refused.passing = True
    pause = paused(refused)
    assert pause.until == NOW + 1
    with pytest.raises(CredentialRefused, match="invalid_client"):
        pause.check(NOW, unchanged)
    assert paused(refused, times=9).until == NOW + 60
    paused(refused, times=9).check(NOW + 10, unchanged)


def test_a_refusal_is_held_for_five_seconds_at_first():
    pause = paused(CredentialRefused("no"))
    assert pause.until == NOW + 5
    with pytest.raises(CredentialRefused, match="no"):
        pause.check(NOW, unchanged)


def test_an_unreachable_issuer_in_between_starts_the_refusals_anew():
    pause = paused(CredentialRefused("no"), times=3)
    pause = pause.after(CredentialUnavailable("down"), NOW, 0.0, 0, slowly=False)
    assert pause.after(CredentialRefused("no"), NOW, 0.0, 0, slowly=False).until == NOW + 5


def test_where_each_attempt_may_do_harm_they_are_rare():
    assert paused(CredentialUnavailable("lost"), slowly=True, times=3).until == NOW + 240


def test_a_changed_secret_ends_the_waiting():
    pause = paused(CredentialRefused("no"))
    assert not pause.holds(NOW, lambda: 1)
    pause.check(NOW, lambda: 1)


def test_secrets_are_not_looked_at_where_nothing_waits():
    def look() -> int:
        pytest.fail("looked")

    assert not NONE.holds(NOW, look)
    NONE.check(NOW, look)


def test_during_a_refusal_the_secrets_are_looked_at_every_few_seconds():
    assert paused(CredentialRefused("no"), times=3).next_look(0.0, NOW) == NOW + 5
    assert paused(CredentialUnavailable("down"), times=6).next_look(0.0, NOW) == NOW + 32


def test_lifting_lets_one_attempt_through_and_forgets_nothing():
    pause = paused(CredentialRefused("no")).lifted()
    assert pause.until == -math.inf
    assert not pause.holds(NOW, unchanged)
    assert pause.error is not None
    assert pause.by_hand
    pause.check(NOW, unchanged)
    again = pause.after(CredentialRefused("no"), NOW, 0.0, 0, slowly=False)
    assert (again.until, again.by_hand) == (NOW + 10, False)
