"""The connections to one origin."""

from __future__ import annotations

import asyncio

import pytest
from support.clock import FakeClock
from support.front import Gate, request
from support.process import free_port
from support.recording_upstream import OK

from proxy.clock import SystemClock
from proxy.errors import ConnectionRefused, ProxyError
from proxy.forward import dial
from proxy.forward.pool import MAX_IDLE, Pool
from proxy.forward.reading import Reading
from proxy.forward.upstream import Upstream


class Connection(Upstream):
    """Leads nowhere: it is warm until it is closed."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.keep_alive = 55.0
        self.reading = Reading.IDLE
        self.closed = False

    def warm(self, now: float) -> bool:  # noqa: ARG002
        return self.reading is not Reading.CLOSED

    def close(self) -> None:
        self.reading = Reading.CLOSED
        self.closed = True

    def release(self, now: float) -> None:
        self.owner.give_back(self, now)


class Dead(Connection):
    """Ended as soon as it was there."""

    def warm(self, now: float) -> bool:  # noqa: ARG002
        return False


class Dialler(dial.Dialler):
    """Each dial waits for its word: a connection, or an error."""

    def __init__(self) -> None:
        super().__init__(dial.Origin("http", "localhost", 80, 1.0))
        self.dials: list[asyncio.Future] = []

    async def dial(self, protocol):  # noqa: ARG002
        future = asyncio.get_running_loop().create_future()
        self.dials.append(future)
        return await future


class Waiter:
    def __init__(self, pool: Pool, *, gives_back: bool = False) -> None:
        self.pool = pool
        self.got: list[object] = []
        self.gives_back = gives_back

    def connected(self, upstream) -> None:
        self.got.append(upstream)
        if self.gives_back:
            upstream.release(0.0)

    def not_connected(self, error) -> None:
        self.got.append(error)

    def upstream_resolved(self, pool, base) -> None:
        raise AssertionError((pool, base))


async def pool_of(waiting: int, **options):
    dialler = Dialler()
    pool = Pool(dialler, 32768, 200, SystemClock())
    waiters = [Waiter(pool, **options) for _ in range(waiting)]
    for waiter in waiters:
        pool.wait(waiter)
    await asyncio.sleep(0)
    return pool, dialler, waiters


async def ended(pool: Pool) -> None:
    pool.close()
    await asyncio.gather(*pool._dials, return_exceptions=True)


async def test_the_connection_used_last_is_used_next():
    """Row 44."""
    pool, _, _ = await pool_of(0)
    a, b, c = (Connection(pool) for _ in range(3))
    for one in (a, b, c):
        pool.give_back(one, 0.0)
    assert [pool.take(1.0) for _ in range(3)] == [c, b, a]
    assert pool.take(1.0) is None


async def test_what_can_no_longer_be_used_is_passed_over():
    """Row 45."""
    pool, _, _ = await pool_of(0)
    good, bad = Connection(pool), Connection(pool)
    pool.give_back(good, 0.0)
    pool.give_back(bad, 0.0)
    bad.reading = Reading.CLOSED
    assert pool.take(0.0) is good


async def test_idle_connections_are_bounded_in_number_and_in_time():
    """Row 44."""
    pool, _, _ = await pool_of(0)
    all_of_them = [Connection(pool) for _ in range(MAX_IDLE + 5)]
    for number, one in enumerate(all_of_them):
        pool.give_back(one, float(number > 10))
    assert sum(one.closed for one in all_of_them) == 5
    pool.sweep(55.5)
    assert [one.closed for one in all_of_them[:12]] == [True] * 11 + [False]
    pool.sweep(56.1)
    assert pool.take(56.1) is None


async def test_a_connection_that_has_lived_for_long_enough_is_closed_while_idle_or_when_it_comes_back():
    """Row 44: a maximum lifetime."""
    pool, _, _ = await pool_of(0)
    idle, busy, young = (Connection(pool) for _ in range(3))
    for one in (idle, busy):
        one.old_from = 100.0
        pool.give_back(one, 90.0)
    assert pool.take(99.0) is busy
    pool.give_back(young, 99.0)
    pool.sweep(99.9)
    assert not idle.closed
    pool.sweep(100.0)
    assert [idle.closed, busy.closed, young.closed] == [True, False, False], "never in the middle"
    busy.release(101.0)
    assert busy.closed
    assert pool.take(101.0) is young
    assert pool.take(101.0) is None


@pytest.mark.parametrize(("chance", "least", "most"), [(0.0, 3600.0, 3600.0), (1.0, 3240.0, 3240.0), (0.5, 3420, 3420)])
async def test_connections_opened_together_do_not_end_together(chance, least, most):
    """Row 44: an hour, less a tenth of it at most."""
    dialler, clock = Dialler(), FakeClock()
    clock.chance_value = chance
    pool = Pool(dialler, 32768, 200, clock)
    waiter = Waiter(pool)
    pool.wait(waiter)
    await asyncio.sleep(0)
    connection = Connection(pool)
    before = asyncio.get_running_loop().time()
    dialler.dials[0].set_result(connection)
    while not waiter.got:
        await asyncio.sleep(0)
    after = asyncio.get_running_loop().time()
    assert waiter.got == [connection]
    assert before + least <= connection.old_from <= after + most


async def test_who_waits_is_served_by_whichever_comes_first():
    pool, dialler, (first, second) = await pool_of(2)
    returned = Connection(pool)
    pool.give_back(returned, 0.0)
    assert first.got == [returned]
    dialler.dials[0].set_exception(ConnectionRefused("no"))
    await asyncio.sleep(0.01)
    assert second.got == [], "a dial is left for it"
    dialler.dials[1].set_exception(ConnectionRefused("no"))
    await asyncio.sleep(0.01)
    assert [type(one) for one in second.got] == [ConnectionRefused]


async def test_all_who_wait_are_told_when_all_dials_fail_in_one_turn():
    _, dialler, waiters = await pool_of(5)
    for one in dialler.dials:
        one.set_exception(ConnectionRefused("no"))
    await asyncio.sleep(0.01)
    assert [[type(one) for one in waiter.got] for waiter in waiters] == [[ConnectionRefused]] * 5


async def test_nobody_waits_for_a_new_connection_that_ended_before_it_served():
    """Nor does the dial that failed beside it count as one that is still to come."""
    pool, dialler, (first, second) = await pool_of(2)
    dead = Dead(pool)
    dialler.dials[0].set_result(dead)
    dialler.dials[1].set_exception(ConnectionRefused("no"))
    await asyncio.sleep(0.01)
    assert dead.closed
    assert [[type(one) for one in waiter.got] for waiter in (first, second)] == [[ConnectionRefused]] * 2


async def test_requests_that_come_together_are_all_refused_where_nobody_listens():
    async with Gate(f"http://127.0.0.1:{free_port()}") as gate, asyncio.timeout(30):
        answers = await asyncio.gather(*(gate.ask(request()) for _ in range(20)))
    assert [answer.status for answer in answers] == [502] * 20


async def test_who_no_longer_waits_is_not_served():
    pool, _, (first, second) = await pool_of(2)
    pool.forget(first)
    pool.forget(first)
    connection = Connection(pool)
    pool.give_back(connection, 0.0)
    assert (first.got, second.got) == ([], [connection])
    await ended(pool)


async def test_a_thousand_who_give_back_at_once_are_a_loop_and_no_recursion():
    pool, _, waiters = await pool_of(1000, gives_back=True)
    connection = Connection(pool)
    pool.give_back(connection, 0.0)
    assert all(waiter.got == [connection] for waiter in waiters)
    assert pool.take(0.0) is connection
    await ended(pool)


async def test_a_retired_pool_serves_who_waits_already_and_keeps_nothing():
    pool, dialler, (waiter,) = await pool_of(1)
    idle = Connection(pool)
    pool.retire()
    await asyncio.sleep(0)
    assert not dialler.dials[0].cancelled()
    pool.give_back(idle, 0.0)
    assert waiter.got == [idle]
    assert not idle.closed
    pool.give_back(idle, 0.0)
    assert idle.closed
    await ended(pool)


async def test_a_defect_of_dialling_is_an_answer_too():
    _, dialler, (waiter,) = await pool_of(1)
    dialler.dials[0].set_exception(RuntimeError("never mind"))
    await asyncio.sleep(0.01)
    assert [one.status for one in waiter.got] == [500]


async def test_a_hundred_requests_at_once_have_a_connection_each_and_later_ones_share_them(upstream):
    """Row 43: nobody queues behind a limit of connections."""
    release = asyncio.Event()
    for _ in range(100):
        upstream.script(release, OK)
    async with Gate(upstream.url) as gate:
        asked = [asyncio.create_task(gate.ask(request())) for _ in range(100)]
        await upstream.until(lambda: True if len(upstream.requests) == 100 else None)
        release.set()
        assert {answer.status for answer in await asyncio.gather(*asked)} == {200}
        assert upstream.connections == 100
        assert {(await gate.ask(request())).status for _ in range(20)} == {200}
        assert upstream.connections == 100


async def test_who_wants_a_new_connection_is_served_by_no_kept_one():
    pool, dialler, (ordinary,) = await pool_of(1)
    particular = Waiter(pool)
    pool.wait_for_new(particular)
    await asyncio.sleep(0)
    returned, kept, fresh = Connection(pool), Connection(pool), Connection(pool)
    pool.give_back(kept, 0.0)
    pool.give_back(returned, 0.0)
    assert (ordinary.got, particular.got) == ([kept], [])
    dialler.dials[0].set_result(fresh)
    await asyncio.sleep(0.01)
    assert particular.got == [fresh]
    await ended(pool)


async def test_each_who_waits_is_told_when_the_last_dial_has_failed_whatever_it_wanted():
    pool, dialler, (ordinary,) = await pool_of(1)
    particular = Waiter(pool)
    pool.wait_for_new(particular)
    await asyncio.sleep(0)
    for one in dialler.dials:
        one.set_exception(ConnectionRefused("no"))
    await asyncio.sleep(0.01)
    assert [[type(one) for one in waiter.got] for waiter in (ordinary, particular)] == [[ConnectionRefused]] * 2


async def test_who_wanted_a_new_connection_and_has_gone_is_not_served():
    pool, dialler, _ = await pool_of(0)
    particular = Waiter(pool)
    pool.wait_for_new(particular)
    await asyncio.sleep(0)
    pool.forget(particular)
    fresh = Connection(pool)
    dialler.dials[0].set_result(fresh)
    await asyncio.sleep(0.01)
    assert particular.got == []
    assert pool.take(0.0) is fresh


async def test_a_mistake_of_who_wanted_a_new_connection_is_told_to_it_and_ends_its_connection(caplog):
    pool, dialler, (ordinary,) = await pool_of(1)

    class Wrong(Waiter):
        def connected(self, upstream) -> None:
            raise KeyError(upstream)

    wrong = Wrong(pool)
    pool.wait_for_new(wrong)
    await asyncio.sleep(0)
    first, second = Abandoned(pool), Connection(pool)
    dialler.dials[0].set_result(first)
    dialler.dials[1].set_result(second)
    await asyncio.sleep(0.01)
    assert [type(one) for one in wrong.got] == [ProxyError]
    assert (first.abandoned, ordinary.got) == (True, [second])
    assert "while sending a request" in caplog.text


class Abandoned(Connection):
    abandoned = False

    def abandon(self) -> None:
        self.abandoned = True
