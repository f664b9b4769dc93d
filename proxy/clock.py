"""Time and chance behind one door.

Two clocks, because either may lie: the wall clock is stepped by operators and NTP; the elapsed clock never goes back
and counts through a suspend (CLOCK_BOOTTIME, which `time.monotonic` does not on Linux). A third one stands still with
the machine, as its connections and the event loop's timers do: the deadlines of connections are kept in it.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from functools import partial
from typing import Protocol

_LONGEST_NAP = 30.0
"""Event loop timers stand still while a machine is suspended: the clock is read again after this many seconds."""

_ELAPSED_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """What the program may know about time and chance."""

    def wall(self) -> float:
        """Seconds since the epoch; may be stepped either way."""

    def elapsed(self) -> float:
        """Seconds since some start, never going back, counting while the machine is suspended."""

    def monotonic(self) -> float:
        """Seconds since some start, never going back, standing still while the machine is suspended."""

    def chance(self) -> float:
        """A number from [0, 1), for jitter."""

    def octets(self, count: int) -> bytes:
        """That many unpredictable octets, for nonces and keys."""

    async def sleep(self, seconds: float) -> None:
        """Return once `elapsed` has moved on by that much."""


class SystemClock:
    """The machine's own clocks and its source of randomness."""

    # The system's own functions: every request reads all three, and a function of ours around each costs as much again.
    wall = staticmethod(time.time)
    elapsed = staticmethod(partial(time.clock_gettime, _ELAPSED_CLOCK))
    monotonic = staticmethod(time.monotonic)

    @staticmethod
    def chance() -> float:
        """Jitter needs no cryptographic quality."""
        return random.random()  # noqa: S311 - spreads load, guards nothing

    @staticmethod
    def octets(count: int) -> bytes:
        """From the system's generator."""
        return os.urandom(count)

    async def sleep(self, seconds: float) -> None:
        """Nap in bounded pieces, so that a suspended machine wakes up to the right time."""
        until = self.elapsed() + seconds
        while (left := until - self.elapsed()) > 0:  # noqa: ASYNC110 - time itself is waited for, not an event
            await asyncio.sleep(min(left, _LONGEST_NAP))


class WakeableSleep:
    """A sleep that somebody else in the same event loop may cut short; one at a time."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    async def sleep(self, seconds: float) -> None:
        """Return after that time, or once `wake` is called. Raises what the clock raises."""
        task = self._task = asyncio.get_running_loop().create_task(self._clock.sleep(seconds))
        try:
            await asyncio.wait((task,))
            if not task.cancelled():
                task.result()
        finally:
            task.cancel()
            self._task = None

    def wake(self) -> None:
        """Cut the sleep short; nothing where nobody sleeps."""
        if self._task is not None:
            self._task.cancel()
