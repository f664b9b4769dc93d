from __future__ import annotations

import pytest
from support.clock import FakeClock

from proxy.sandbox.ledger import Family, Ledger
from proxy.sandbox.refusal import Refusal


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def ledger(clock):
    return Ledger(clock)


def redeem(ledger, value, client_id="app", *, rotation=True, reuse_detection=True, grace=0.0):
    return ledger.redeem(value, client_id, rotation=rotation, reuse_detection=reuse_detection, grace=grace)


async def test_an_access_token_is_valid_until_the_second_in_which_it_expires(ledger, clock):
    ledger.record("t", Family("app", "app"), 10, None)
    await clock.advance(9.9)
    assert ledger.access("t") is not None
    await clock.advance(0.1)
    assert ledger.access("t") is None


def test_a_stepped_wall_clock_neither_ends_nor_prolongs_a_token(ledger, clock):
    ledger.record("t", Family("app", "app"), 10, None)
    clock.step_wall(1e6)
    assert ledger.access("t") is not None
    clock.step_wall(-2e6)
    clock.suspend(10)
    assert ledger.access("t") is None


def test_random_values_differ_and_fit_into_a_header(ledger):
    values = {ledger.random_value() for _ in range(100)}
    assert len(values) == 100
    assert all(len(value) == 43 and value.replace("-", "").replace("_", "").isalnum() for value in values)


def test_a_refresh_token_is_good_once_and_its_second_use_takes_the_whole_grant_along(ledger):
    family = Family("app", "user")
    first = ledger.mint_refresh(family)
    assert redeem(ledger, first) is family
    second = ledger.mint_refresh(family)
    ledger.record("t", family, 100, None)
    with pytest.raises(Refusal, match="used before") as refusal:
        redeem(ledger, first)
    assert (refusal.value.error, ledger.reuses) == ("invalid_grant", 1)
    assert ledger.access("t") is None
    with pytest.raises(Refusal, match="revoked"):
        redeem(ledger, second)


def test_without_reuse_detection_the_newer_refresh_token_survives(ledger):
    family = Family("app", "user")
    first = ledger.mint_refresh(family)
    redeem(ledger, first, reuse_detection=False)
    second = ledger.mint_refresh(family)
    with pytest.raises(Refusal):
        redeem(ledger, first, reuse_detection=False)
    assert redeem(ledger, second) is family


async def test_a_second_use_is_forgiven_within_the_grace_and_not_after(ledger, clock):
    family = Family("app", "user")
    first = ledger.mint_refresh(family)
    redeem(ledger, first, grace=30)
    await clock.advance(29.9)
    assert redeem(ledger, first, grace=30) is family
    await clock.advance(0.1)
    with pytest.raises(Refusal, match="used before"):
        redeem(ledger, first, grace=30)


def test_without_rotation_a_refresh_token_is_good_again_and_again(ledger):
    family = Family("app", "user")
    value = ledger.mint_refresh(family, "known beforehand")
    assert {redeem(ledger, value, rotation=False) for _ in range(5)} == {family}


def test_the_refresh_token_of_another_client_is_refused_and_stays_good(ledger):
    value = ledger.mint_refresh(Family("app", "user"))
    with pytest.raises(Refusal, match="unknown"):
        redeem(ledger, value, "other")
    assert ledger.refresh(value) is not None


def test_revoking_a_refresh_token_takes_its_access_tokens_along_and_spares_other_grants(ledger):
    mine, other = Family("app", "a"), Family("app", "b")
    value = ledger.mint_refresh(mine)
    ledger.record("mine", mine, 100, None)
    ledger.record("other", other, 100, None)
    ledger.revoke(value, "app")
    assert ledger.access("mine") is None
    assert ledger.access("other") is not None


def test_nobody_revokes_the_tokens_of_another_client(ledger):
    family = Family("app", "a")
    ledger.record("t", family, 100, None)
    value = ledger.mint_refresh(family)
    ledger.revoke("t", "other")
    ledger.revoke(value, "other")
    ledger.revoke("unknown", "app")
    assert ledger.access("t") is not None
    ledger.revoke("t", "app")
    assert ledger.access("t") is None


def test_access_tokens_can_be_revoked_alone_or_with_everything(ledger):
    family = Family("app", "a")
    value = ledger.mint_refresh(family)
    ledger.record("t", family, 100, None)
    assert ledger.revoke_access_tokens() == 1
    assert (ledger.access("t"), ledger.refresh(value) is not None) == (None, True)
    ledger.revoke_everything()
    assert ledger.refresh(value) is None


def test_no_token_is_shown_by_a_repr(ledger):
    family = Family("app", "a")
    assert "hush" not in repr(ledger.record("hush", family, 1, None))
    ledger.mint_refresh(family, "hush")
    assert "hush" not in repr(ledger.refresh("hush"))
