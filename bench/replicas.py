"""Several processes that share their credentials by Redis: what that costs a request, a renewal, an issuer.

one, redis    CPU per request of one process, with the memory store and with Redis: a request whose token is at hand
              asks neither, so they should not differ
two           requests per second of two processes on one port (`reuse_port`), one on each core, and of one process. The
              load and the upstream take part of the second core: `capacity` leaves them out, and compares what the
              processes could serve with a core each, by their CPU per request
renewals      so many managers, each with a store of its own on one Redis and on the machine's clock, as if they were
              replicas: how often their issuer is asked for each token, and how often each renewal asks Redis
"""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import load
from machine import LOAD_CORE, PEER_CORE, Program, find, free_port
from modes import Mode
from peers import Place, sidecar

from proxy.assembly.stores import make_store
from proxy.clock import SystemClock
from proxy.config.schema import Duration, RedisStore, Refresh, Secret
from proxy.model import Token
from proxy.tokens.cache import TokenCache
from proxy.tokens.manager import TokenManager
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.token_response import TokenPair, TokenResponse

REPLICAS = 1000
LIFETIME = 20.0
"""Seconds that a token lives; renewal is due when half of that is over."""
LIFETIMES = 3
_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
_AT_ONCE = 50
_PATIENCE = 30.0


@dataclass(frozen=True)
class Shared:
    """CPU in µs per request, rates per second; `capacity`: of two, in ones.

    `errors`: answers outside 2xx, and token requests beyond one for each token.
    """

    errors: int
    cpu_memory: float
    cpu_redis: float
    rate_one: float
    rate_two: float
    capacity: float
    replicas: int
    tokens: int
    token_requests: int
    round_trips: float


def measure(mode: Mode, place: Place, seconds: int, warm_up: int) -> Shared:
    """All of it, once: about two minutes."""
    port = free_port()
    folder = place.folder / "redis"
    folder.mkdir(exist_ok=True)
    command = [find("redis-server"), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with Program(command, port, LOAD_CORE, folder):
        time.sleep(0.5)
        url = f"redis://127.0.0.1:{port}"
        redis = (
            f'store: {{type: redis, url: {{value: "{url}"}}, encryption_key: {{value: {_KEY}}}}}\nreuse_port: true\n'
        )
        memory = _drive(mode, [_at(place, "memory", "")], seconds, warm_up)
        one = _drive(mode, [_at(place, "one", redis)], seconds, warm_up)
        two = _drive(mode, [_at(place, "first", redis), _at(place, "second", redis)], seconds, warm_up)
        simulated = asyncio.run(_renew(url, REPLICAS))
    return Shared(
        errors=memory.errors + one.errors + two.errors + simulated.requests - simulated.tokens,
        cpu_memory=memory.cpu,
        cpu_redis=one.cpu,
        rate_one=one.rate,
        rate_two=two.rate,
        capacity=2 * one.cpu / two.cpu,
        replicas=REPLICAS,
        tokens=simulated.tokens,
        token_requests=simulated.requests,
        round_trips=simulated.round_trips,
    )


@dataclass(frozen=True)
class _Driven:
    errors: int
    rate: float
    cpu: float


def _at(place: Place, name: str, more: str) -> Place:
    folder = place.folder / name
    folder.mkdir(exist_ok=True)
    return Place(folder, place.port, place.upstream, place.token_endpoint, place.token, place.ca, place.signs, more)


def _drive(mode: Mode, places: list[Place], seconds: int, warm_up: int) -> _Driven:
    cores = [PEER_CORE, LOAD_CORE]
    programs = [Program(sidecar(one), one.port, core, one.folder) for one, core in zip(places, cores, strict=False)]
    try:
        for _ in range(4 * len(programs)):  # the kernel chooses which of them answers
            programs[0].wait_until_ready("/small", {})
        load.drive(mode, places[0].port, warm_up)
        before = [program.cpu_nanoseconds() for program in programs]
        seen = load.drive(mode, places[0].port, seconds)
        used = sum(program.cpu_nanoseconds() - was for program, was in zip(programs, before, strict=True))
    finally:
        for program in programs:
            program.__exit__()
    return _Driven(seen.errors, seen.requests / seen.seconds, used / 1000 / max(seen.requests, 1))


# ---- so many replicas, one token -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Renewed:
    tokens: int
    requests: int
    round_trips: float


class _Issuer:
    """Rotates the refresh token each time. `asked`: how often, by the refresh token that came."""

    def __init__(self, clock: SystemClock) -> None:
        self._clock = clock
        self.asked: Counter[str | None] = Counter()

    async def fetch(self, previous: TokenPair) -> TokenResponse:
        self.asked[previous.refresh_token] += 1
        await asyncio.sleep(0.1)
        number, wall, elapsed = sum(self.asked.values()), self._clock.wall(), self._clock.elapsed()
        token = Token(
            access_token=f"at-{number}",
            expires_wall=wall + LIFETIME,
            expires_elapsed=elapsed + LIFETIME,
            lifetime=LIFETIME,
            issued_wall=wall,
            issued_elapsed=elapsed,
        )
        return TokenResponse(token, f"rt-{number}")


async def _renew(url: str, replicas: int) -> _Renewed:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8 * replicas + 100), hard))
    clock = SystemClock()
    issuer = _Issuer(clock)
    scheduler, cache = RefreshScheduler(clock), TokenCache(clock)
    key = Secret(value=_KEY)
    config = RedisStore(url=Secret(value=url), encryption_key=key, timeout=Duration(10), key_prefix="sim:")
    stores = [make_store(config, {}, clock) for _ in range(replicas)]

    async def seed() -> TokenPair:
        return TokenPair(None, "seed")

    managers = [
        TokenManager(
            "crm", issuer, store=store, clock=clock, cache=cache, scheduler=scheduler, refresh=Refresh(), seed=seed
        )
        for store in stores
    ]
    scheduler.start()
    for first in range(0, replicas, _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        await asyncio.gather(*(store.start() for store in stores[some]), *(one.start() for one in managers[some]))
    async with asyncio.timeout(_PATIENCE):
        while not all(manager.ready() for manager in managers):  # noqa: ASYNC110 - a thousand of them tell nobody
            await asyncio.sleep(0.05)
    await asyncio.sleep(LIFETIMES * LIFETIME / 2)
    tokens, requests = len(issuer.asked), sum(issuer.asked.values())
    trips = await _round_trips(managers[0], stores[0])
    await scheduler.stop()
    for manager, store in zip(managers, stores, strict=True):
        await manager.stop()
        await store.close()
    return _Renewed(tokens, requests, trips)


async def _round_trips(manager: TokenManager, store: Any) -> float:
    """How many commands one renewal by hand sends."""
    client, sent = store._operations.client, 0  # noqa: SLF001 - it is measured here
    execute = client.execute

    async def counted(*words: str | int) -> Any:
        nonlocal sent
        sent += 1
        return await execute(*words)

    client.execute = counted
    for _ in range(5):
        await manager.renew_now()
    client.execute = execute
    return sent / 5
