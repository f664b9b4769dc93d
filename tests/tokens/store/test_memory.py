from __future__ import annotations

import asyncio

import pytest

from proxy.tokens.store.memory import MemoryTokenStore
from proxy.tokens.store.token_store import Grant, LeaseTakenError


async def test_what_is_saved_is_loaded():
    store = MemoryTokenStore()
    assert await store.load("crm") is None
    assert await store.save("crm", Grant(revision=1, access_token="a"))
    assert await store.load("crm") == Grant(revision=1, access_token="a")
    assert await store.load("other") is None


async def test_only_a_later_revision_is_saved():
    store = MemoryTokenStore()
    assert await store.save("crm", Grant(revision=1))
    assert not await store.save("crm", Grant(revision=1, access_token="late"))
    assert await store.save("crm", Grant(revision=2, access_token="next"))
    assert (await store.load("crm")).access_token == "next"


async def test_one_at_a_time_holds_the_lease():
    store = MemoryTokenStore()
    async with store.lease("crm", 1):
        async with store.lease("other", 1):
            pass
        with pytest.raises(LeaseTakenError):
            async with store.lease("crm", 0.01):
                raise AssertionError
    async with store.lease("crm", 0.01):
        pass


async def test_the_lease_passes_on_when_its_holder_fails():
    store = MemoryTokenStore()

    async def fail() -> None:
        async with store.lease("crm", 1):
            raise LookupError

    with pytest.raises(LookupError):
        await fail()
    async with store.lease("crm", 0.01):
        pass


async def test_who_waits_for_the_lease_gets_it():
    store = MemoryTokenStore()
    order = []

    async def hold(name: str) -> None:
        async with store.lease("crm", 1):
            order.append(name)
            await asyncio.sleep(0)

    await asyncio.gather(hold("a"), hold("b"), hold("c"))
    assert order == ["a", "b", "c"]


async def test_nobody_else_saves_so_nobody_is_told():
    store = MemoryTokenStore()
    seen: list[Grant] = []
    stop = store.watch("crm", seen.append)
    await store.start()
    await store.save("crm", Grant(revision=1))
    stop()
    await store.close()
    assert seen == []


async def test_leases_leave_nothing_behind():
    store = MemoryTokenStore()
    async with store.lease("crm", 1):
        assert store._locks
    assert not store._locks
