"""The addresses of one host. The system's resolver is the network here: it is the one thing that is played."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest
from support.clock import FakeClock

from proxy.errors import NameNotResolved, NameTimeout
from proxy.forward.resolver import TTL, Resolver, SocketAddress


def address(host: str) -> SocketAddress:
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 443))


class System:
    """Answers with `outcome`: addresses, or an error that is raised; not before `may_answer`."""

    def __init__(self, *hosts: str) -> None:
        self.outcome: list[SocketAddress] | Exception = [address(host) for host in hosts]
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def getaddrinfo(self, host, port, **options):
        assert (host, port, options) == ("api.example", 443, {"type": socket.SOCK_STREAM})
        self.asked += 1
        self.may_answer.wait(10)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return list(self.outcome)


@pytest.fixture
def system(monkeypatch):
    system = System("192.0.2.1", "192.0.2.2")
    monkeypatch.setattr(socket, "getaddrinfo", system.getaddrinfo)
    yield system
    system.may_answer.set()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def resolver(system, clock) -> Resolver:  # noqa: ARG001 - the system is there first
    return Resolver("api.example", 443, clock.elapsed)


async def test_however_many_wait_the_system_is_asked_once(system, resolver):
    """Row 48."""
    system.may_answer.clear()
    waiting = [asyncio.create_task(resolver.addresses(5.0)) for _ in range(50)]
    await asyncio.sleep(0.01)
    waiting[0].cancel()
    system.may_answer.set()
    found = await asyncio.gather(*waiting[1:])
    assert all(one == [address("192.0.2.1"), address("192.0.2.2")] for one in found)
    assert system.asked == 1


async def test_an_answer_is_good_for_half_a_minute(system, resolver, clock):
    """Row 48."""
    await resolver.addresses(5.0)
    await clock.advance(TTL - 0.1)
    await resolver.addresses(5.0)
    assert system.asked == 1
    system.outcome = [address("192.0.2.9")]
    await clock.advance(0.2)
    assert await resolver.addresses(5.0) == [address("192.0.2.9")]


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_AGAIN, "try again"), OSError("what?"), None])
async def test_while_no_answer_can_be_had_the_last_one_serves_on(system, resolver, clock, error):
    """Row 48: stale on error. Nobody waits for the system more often than every few seconds meanwhile."""
    first = await resolver.addresses(5.0)
    await clock.advance(TTL)
    if error is None:
        system.may_answer.clear()
    else:
        system.outcome = error
    assert await resolver.addresses(0.05) == first
    assert await resolver.addresses(0.05) == first
    assert system.asked == 2
    await clock.advance(5.1)
    assert await resolver.addresses(0.05) == first
    assert system.asked == (2 if error is None else 3), "one question at a time"


async def test_an_answer_that_comes_too_late_is_kept_for_the_next(system, resolver):
    system.may_answer.clear()
    with pytest.raises(NameTimeout):
        await resolver.addresses(0.01)
    system.may_answer.set()
    assert len(await resolver.addresses(5.0)) == 2
    assert system.asked == 1


@pytest.mark.parametrize("known", [False, True])
async def test_that_there_is_no_such_name_is_an_answer(system, resolver, clock, known):
    if known:
        await resolver.addresses(5.0)
        await clock.advance(TTL)
    system.outcome = socket.gaierror(socket.EAI_NONAME, "no such name")
    with pytest.raises(NameNotResolved):
        await resolver.addresses(5.0)


@pytest.mark.parametrize("error", [socket.gaierror(socket.EAI_AGAIN, "try again"), UnicodeError("label too long")])
async def test_with_nothing_known_an_error_is_one(system, resolver, error):
    system.outcome = error
    with pytest.raises(NameNotResolved):
        await resolver.addresses(5.0)
    system.outcome = [address("192.0.2.1")]
    assert len(await resolver.addresses(5.0)) == 1, "errors are not remembered"


async def test_addresses_that_cannot_be_connected_to_are_asked_for_again(system, resolver, clock):
    """Row 48."""
    old = await resolver.addresses(5.0)
    assert await resolver.newer(old, 5.0) is None, "they have just been asked for"
    assert system.asked == 1
    await clock.advance(2)
    system.outcome = list(reversed(old))
    assert await resolver.newer(old, 5.0) is None, "the same ones in another order"
    assert system.asked == 2
    await clock.advance(2)
    system.outcome = [address("192.0.2.9")]
    again = await resolver.addresses(5.0)
    assert await resolver.newer(again, 5.0) == [address("192.0.2.9")]
    assert await resolver.newer(again, 5.0) == [address("192.0.2.9")], "who comes later with the old ones gets the new"
    assert system.asked == 3
    await clock.advance(2)
    system.outcome = socket.gaierror(socket.EAI_NONAME, "no such name")
    assert await resolver.newer(await resolver.addresses(5.0), 5.0) is None


async def test_addresses_need_no_asking():
    assert [one[4] for one in await Resolver("127.0.0.1", 80, time.monotonic).addresses(0.0)] == [("127.0.0.1", 80)]
    assert [one[4] for one in await Resolver("::1", 80, time.monotonic).addresses(0.0)] == [("::1", 80, 0, 0)]
    with pytest.raises(NameNotResolved, match="interface"):
        await Resolver("fe80::1%no-such-one", 80, time.monotonic).addresses(0.0)


def test_an_answer_that_comes_when_the_loop_has_ended_troubles_nobody(system):
    system.may_answer.clear()
    others = set(threading.enumerate())

    async def run() -> None:
        with pytest.raises(NameTimeout):
            await Resolver("api.example", 443, time.monotonic).addresses(0.0)

    asyncio.run(run())
    (thread,) = [one for one in threading.enumerate() if one.name == "resolver" and one not in others]
    system.may_answer.set()
    thread.join(30)
    assert not thread.is_alive()
