"""The trial finds what the store would miss, and leaves nothing behind."""

from __future__ import annotations

import pytest
from support.local_redis import LocalRedis

from proxy.config.schema import Secret

pytestmark = pytest.mark.peer("redis-server")

NEEDED = ["+get", "+set", "+del", "+pexpire", "+publish", "+subscribe", "+ping", "+eval", "+client|setname", "+select"]


async def tried(store) -> list[str]:
    try:
        return await store.trial()
    finally:
        await store.close()


async def test_where_all_works_there_is_nothing_to_say_and_nothing_left(make_redis, redis_backing):
    assert await tried(make_redis()) == []
    assert redis_backing.client.keys(f"{redis_backing.prefix}*") == []


async def test_a_redis_that_is_not_there_is_told_once(make_of):
    with LocalRedis() as server:
        store = make_of(server)
    (said,) = await tried(store)
    assert said.startswith("reading a record (GET): Redis at 127.0.0.1:")
    assert "connection refused" in said


@pytest.mark.parametrize(
    ("without", "step", "command"),
    [
        ("+get", "reading a record", "get"),
        ("+set", "compare-and-set", "set"),
        ("+publish", "compare-and-set", "publish"),
        ("+eval", "compare-and-set", "eval"),
        ("+pexpire", "a lease", "pexpire"),
        ("+subscribe", "hearing of changes", "subscribe"),
    ],
)
async def test_each_missing_permission_is_named_and_what_was_documented_suffices(make_of, without, step, command):
    with LocalRedis() as server:
        admin = server.raw()

        def grant(commands: list[str], channels: str = "t*") -> None:
            admin.acl_setuser(
                "sidecar", enabled=True, reset=True, passwords=["+hush"], keys=["t*"], channels=[channels],
                commands=commands,
            )  # fmt: skip

        def store():
            return make_of(server, username="sidecar", password=Secret(value="hush"))

        grant(NEEDED)
        assert await tried(store()) == []
        grant([one for one in NEEDED if one != without])
        said = await tried(store())
        assert any(step in one and command in one.lower() and "may not do" in one for one in said), said
        assert "hush" not in repr(said)
        grant(NEEDED, channels="other:*")
        assert any("channel" in one for one in await tried(store()))
        admin.close()
