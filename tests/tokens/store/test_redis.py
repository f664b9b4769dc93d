"""What only Redis can do to a record: lose it, keep it from expiring, announce it, be something else altogether."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from msgspec.structs import replace
from support.local_redis import LocalRedis
from support.managed import PlayedSource

from proxy.clock import SystemClock
from proxy.tokens.cache import TokenCache
from proxy.tokens.manager import TokenManager
from proxy.tokens.refresh_scheduler import RefreshScheduler
from proxy.tokens.store.token_store import Grant, StoreError
from proxy.tokens.token_response import TokenPair

pytestmark = pytest.mark.peer("redis-server")

NAME = "crm"
FIRST = Grant(revision=1, generation=1, access_token="secret-access", refresh_token="secret-refresh", saves=("a",))


@pytest.fixture
def redis(redis_backing):
    return redis_backing


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_record_never_expires_even_where_its_key_did(redis, make_redis):
    store = make_redis()
    assert await store.save(NAME, FIRST)
    assert redis.client.ttl(redis.key(NAME)) == -1
    redis.client.expire(redis.key(NAME), 1000)
    assert await store.save(NAME, replace(FIRST, revision=2))
    assert redis.client.ttl(redis.key(NAME)) == -1


@pytest.mark.parametrize("kind", ["lpush", "hset", "sadd"])
async def test_what_is_no_string_is_named_and_left_alone(redis, make_redis, kind):
    key = redis.key(NAME)
    {"lpush": lambda: redis.client.lpush(key, "x"), "hset": lambda: redis.client.hset(key, "x", "y"),
     "sadd": lambda: redis.client.sadd(key, "x")}[kind]()  # fmt: skip
    before = redis.client.dump(key)
    store = make_redis()
    with pytest.raises(StoreError, match="is no record of ours") as loading:
        await store.load(NAME)
    with pytest.raises(StoreError, match="is no record of ours"):
        await store.save(NAME, FIRST)
    assert key in str(loading.value)
    assert not loading.value.cut_off
    assert redis.client.dump(key) == before
    redis.client.delete(key)
    assert await store.load(NAME) is None
    assert store.last_error is None


async def test_a_revision_that_was_changed_outside_the_seal_is_refused(redis, make_redis):
    await make_redis("k").save(NAME, FIRST)
    redis.put(NAME, redis.raw(NAME).replace(b'"revision":1', b'"revision":0'))
    with pytest.raises(StoreError, match="its revision was changed"):
        await make_redis("k").load(NAME)


async def test_a_record_larger_than_any_is_not_read(redis, make_redis):
    redis.put(NAME, bytes(1024 * 1024 + 1))
    with pytest.raises(StoreError, match="larger than any record"):
        await make_redis().load(NAME)


async def test_a_late_holder_cannot_overwrite_what_others_have_saved_meanwhile(make_redis):
    late, other = make_redis(), make_redis()
    await late.save(NAME, FIRST)
    await other.save(NAME, second := replace(FIRST, revision=2, refresh_token="newer"))
    assert not await late.save(NAME, replace(FIRST, revision=2))
    assert await late.load(NAME) == second


async def test_a_save_whose_answer_was_lost_is_recognised_when_it_is_sent_again(make_redis, monkeypatch):
    store = make_redis()
    client = store._operations.client
    lost: list[list[bytes]] = []
    execute = client.execute

    async def loses_the_first(*words):
        answer = await execute(*words)
        if not lost:
            lost.append(answer)
            raise ConnectionResetError(104, "Connection reset by peer")
        return answer

    monkeypatch.setattr(client, "execute", loses_the_first)
    assert await store.save(NAME, FIRST)
    assert lost == [[b"saved"]]


async def test_own_saves_are_not_read_again_and_those_of_others_once(redis, make_redis):
    ours, theirs = make_redis(), make_redis()
    seen: list[Grant | None] = []
    ours.watch(NAME, seen.append)
    await ours.start()
    await until(lambda: seen == [None])
    await ours.save(NAME, FIRST)
    await theirs.save("another", FIRST)
    await theirs.save(NAME, second := replace(FIRST, revision=2))
    await until(lambda: second in seen)
    assert seen == [None, second]
    redis.client.publish(f"{redis.prefix}changes", "nonsense")
    redis.client.publish(f"{redis.prefix}changes", f"somebody 2 {NAME}")
    await theirs.save(NAME, third := replace(FIRST, revision=3))
    await until(lambda: third in seen)
    assert seen == [None, second, third]


async def test_a_subscription_that_ended_is_begun_again_and_reads_what_was_missed(redis, make_redis):
    ours, theirs = make_redis(), make_redis()
    seen: list[Grant | None] = []
    ours.watch(NAME, seen.append)
    await ours.start()
    await until(lambda: seen == [None])
    redis.client.client_kill_filter(_type="pubsub")
    await theirs.save(NAME, FIRST)
    await until(lambda: FIRST in seen)


async def test_a_record_that_cannot_be_read_is_told_and_others_are_followed_all_the_same(redis, make_redis, caplog):
    ours, theirs = make_redis(), make_redis()
    seen: list[Grant | None] = []
    redis.put("broken", b"{")
    ours.watch("broken", seen.append)
    ours.watch(NAME, seen.append)
    await theirs.save(NAME, FIRST)
    await ours.start()
    await until(lambda: seen == [FIRST])
    assert f"{redis.prefix}{{broken}}" in caplog.text


async def test_new_keys_make_it_look_again(make_redis):
    ours = make_redis("o")
    seen: list[Grant | None] = []
    await make_redis("k").save(NAME, FIRST)
    ours.watch(NAME, seen.append)
    await ours.start()
    await until(lambda: ours.last_error is not None)
    ours.seal_with(make_redis("ok")._envelope)
    await until(lambda: seen == [FIRST])
    assert ours.last_error is None
    ours.seal_with(make_redis("ok")._envelope)


@contextlib.contextmanager
def own_server():
    with LocalRedis() as server:
        yield server


async def test_a_redis_that_is_gone_is_told_once_and_again_when_it_is_back(make_of, caplog):
    caplog.set_level("INFO", "auth_sidecar.store")
    with own_server() as server:
        store = make_of(server)
        seen: list[Grant | None] = []
        store.watch(NAME, seen.append)
        await store.start()
        assert await store.save(NAME, FIRST)
        server.kill()
        for _ in range(3):
            with pytest.raises(StoreError, match="cannot be reached") as failure:
                await store.load(NAME)
            assert failure.value.cut_off
            assert failure.value.degrade
        with pytest.raises(StoreError) as failure:
            await store.save(NAME, replace(FIRST, revision=2))
        assert failure.value.unchanged
        with pytest.raises(StoreError, match="cannot be reached"):
            async with store.lease(NAME, 5):
                pass
        assert store.last_error is not None
        server.start()
        await until(lambda: seen[-1:] == [None])  # it came back empty
        assert await store.load(NAME) is None
        assert await store.save(NAME, FIRST)
        async with store.lease(NAME, 5):
            pass
        assert store.last_error is None
        told = [message for message in caplog.messages if "reached" in message]
        assert ["again" in message for message in told] == [False, True]
        assert "secret" not in caplog.text
        await store.close()


async def test_where_the_program_must_not_go_on_without_redis_the_error_says_so(make_of):
    with own_server() as server:
        store = make_of(server, on_unavailable="fail")
        server.kill()
        with pytest.raises(StoreError) as failure:
            await store.load(NAME)
        assert not failure.value.degrade
        await store.close()


@pytest.mark.parametrize(("refresh_token", "most"), [(None, 4), ("r", 5)])
async def test_a_renewal_costs_no_more_than_six_round_trips_and_a_token_at_hand_none(make_redis, refresh_token, most):
    clock = SystemClock()
    store = make_redis("k")
    source = PlayedSource(clock)
    source.rotates = refresh_token is not None

    async def seed() -> TokenPair:
        return TokenPair(None, refresh_token)

    manager = TokenManager(
        "crm", source, store=store, clock=clock, cache=TokenCache(clock), scheduler=RefreshScheduler(clock), seed=seed
    )
    await store.start()
    await manager.start()
    await manager.current()
    sent: list[str] = []
    execute = store._operations.client.execute

    async def counted(*words):
        sent.append(str(words[0]))
        return await execute(*words)

    store._operations.client.execute = counted
    for _ in range(100):
        assert manager.ready() is not None
    assert sent == []
    await manager.renew_now()
    assert len(sent) == most
    await manager.stop()
