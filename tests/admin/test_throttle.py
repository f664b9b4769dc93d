from __future__ import annotations

import tracemalloc

from support.clock import FakeClock

from proxy.admin.throttle import LIMIT, Throttle


def _exhaust(throttle, address="10.0.0.1", credential="crm"):
    assert [throttle.refuse(address, credential, exists=True) for _ in range(LIMIT)] == [None] * LIMIT


def test_ten_refusals_a_minute_are_few_and_the_eleventh_is_too_many():
    throttle = Throttle(FakeClock())
    _exhaust(throttle)

    assert throttle.refuse("10.0.0.1", "crm", exists=True) == 60.0


async def test_the_wait_is_told_and_then_one_more_is_few_again():
    clock = FakeClock()
    throttle = Throttle(clock)
    throttle.refuse("10.0.0.1", "crm", exists=True)
    await clock.advance(20)
    for _ in range(LIMIT - 1):
        throttle.refuse("10.0.0.1", "crm", exists=True)
    await clock.advance(15)

    assert throttle.refuse("10.0.0.1", "crm", exists=True) == 25.0
    await clock.advance(25)
    assert throttle.refuse("10.0.0.1", "crm", exists=True) is None
    assert throttle.refuse("10.0.0.1", "crm", exists=True) == 20.0


async def test_trying_on_while_limited_does_not_prolong_it():
    clock = FakeClock()
    throttle = Throttle(clock)
    _exhaust(throttle)
    for _ in range(59):
        await clock.advance(1)
        assert throttle.refuse("10.0.0.1", "crm", exists=True) is not None

    await clock.advance(1)

    assert throttle.refuse("10.0.0.1", "crm", exists=True) is None


def test_addresses_and_credentials_are_limited_apart():
    throttle = Throttle(FakeClock())
    _exhaust(throttle)

    assert throttle.refuse("10.0.0.2", "crm", exists=True) is None
    assert throttle.refuse("10.0.0.1", "erp", exists=True) is None
    assert throttle.refuse("10.0.0.1", "none", exists=False) is None


def test_names_that_do_not_exist_are_counted_like_others():
    """Else a count that another invented name has used up would tell which names exist."""
    throttle = Throttle(FakeClock())
    assert [throttle.refuse("10.0.0.1", "none", exists=False) for _ in range(LIMIT)] == [None] * LIMIT

    assert throttle.refuse("10.0.0.1", "none", exists=False) == 60.0
    assert throttle.refuse("10.0.0.1", "nobody", exists=False) is None


def test_inventing_names_makes_no_new_room():
    throttle = Throttle(FakeClock())
    _exhaust(throttle)
    for number in range(5_000):
        throttle.refuse("10.0.0.1", f"invented-{number}", exists=False)

    assert throttle.refuse("10.0.0.1", "crm", exists=True) is not None


def test_memory_is_bounded_however_many_addresses_try():
    throttle = Throttle(FakeClock())
    for number in range(5_000):
        throttle.refuse(f"warm-{number}", "crm", exists=True)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(20_000):
        throttle.refuse(f"more-{number}", "crm", exists=True)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    assert grown < 4_000_000


def test_a_stepped_wall_clock_lifts_no_limit():
    clock = FakeClock()
    throttle = Throttle(clock)
    _exhaust(throttle)
    clock.step_wall(3600)

    assert throttle.refuse("10.0.0.1", "crm", exists=True) is not None
