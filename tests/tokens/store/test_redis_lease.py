"""The lease on a real server, with a clock that a test moves."""

from __future__ import annotations

import asyncio

import pytest
from support.clock import FakeClock

from proxy.tokens.store.redis_lease import redis_lease
from proxy.tokens.store.token_store import LeaseTakenError, StoreError

pytestmark = pytest.mark.peer("redis-server")


@pytest.fixture
async def operations(make_redis):
    return make_redis()._operations


@pytest.fixture
def key(redis_backing):
    return f"{redis_backing.prefix}lease"


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


def held_for(backing, key: str) -> float:
    return backing.client.pttl(key) / 1000


async def test_a_lease_is_a_key_that_ends_by_itself_and_is_removed_at_the_end(operations, redis_backing, key):
    async with redis_lease(operations, key, FakeClock(), length=60, wait=0):
        assert 50 < held_for(redis_backing, key) <= 60
    assert not redis_backing.client.exists(key)


async def test_it_is_extended_while_it_is_held(operations, redis_backing, key):
    clock = FakeClock()
    async with redis_lease(operations, key, clock, length=60, wait=0) as lease:
        redis_backing.client.pexpire(key, 5_000)
        await until(lambda: clock.sleeping)
        await clock.advance(20)
        await until(lambda: held_for(redis_backing, key) > 50)
        await clock.advance(19)
        await clock.advance(19)
        assert lease.held()


async def test_a_holder_that_was_stopped_knows_that_it_is_no_longer_one(operations, redis_backing, key):
    clock = FakeClock()
    async with redis_lease(operations, key, clock, length=60, wait=0) as lease:
        clock.suspend(61)
        redis_backing.client.set(key, "another's")
        assert not lease.held()
    assert redis_backing.client.get(key) == b"another's"


async def test_a_lease_that_another_has_taken_is_not_extended(operations, redis_backing, key):
    clock = FakeClock()
    async with redis_lease(operations, key, clock, length=60, wait=0) as lease:
        redis_backing.client.set(key, "another's")
        await until(lambda: clock.sleeping)
        await clock.advance(20)
        await until(lambda: not lease.held())
    assert redis_backing.client.get(key) == b"another's"
    assert redis_backing.client.ttl(key) == -1


async def test_one_that_waits_gets_it_as_soon_as_it_is_free(operations, redis_backing, key):
    clock = FakeClock()
    redis_backing.client.set(key, "another's")

    async def wait() -> None:
        async with redis_lease(operations, key, clock, length=60, wait=10):
            pass

    waiting = asyncio.create_task(wait())
    await until(lambda: clock.sleeping)
    redis_backing.client.delete(key)
    await clock.advance(0.05)
    await asyncio.wait_for(waiting, 30)


async def test_one_that_waited_long_enough_is_told_so(operations, redis_backing, key):
    clock = FakeClock()
    redis_backing.client.set(key, "another's")
    entering = asyncio.create_task(redis_lease(operations, key, clock, length=60, wait=2).__aenter__())
    async with asyncio.timeout(30):
        while not entering.done():
            await clock.advance(0.5)
            await asyncio.sleep(0.01)
    with pytest.raises(LeaseTakenError, match="held by another process for more than 2 s"):
        await entering
    assert operations.failures.errors == 0


async def test_an_end_that_redis_does_not_hear_of_fails_nobody(operations, key, monkeypatch):
    async with redis_lease(operations, key, FakeClock(), length=60, wait=0):

        async def fails(*_words):
            raise ConnectionResetError(104, "Connection reset by peer")

        monkeypatch.setattr(operations.client, "execute", fails)
    assert operations.failures.errors == 1


async def test_a_failed_extension_is_tried_again(operations, redis_backing, key, monkeypatch):
    clock = FakeClock()
    async with redis_lease(operations, key, clock, length=60, wait=0) as lease:
        with monkeypatch.context() as broken:

            async def fails(*_words):
                raise ConnectionResetError(104, "Connection reset by peer")

            broken.setattr(operations.client, "execute", fails)
            await until(lambda: clock.sleeping)
            await clock.advance(20)
            await until(lambda: operations.failures.errors)
        redis_backing.client.pexpire(key, 5_000)
        await until(lambda: clock.sleeping)
        await clock.advance(20)
        await until(lambda: held_for(redis_backing, key) > 50)
        assert lease.held()


async def test_where_redis_cannot_be_reached_there_is_no_lease(operations, key, monkeypatch):
    async def fails(*_words):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(operations.client, "execute", fails)
    with pytest.raises(StoreError) as failure:
        await redis_lease(operations, key, FakeClock(), length=60, wait=0).__aenter__()
    assert not isinstance(failure.value, LeaseTakenError)
