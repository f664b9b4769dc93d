from __future__ import annotations

import asyncio
import time
import types

import pytest
from support.clock import FakeClock, settle

from proxy import clock as module
from proxy.clock import SystemClock, WakeableSleep


def test_the_wall_clock_is_the_machine_s():
    assert SystemClock.wall() == pytest.approx(time.time(), abs=5)


def test_the_elapsed_clock_counts_through_a_suspend_where_the_system_has_such_a_clock():
    which = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    before = time.clock_gettime(which)
    assert before <= SystemClock.elapsed() <= time.clock_gettime(which)


def test_chance_is_a_number_from_0_to_below_1_and_changes():
    drawn = [SystemClock.chance() for _ in range(100)]
    assert all(0 <= number < 1 for number in drawn)
    assert len(set(drawn)) > 90


def test_octets_are_as_many_as_asked_for_and_never_the_same():
    assert len(SystemClock.octets(20)) == 20
    assert len({SystemClock.octets(16) for _ in range(100)}) == 100


class Slept:
    """`asyncio` as the clock sees it: naps return at once, and the elapsed clock moves as the test says."""

    def __init__(self, monkeypatch, moves):
        self.naps: list[float] = []
        self.now = 1000.0
        self._moves = iter(moves)
        monkeypatch.setattr(module, "asyncio", types.SimpleNamespace(sleep=self._sleep))
        monkeypatch.setattr(SystemClock, "elapsed", staticmethod(lambda: self.now))

    async def _sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += next(self._moves, seconds)


async def test_a_long_sleep_is_many_short_ones_so_that_a_suspended_machine_wakes_on_time(monkeypatch):
    slept = Slept(monkeypatch, moves=[])
    await SystemClock().sleep(100)
    assert slept.naps == [30, 30, 30, 10]
    assert slept.now == 1100


async def test_a_suspend_during_a_sleep_counts_as_time_slept(monkeypatch):
    slept = Slept(monkeypatch, moves=[3600])
    await SystemClock().sleep(100)
    assert slept.naps == [30]


async def test_a_timer_that_fires_early_is_slept_to_its_end(monkeypatch):
    slept = Slept(monkeypatch, moves=[9.5])
    await SystemClock().sleep(10)
    assert slept.naps == [10, 0.5]


@pytest.mark.parametrize("seconds", [0, -5])
async def test_no_time_to_sleep_is_no_sleep(monkeypatch, seconds):
    slept = Slept(monkeypatch, moves=[])
    await SystemClock().sleep(seconds)
    assert slept.naps == []


async def test_a_real_sleep_returns_once_that_time_has_passed():
    before = SystemClock.elapsed()
    async with asyncio.timeout(30):
        await SystemClock().sleep(0.02)
    assert SystemClock.elapsed() - before >= 0.02


async def test_a_sleep_lasts_as_long_as_it_is_told_to_unless_it_is_woken():
    clock = FakeClock()
    pause = WakeableSleep(clock)
    pause.wake()
    slept = asyncio.create_task(pause.sleep(10))
    await clock.advance(9)
    assert not slept.done()
    await clock.advance(1)
    await slept
    woken = asyncio.create_task(pause.sleep(10))
    await settle()
    pause.wake()
    await woken
    assert clock.sleeping == 0


async def test_a_sleeper_that_is_cancelled_leaves_no_timer_behind():
    clock = FakeClock()
    sleeper = asyncio.create_task(WakeableSleep(clock).sleep(10))
    await settle()
    sleeper.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeper
    await settle()
    assert clock.sleeping == 0


async def test_a_clock_that_fails_is_no_sleep_without_rest():
    class Failing(FakeClock):
        async def sleep(self, seconds: float) -> None:  # noqa: ARG002 - the interface
            raise OSError("no clock")

    with pytest.raises(OSError, match="no clock"):
        await WakeableSleep(Failing()).sleep(10)
