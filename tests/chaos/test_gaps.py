"""A replica dies, or is stopped for longer than its lease, in each gap between two steps of a renewal.

The gaps are those of a renewal that was watched before, so that none is left out when renewals change. One of them no
client can close: the issuer has replaced the refresh token, and what it said died with the process. There the grant is
lost, the sidecar says so, and a push brings another one: that is counted apart.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest
from support.redis_server import REDIS, RedisServer, valkey

from chaos.callers import calling
from chaos.fleet import LEASE, LIFETIME, Fleet, redis_store
from chaos.journal import Journal
from chaos.tap import TOKEN

pytestmark = [pytest.mark.alone, pytest.mark.peer("oidc_provider"), pytest.mark.peer("redis-server")]

LONG = "CHAOS_SECONDS" in os.environ
CALLERS = 300
RATE = 100


async def watched(fleet):
    """The gaps of one renewal, in their order."""
    replica = fleet.replicas[0]
    async with asyncio.timeout(60):
        while True:
            replica.steps.begin_anew()
            assert await replica.renew() == 200
            gaps = list(replica.steps.passed)
            if any(gap.name == TOKEN for gap in gaps):
                return gaps


async def killed(replica, gap):
    """What was on its way to it, or from it, is lost."""
    await replica.until_caught(gap)
    await replica.kill()
    replica.steps.let_go(drop=True)
    await replica.start()


async def stopped(replica, gap):
    """What is on its way to it arrives while it is stopped; what it was about to send, it sends when it wakes up.

    But for a token request: its time is over then, and the program hangs up in the same moment.
    """
    await replica.until_caught(gap)
    replica.pause()
    if gap.way == "answered":
        replica.steps.let_go(drop=False)
    await asyncio.sleep(LEASE + 1)
    replica.steps.let_go(drop=gap.name == TOKEN)
    replica.resume()


async def goes_on(fleet, act, replica, gap):
    """One fault in one gap; a line about it."""
    given = fleet.grants_given
    await act(replica, gap)
    took = await fleet.recovered(time.time())
    pushed = "the grant was lost, and another one pushed; " * (fleet.grants_given - given)
    return f"{act.__name__:8} {gap}: {pushed}all serve new tokens after {took:.1f} s"


def everywhere(gaps):
    """Each fault in each gap."""
    return [(act, gap) for act in (killed, stopped) for gap in gaps]


def around_the_token_request(gaps):
    """What costs a grant if it is done wrong."""
    at = next(number for number, gap in enumerate(gaps) if gap.name == TOKEN)
    noted, asked, answered, saving, saved = gaps[at - 1 : at + 4]
    return [(killed, asked), (killed, answered), (killed, saved), (stopped, noted), (stopped, saving)]


async def all_gaps(fleet, journal, chosen, tell):
    """The chosen faults in the gaps of a renewal; `tell` is for who waits at the terminal."""
    await fleet.recovered(0)
    gaps = await watched(fleet)
    tell(f"steps of a renewal: {'; '.join(map(str, gaps))}")
    for number, (act, gap) in enumerate(chosen(gaps)):
        tell(await goes_on(fleet, act, fleet.replicas[number % len(fleet.replicas)], gap))
        assert not journal.complaints(), "\n".join(journal.complaints()[:20])
    tell(f"{fleet.grants_given} grants lost, each with the answer that nobody else knew; {journal.report()}")


@pytest.mark.parametrize(
    "kind", ["file", REDIS, valkey() or REDIS] if LONG else [valkey() or REDIS], ids=os.path.basename
)
async def test_whatever_gap_a_replica_dies_in_the_others_go_on(kind, tmp_path, tell):
    journal = Journal(LIFETIME)
    async with contextlib.AsyncExitStack() as stack:
        if kind == "file":
            store = {"type": "file", "path": str(tmp_path / "tokens")}
            fleet = Fleet(tmp_path, lambda _: store, journal)
        else:
            server = await stack.enter_async_context(RedisServer(tmp_path, binary=kind))
            fleet = Fleet(tmp_path, redis_store, journal, lambda: server.port)
        await stack.enter_async_context(fleet)
        await stack.enter_async_context(calling(CALLERS, fleet.urls, RATE, journal))
        await all_gaps(fleet, journal, everywhere if LONG else around_the_token_request, tell)
