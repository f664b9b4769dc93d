"""Who renews a credential now, among all that share a Redis: SET NX PX with a random owner, and its end.

A lease spares the issuer requests; it proves nothing. Its holder may be stopped for longer than it lasts, and what then
keeps a newer record from being overwritten is the compare-and-set of the record. Whoever is about to do what cannot be
undone asks `held` first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from proxy.background import end
from proxy.clock import Clock
from proxy.tokens.store.redis_operations import RedisOperations
from proxy.tokens.store.redis_scripts import EXTEND, RELEASE
from proxy.tokens.store.token_store import LeaseTakenError, StoreError, never

_FIRST_POLL = 0.05
_LONGEST_POLL = 0.5
_OWNER_OCTETS = 12
_SHARE = 3
"""A lease is extended this often during its length."""


class RedisLease:
    """One that is held. `until`: when it ends unless it is extended, on the elapsed clock."""

    def __init__(self, clock: Clock, until: float) -> None:
        self._clock = clock
        self.until = until

    def held(self) -> bool:
        """Whether it is still ours; a suspended machine or a stopped process finds it ended."""
        return self._clock.elapsed() < self.until


@asynccontextmanager
async def redis_lease(
    operations: RedisOperations,
    key: str,
    clock: Clock,
    *,
    length: float,
    wait: float,
    needless: Callable[[], bool] = never,
) -> AsyncIterator[RedisLease]:
    """Hold the lease of `key` while inside; `length` in seconds, extended while inside.

    Raises LeaseTakenError after `wait` seconds of another's, or once that is `needless`; StoreError where Redis cannot
    be reached.
    """
    owner = clock.octets(_OWNER_OCTETS).hex()
    milliseconds = max(1, round(length * 1000))
    lease = await _taken(operations, key, owner, milliseconds, clock, wait, needless)
    extending = asyncio.create_task(_extend(operations, key, owner, lease, milliseconds, clock), name=f"extend {key}")
    try:
        yield lease
    finally:
        await end(extending)
        with suppress(StoreError):  # then it ends by itself
            await operations.run("release a lease", "EVAL", RELEASE, 1, key, owner)


async def _taken(
    operations: RedisOperations,
    key: str,
    owner: str,
    milliseconds: int,
    clock: Clock,
    wait: float,
    needless: Callable[[], bool],
) -> RedisLease:
    until = clock.elapsed() + wait
    poll = _FIRST_POLL
    while True:
        asked = clock.elapsed()
        if await operations.run("take a lease", "SET", key, owner, "NX", "PX", milliseconds):
            return RedisLease(clock, asked + milliseconds / 1000)
        left = until - clock.elapsed()
        if left <= 0:
            raise LeaseTakenError(f"{key} is held by another process for more than {wait:g} s")
        await clock.sleep(min(poll * (1 - clock.chance() / 2), left))
        if needless():
            raise LeaseTakenError(f"{key} was held by another process, and need not be taken any more")
        poll = min(2 * poll, _LONGEST_POLL)


async def _extend(
    operations: RedisOperations, key: str, owner: str, lease: RedisLease, milliseconds: int, clock: Clock
) -> None:
    while lease.held():
        await clock.sleep(milliseconds / 1000 / _SHARE)
        asked = clock.elapsed()
        with suppress(StoreError):  # there is another try before it ends
            if not await operations.run("extend a lease", "EVAL", EXTEND, 1, key, owner, milliseconds):
                lease.until = asked
                return
            lease.until = asked + milliseconds / 1000
