"""Keeps tokens fresh without traffic: one task for all credentials, asleep until the next renewal is due.

Renewals that fall due together are started a moment apart: a storm of them must not hold up the requests whose tokens
are fresh. A wall clock that was stepped forward may have ended tokens, so everyone is asked to look.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import logging
import math
from typing import Protocol

from msgspec import Struct

from proxy import defects
from proxy.clock import Clock, WakeableSleep
from proxy.tokens import policy
from proxy.tokens.backoff import NO_FAILURES, Backoff

_log = logging.getLogger("auth_sidecar.tokens")

_LONGEST_NAP = 30.0
_PACE = 0.002
_SLACK = 100
"""Outdated entries that the queue may hold beyond one for each of the kept."""
_AGAIN = 1.0
"""Seconds of rest after a mistake of ours in a round; of the loop's own clock."""
_STEP = 1.0
"""Seconds; the two clocks drift apart by less between two looks."""


class Scheduled(Protocol):
    """What is to be kept fresh."""

    def renew_if_due(self) -> bool:
        """Start what is due, and call `RefreshScheduler.at` again. Whether anything was started."""


class _Look(Struct, frozen=True, gc=False):
    """An entry of the queue: whose `renew_if_due` to call, and when."""

    when: float
    kept: Scheduled

    def __lt__(self, other: _Look) -> bool:
        """Order by time, which `heapq` needs."""
        return self.when < other.when


class RefreshScheduler:
    """One per program. `at` may be called before `start`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._when: dict[Scheduled, float] = {}
        self._queue: list[_Look] = []
        self._task: asyncio.Task[None] | None = None
        self._nap = WakeableSleep(clock)
        self._failing: dict[Scheduled, Backoff] = {}
        self._offset = 0.0
        self._until = math.inf

    def start(self) -> None:
        """Begin; needs the running loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="refresh scheduler")

    async def stop(self) -> None:
        """Stop starting renewals; those under way go on, and their owners end them."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def schedule(self, kept: Scheduled, when: float) -> None:
        """Let `kept` attend at that moment of the elapsed clock, instead of any said before."""
        if self._when.get(kept) == when:
            return
        self._when[kept] = when
        heapq.heappush(self._queue, _Look(when, kept))
        if len(self._queue) > _SLACK + 2 * len(self._when):
            self._queue = [look for look in self._queue if self._when.get(look.kept) == look.when]
            heapq.heapify(self._queue)
        if when < self._until:
            self._nap.wake()

    def forget(self, kept: Scheduled) -> None:
        """Never call its `renew_if_due` again."""
        self._when.pop(kept, None)
        self._failing.pop(kept, None)

    async def _run(self) -> None:
        self._offset = self._clock.wall() - self._clock.elapsed()
        while True:
            try:
                await self._round()
            except defects.ENDS:
                raise
            except BaseException as error:
                if defects.cancelled(error):
                    raise
                defects.tell(_log, "in the refresh scheduler", error)
                await asyncio.sleep(_AGAIN)

    async def _round(self) -> None:
        clock = self._clock
        await self._sleep()
        stepped = clock.wall() - clock.elapsed() - self._offset
        self._offset += stepped
        due = list(self._when) if stepped > _STEP else self._due()
        for kept in due:
            if kept in self._when and self._attended(kept):
                await clock.sleep(_PACE)

    def _attended(self, kept: Scheduled) -> bool:
        """Call `renew_if_due`. One that raises, which is a bug, is called again later, and delays no other."""
        try:
            started = kept.renew_if_due()
        except defects.ENDS:
            raise
        except BaseException as error:  # noqa: BLE001 - one credential's mistake ends nobody else's renewals
            if kept not in self._failing:  # said once, until it goes well again
                defects.tell(_log, "while a credential was kept fresh", error)
            before = self._failing.get(kept, NO_FAILURES)
            self._failing[kept] = before.after(policy.FAILURE, self._clock.elapsed(), self._clock.chance())
            self.schedule(kept, self._failing[kept].until)
            return False
        self._failing.pop(kept, None)
        return started

    async def _sleep(self) -> None:
        """Until the next one is due, at most half a minute, or until `at` names an earlier moment."""
        while self._queue and self._when.get(self._queue[0].kept) != self._queue[0].when:
            heapq.heappop(self._queue)
        now = self._clock.elapsed()
        self._until = min(now + _LONGEST_NAP, self._queue[0].when if self._queue else math.inf)
        if self._until > now:
            await self._nap.sleep(self._until - now)

    def _due(self) -> list[Scheduled]:
        now = self._clock.elapsed()
        due = []
        while self._queue and self._queue[0].when <= now:
            look = heapq.heappop(self._queue)
            if self._when.get(look.kept) == look.when:
                self._when[look.kept] = math.inf
                due.append(look.kept)
        return due
