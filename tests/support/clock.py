"""A clock that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import os
import time

from proxy.clock import SystemClock


class FakeClock:
    """The wall and the elapsed clock and the timers of a program under test; nothing here ever waits for real time.

    `chance_value` is what `chance` returns: 0.0 (no jitter) unless a test sets it.
    """

    def __init__(self, wall: float = 1_800_000_000.0, elapsed: float = 1_000.0) -> None:
        self._wall = wall
        self._elapsed = elapsed
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self.chance_value = 0.0

    def wall(self) -> float:
        return self._wall

    def elapsed(self) -> float:
        return self._elapsed

    def monotonic(self) -> float:
        """The deadlines of real connections are the machine's: see `AheadClock`."""
        return time.monotonic()

    def chance(self) -> float:
        return self.chance_value

    def octets(self, count: int) -> bytes:
        return os.urandom(count)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + seconds, next(self._order), future))
        await future

    @property
    def sleeping(self) -> int:
        """How many timers are pending."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let time pass on both clocks, waking each sleeper at its own moment, in order."""
        target = self._elapsed + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, future = heapq.heappop(self._sleepers)
            if future.done():
                continue
            self._wall += max(0.0, due - self._elapsed)
            self._elapsed = max(self._elapsed, due)
            future.set_result(None)
            await settle()
        self._wall += target - self._elapsed
        self._elapsed = target
        await settle()

    def step_wall(self, seconds: float) -> None:
        """An operator or NTP moves the wall clock, either way."""
        self._wall += seconds

    def suspend(self, seconds: float) -> None:
        """The machine sleeps: both clocks move on, and no timer fires until `advance` is called."""
        self._wall += seconds
        self._elapsed += seconds


class AheadClock(SystemClock):
    """The machine's clocks. Call it with seconds: for connections so much more time has passed.

    So deadlines are met that a busy machine cannot miss. The loop's own timers know nothing of it: the sweep comes when
    it comes, within `proxy.forward.proxy_server.SWEEP_EVERY`.
    """

    def __init__(self) -> None:
        self._ahead = 0.0

    def monotonic(self) -> float:  # type: ignore[override]  # the machine's needs no self
        return time.monotonic() + self._ahead

    def __call__(self, seconds: float) -> None:
        self._ahead += seconds


async def settle(rounds: int = 20) -> None:
    """Let everything run that can run without time passing."""
    for _ in range(rounds):
        await asyncio.sleep(0)
