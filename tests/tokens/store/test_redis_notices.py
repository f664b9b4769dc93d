"""The subscription: begun anew however it ended, and never trusted because nobody speaks."""

from __future__ import annotations

import asyncio

import pytest
from support.clock import FakeClock

from proxy.tokens.store import redis_notices
from proxy.tokens.store.redis_notices import RedisNotices
from proxy.tokens.store.redis_scripts import Notice

pytestmark = pytest.mark.peer("redis-server")


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


class Heard:
    """What was told, and how often everything was read."""

    def __init__(self) -> None:
        self.began = 0
        self.notices: list[Notice] = []
        self.fail = False

    async def begin(self) -> None:
        self.began += 1

    async def change(self, notice: Notice) -> None:
        self.notices.append(notice)
        if self.fail:
            raise ZeroDivisionError


@pytest.fixture
async def listening(make_redis, redis_backing):
    clock, heard = FakeClock(), Heard()
    operations = make_redis()._operations
    notices = RedisNotices(operations, redis_backing.prefix, clock, began=heard.begin, changed=heard.change)
    notices.start()
    notices.start()
    await until(lambda: heard.began == 1)
    yield heard, clock, operations
    await notices.stop()
    await notices.stop()


def told(backing, revision: int) -> None:
    backing.client.publish(backing.prefix, f"sender {revision} crm")


async def test_a_notice_is_handed_on(listening, redis_backing):
    heard, _, _ = listening
    told(redis_backing, 3)
    await until(lambda: heard.notices == [Notice("sender", 3, "crm")])


async def test_a_mistake_of_ours_ends_one_subscription_and_not_all(listening, redis_backing, caplog):
    heard, clock, _ = listening
    heard.fail = True
    told(redis_backing, 3)
    await until(lambda: clock.sleeping)
    heard.fail = False
    await clock.advance(1)
    await until(lambda: heard.began == 2)
    told(redis_backing, 4)
    await until(lambda: len(heard.notices) == 2)
    assert "internal error while changes in Redis were followed" in caplog.text


async def test_silence_is_asked_about_and_a_server_that_does_not_answer_is_left(listening, redis_backing, monkeypatch):
    heard, clock, operations = listening
    monkeypatch.setattr(redis_notices, "_QUIET", 0.05)
    redis_backing.client.client_kill_filter(_type="pubsub")
    await until(lambda: clock.sleeping)
    await clock.advance(1)
    await until(lambda: heard.began == 2)
    await asyncio.sleep(0.3)  # several questions, each answered
    assert heard.began == 2
    client = operations.client
    subscription = await client.subscription()
    pinged = type(subscription).ping

    async def lost(*_words):
        return None

    monkeypatch.setattr(type(subscription), "ping", lost)
    await until(lambda: clock.sleeping)
    monkeypatch.setattr(type(subscription), "ping", pinged)
    assert "no answer in time" in operations.failures.last
    await clock.advance(1)
    await until(lambda: heard.began == 3)
    await until(lambda: operations.failures.last is None)


async def test_while_redis_is_away_it_is_tried_again_and_again_but_not_all_the_time(
    make_redis, redis_backing, monkeypatch
):
    clock, heard = FakeClock(), Heard()
    operations = make_redis()._operations
    tries = []

    async def away():
        tries.append(clock.elapsed())
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(operations.client, "subscription", away)
    notices = RedisNotices(operations, redis_backing.prefix, clock, began=heard.begin, changed=heard.change)
    notices.start()
    await clock.advance(10)
    assert 10 < len(tries) < 20
    assert "connection refused" in operations.failures.last
    await notices.stop()
