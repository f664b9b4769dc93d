"""What is done to the store and to the replicas while 300 callers ask, and what must not come of it.

For CHAOS_SECONDS all faults come again and again, in another order each time; without that, some of them once.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import time

import pytest
from support.redis_server import REDIS, RedisServer, Watched, ask, valkey

from chaos.callers import calling
from chaos.fleet import LEASE, LIFETIME, Fleet, redis_store
from chaos.journal import Journal

pytestmark = [pytest.mark.alone, pytest.mark.peer("oidc_provider"), pytest.mark.peer("redis-server")]

SECONDS = float(os.environ.get("CHAOS_SECONDS", "0"))
CALLERS = 300
RATE = 100
BINARIES = [REDIS, valkey() or REDIS] if SECONDS else [REDIS]


class Disturber:
    """What it can do to a fleet and to one server behind its taps."""

    def __init__(self, fleet: Fleet, server: RedisServer, journal: Journal, seed: int) -> None:
        self._fleet = fleet
        self._server = server
        self._journal = journal
        self._chance = random.Random(seed)

    @contextlib.contextmanager
    def _outage(self, why):
        outage = self._journal.outage(why, time.time())
        try:
            yield
        finally:
            outage.ended = time.time()

    def _replica(self):
        return self._chance.choice(self._fleet.replicas)

    async def redis_is_paused_for_longer_than_a_lease(self):
        with self._outage("paused"):
            self._server.pause()
            await asyncio.sleep(LEASE + 1)
            self._server.resume()

    async def redis_is_killed_and_comes_back_empty(self):
        with self._outage("killed"):
            await self._server.kill()
            await asyncio.sleep(1)
            await self._server.start()

    async def redis_is_gone_for_longer_than_a_token_lives(self):
        with self._outage("killed"):
            await self._server.kill()
            await asyncio.sleep(LIFETIME + 2)
            await self._server.start()

    async def redis_loses_everything(self):
        await ask(self._server.port, "FLUSHALL")

    async def a_replica_is_paused_for_longer_than_a_lease(self):
        replica = self._replica()
        replica.pause()
        await asyncio.sleep(LEASE + 1)
        replica.resume()

    async def a_replica_is_paused_for_longer_than_a_token_lives(self):
        replica = self._replica()
        replica.pause()
        await asyncio.sleep(LIFETIME + 1)
        replica.resume()

    async def a_replica_is_killed(self):
        replica = self._replica()
        await replica.kill()
        await replica.start()

    async def a_replica_starts_while_redis_is_gone(self):
        replica = self._replica()
        with self._outage("killed"):
            await self._server.kill()
            await replica.kill()
            await replica.start()
            await self._server.start()

    async def all_replicas_are_killed(self):
        for replica in self._fleet.replicas:
            await replica.kill()
        for replica in self._fleet.replicas:
            await replica.start()

    async def connections_to_redis_are_reset(self):
        await ask(self._server.port, "CLIENT", "KILL", "TYPE", "normal")
        await ask(self._server.port, "CLIENT", "KILL", "TYPE", "pubsub")

    def once(self):
        """The faults of the short run."""
        return [
            self.redis_is_paused_for_longer_than_a_lease,
            self.redis_is_killed_and_comes_back_empty,
            self.a_replica_is_killed,
            self.a_replica_is_paused_for_longer_than_a_lease,
        ]

    def all(self):
        """Those of the long run, in an order of their own."""
        faults = [
            *self.once(),
            self.redis_is_gone_for_longer_than_a_token_lives,
            self.redis_loses_everything,
            self.a_replica_is_paused_for_longer_than_a_token_lives,
            self.a_replica_starts_while_redis_is_gone,
            self.all_replicas_are_killed,
            self.connections_to_redis_are_reset,
        ]
        self._chance.shuffle(faults)
        return faults


async def disturbed(fleet, journal, faults, tell):
    """One fault after the other; each time all replicas must come to serve new tokens, and without a hand."""
    for fault in faults:
        before = fleet.grants_given
        await fault()
        took = await fleet.recovered(time.time())
        lost = ", a grant lost with its answer" * (fleet.grants_given - before)
        tell(f"{fault.__name__.replace('_', ' ')}: all serve new tokens after {took:.1f} s{lost}")
        assert not journal.complaints(), "\n".join(journal.complaints()[:20])


@pytest.mark.parametrize("binary", BINARIES, ids=os.path.basename)
async def test_a_bad_day_of_redis_costs_no_grant_and_no_request_that_had_a_token(binary, tmp_path, tell):
    journal = Journal(LIFETIME)
    async with (
        RedisServer(tmp_path, binary=binary) as server,
        Fleet(tmp_path, redis_store, journal, lambda: server.port) as fleet,
        calling(CALLERS, fleet.urls, RATE, journal),
    ):
        await fleet.recovered(0)
        until = time.time() + SECONDS
        for seed in itertools.count():
            disturber = Disturber(fleet, server, journal, seed)
            await disturbed(fleet, journal, disturber.all() if SECONDS else disturber.once(), tell)
            if time.time() > until:
                break
        tell(f"{fleet.grants_given} grants lost, each with the answer that nobody else knew; {journal.report()}")


@pytest.mark.parametrize("binary", BINARIES, ids=os.path.basename)
async def test_a_fail_over_by_sentinel_costs_no_grant_and_no_request_that_had_a_token(binary, tmp_path, tell):
    journal = Journal(LIFETIME)
    async with (
        Watched(tmp_path, binary=binary) as watched,
        Fleet(tmp_path, lambda _: {**redis_store(0), "url": {"value": watched.url}}, journal) as fleet,
        calling(CALLERS, fleet.urls, RATE, journal),
    ):
        await fleet.recovered(0)
        until = time.time() + SECONDS
        while True:
            master = await watched.master()
            outage = journal.outage("failed over", time.time())

            async def the_master_is_killed(master=master, outage=outage):
                await master.kill()
                async with asyncio.timeout(60):
                    while await watched.master() is master:
                        await asyncio.sleep(0.1)
                outage.ended = time.time() + 1  # it is told before it is a master

            await disturbed(fleet, journal, [the_master_is_killed], tell)
            await master.start()
            if time.time() > until:
                break
            await watched.wait_until_watched()
        tell(f"{fleet.grants_given} grants lost, each with the answer that nobody else knew; {journal.report()}")
