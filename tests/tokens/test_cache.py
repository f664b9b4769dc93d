from __future__ import annotations

import time
import timeit

from support.clock import FakeClock

from proxy.clock import SystemClock
from proxy.model import Token
from proxy.tokens.cache import TokenCache


def token(clock: FakeClock, lifetime: float | None, name: str = "t") -> Token:
    return Token(
        access_token=name,
        expires_wall=None if lifetime is None else clock.wall() + lifetime,
        expires_elapsed=None if lifetime is None else clock.elapsed() + lifetime,
        lifetime=lifetime or 300.0,
    )


async def test_every_token_ends_at_its_own_moment():
    clock = FakeClock()
    cache = TokenCache(clock)
    cache.put("a", token(clock, 100))
    cache.put("b", token(clock, 10))
    await clock.advance(8.9)
    assert cache.get("b") is not None
    await clock.advance(0.1)
    assert cache.get("b") is None
    assert cache.get("a") is not None
    await clock.advance(86)
    assert cache.get("a") is None


async def test_a_suspended_machine_wakes_up_without_its_tokens():
    """A8."""
    clock = FakeClock()
    cache = TokenCache(clock)
    cache.put("a", token(clock, 100))
    clock.suspend(3600)
    assert cache.get("a") is None


async def test_a_wall_clock_stepped_forward_ends_tokens_and_one_stepped_back_keeps_none_alive():
    clock = FakeClock()
    cache = TokenCache(clock)
    cache.put("a", token(clock, 100))
    clock.step_wall(95)
    assert cache.get("a") is None
    clock.step_wall(-5000)
    assert cache.get("a") is not None
    await clock.advance(95)
    assert cache.get("a") is None


async def test_a_token_without_a_stated_end_stays():
    clock = FakeClock()
    cache = TokenCache(clock)
    cache.put("a", token(clock, None))
    await clock.advance(1e9)
    assert cache.get("a") is not None


async def test_a_newer_token_takes_the_place_even_if_it_ends_sooner():
    clock = FakeClock()
    cache = TokenCache(clock)
    cache.put("a", token(clock, 1000, "old"))
    cache.put("a", token(clock, 100, "new"))
    assert cache.get("a").access_token == "new"
    await clock.advance(96)
    assert cache.get("a") is None


async def test_a_token_that_has_ended_takes_the_place_of_one_that_has_not():
    clock = FakeClock()
    cache = TokenCache(clock)
    cache.put("a", token(clock, 1000, "old"))
    cache.put("a", token(clock, -1, "new"))
    assert cache.get("a") is None


async def test_the_cache_is_bounded_and_forgets_what_was_used_least():
    clock = FakeClock()
    cache = TokenCache(clock, maxsize=2)
    for name in ("a", "b"):
        cache.put(name, token(clock, 100, name))
    cache.get("a")
    cache.put("c", token(clock, 100, "c"))
    assert len(cache) == 2
    assert cache.get("b") is None
    assert cache.get("a") is not None


async def test_a_dropped_token_is_gone():
    clock = FakeClock()
    cache = TokenCache(clock)
    cache.put("a", token(clock, 100))
    cache.drop("a")
    cache.drop("a")
    assert cache.get("a") is None


def test_a_token_is_found_within_microseconds():
    """The hot path. The bound is loose, for loaded machines; the bench has the figures."""
    clock = SystemClock()
    cache = TokenCache(clock)
    cache.put("a", Token(access_token="t", expires_wall=clock.wall() + 99, expires_elapsed=clock.elapsed() + 99))
    assert cache.get("a") is not None
    taken = timeit.repeat(lambda: cache.get("a"), timer=time.process_time, number=2000, repeat=10)
    assert min(taken) / 2000 < 5e-5
