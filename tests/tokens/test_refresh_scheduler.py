from __future__ import annotations

import asyncio
import itertools

import pytest
from support.clock import FakeClock, settle

from proxy.tokens.refresh_scheduler import RefreshScheduler


class Scheduled:
    def __init__(self, scheduler: RefreshScheduler, clock: FakeClock, every: float | None = None) -> None:
        self.moments: list[float] = []
        self._scheduler, self._clock, self._every = scheduler, clock, every

    def renew_if_due(self) -> bool:
        self.moments.append(self._clock.elapsed())
        if self._every is not None:
            self._scheduler.schedule(self, self._clock.elapsed() + self._every)
        return True


@pytest.fixture
async def scheduler():
    clock = FakeClock(elapsed=0.0)
    scheduler = RefreshScheduler(clock)
    scheduler.start()
    yield scheduler, clock
    await scheduler.stop()


async def test_each_is_called_at_its_moment(scheduler):
    scheduler, clock = scheduler
    first, second = Scheduled(scheduler, clock), Scheduled(scheduler, clock, every=10)
    scheduler.schedule(first, 5)
    scheduler.schedule(second, 10)
    await clock.advance(35)
    assert first.moments == [5]
    assert second.moments == pytest.approx([10, 20, 30], abs=0.1)


async def test_an_earlier_moment_wakes_a_sleeping_keeper(scheduler):
    scheduler, clock = scheduler
    kept = Scheduled(scheduler, clock)
    scheduler.schedule(kept, 25)
    await clock.advance(1)
    scheduler.schedule(kept, 3)
    await clock.advance(4)
    assert kept.moments == [3]
    await clock.advance(50)
    assert kept.moments == [3], "the moment before does not count any more"


async def test_what_is_overdue_is_called_at_once(scheduler):
    scheduler, clock = scheduler
    kept = Scheduled(scheduler, clock)
    await clock.advance(10)
    scheduler.schedule(kept, 4)
    await settle()
    assert kept.moments == [10]


async def test_what_is_forgotten_is_left_alone(scheduler):
    scheduler, clock = scheduler
    kept = Scheduled(scheduler, clock)
    scheduler.schedule(kept, 5)
    scheduler.forget(kept)
    scheduler.forget(kept)
    await clock.advance(60)
    assert kept.moments == []


async def test_after_a_suspend_everything_due_is_called_once_the_timers_run(scheduler):
    scheduler, clock = scheduler
    kept = Scheduled(scheduler, clock)
    scheduler.schedule(kept, 1000)
    await settle()
    clock.suspend(5000)
    await clock.advance(0)
    assert kept.moments == [5000]


async def test_a_wall_clock_stepped_forward_is_noticed_within_half_a_minute(scheduler):
    """A8."""
    scheduler, clock = scheduler
    kept = Scheduled(scheduler, clock)
    scheduler.schedule(kept, 10_000)
    await clock.advance(1)
    clock.step_wall(3600)
    await clock.advance(30)
    assert len(kept.moments) == 1
    await clock.advance(60)
    assert len(kept.moments) == 1, "once for each step"


async def test_a_wall_clock_stepped_back_is_nothing_to_do(scheduler):
    scheduler, clock = scheduler
    kept = Scheduled(scheduler, clock)
    scheduler.schedule(kept, 10_000)
    await clock.advance(1)
    clock.step_wall(-3600)
    await clock.advance(60)
    assert kept.moments == []


async def test_a_storm_is_spread(scheduler):
    """Renewals that fall due together start a moment apart."""
    scheduler, clock = scheduler
    crowd = [Scheduled(scheduler, clock) for _ in range(20)]
    for kept in crowd:
        scheduler.schedule(kept, 5)
    await clock.advance(10)
    moments = sorted(moment for kept in crowd for moment in kept.moments)
    assert len(moments) == 20
    assert len(set(moments)) == 20
    assert moments[-1] - moments[0] < 0.1


async def test_one_that_is_forgotten_during_a_storm_is_left_alone(scheduler):
    scheduler, clock = scheduler
    crowd = [Scheduled(scheduler, clock) for _ in range(3)]
    for kept in crowd:
        scheduler.schedule(kept, 5)
    await clock.advance(5)
    scheduler.forget(crowd[2])
    await clock.advance(5)
    assert [len(kept.moments) for kept in crowd] == [1, 1, 0]


async def test_outdated_moments_do_not_pile_up(scheduler):
    scheduler, clock = scheduler
    kept = Scheduled(scheduler, clock)
    for moment in range(10_000):
        scheduler.schedule(kept, 100_000 + moment)
    assert len(scheduler._queue) < 200
    await clock.advance(110_000 - clock.elapsed())
    assert kept.moments == [109_999]


async def test_the_same_moment_twice_is_one(scheduler):
    scheduler, clock = scheduler
    kept = Scheduled(scheduler, clock)
    scheduler.schedule(kept, 5)
    scheduler.schedule(kept, 5)
    scheduler.start()
    await clock.advance(10)
    assert kept.moments == [5]


async def test_a_stopped_keeper_calls_nobody_and_stops_twice():
    clock = FakeClock(elapsed=0.0)
    scheduler = RefreshScheduler(clock)
    kept = Scheduled(scheduler, clock)
    scheduler.schedule(kept, 5)
    scheduler.start()
    await settle()
    await scheduler.stop()
    await scheduler.stop()
    await clock.advance(60)
    assert kept.moments == []


class Odd(BaseException):
    """No Exception, and no cancellation."""


class Broken(Scheduled):
    """Fails by a mistake of ours until it is mended."""

    def __init__(self, scheduler: RefreshScheduler, clock: FakeClock, error: BaseException) -> None:
        super().__init__(scheduler, clock)
        self.error: BaseException | None = error

    def renew_if_due(self) -> bool:
        super().renew_if_due()
        if self.error is not None:
            raise self.error
        return True


@pytest.mark.parametrize("error", [ValueError("s3cret"), Odd("s3cret"), SystemExit("s3cret"), asyncio.CancelledError()])
async def test_ones_mistake_keeps_nobody_waiting_and_it_is_asked_again_ever_more_slowly(scheduler, error, caplog):
    scheduler, clock = scheduler
    broken, good = Broken(scheduler, clock, error), Scheduled(scheduler, clock, every=10)
    scheduler.schedule(broken, 5)
    scheduler.schedule(good, 5)
    await clock.advance(600)
    assert len(good.moments) == 60
    pauses = [later - earlier for earlier, later in itertools.pairwise(broken.moments)]
    assert pauses[:6] == pytest.approx([1, 2, 4, 8, 16, 32], abs=0.1)
    assert max(pauses) == pytest.approx(60, abs=0.1)
    assert [record.getMessage().partition(" at ")[0] for record in caplog.records] == [
        f"internal error while a credential was kept fresh, please report: {type(error).__name__}"
    ], "said once"
    assert "s3cret" not in caplog.text
    broken.error = None
    await clock.advance(61)
    times = len(broken.moments)
    await clock.advance(600)
    assert len(broken.moments) == times, "it is well again, and asked when it says"


async def test_a_mistake_in_the_round_itself_ends_no_renewals(scheduler, monkeypatch, caplog):
    scheduler, clock = scheduler
    kept = Scheduled(scheduler, clock)
    await settle()
    monkeypatch.setattr("proxy.tokens.refresh_scheduler._AGAIN", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(scheduler, "_due", lambda: 1 / 0)
        scheduler.schedule(kept, 1)
        await clock.advance(2)
        assert kept.moments == []
    await clock.advance(1)
    assert len(kept.moments) == 1
    assert "internal error in the refresh scheduler, please report: ZeroDivisionError" in caplog.text


async def test_a_clock_that_fails_makes_no_haste(monkeypatch):
    clock = FakeClock()
    sleeps = 0

    async def sleep(seconds: float) -> None:  # noqa: ARG001 - the interface
        nonlocal sleeps
        sleeps += 1
        raise OSError("no clock")

    monkeypatch.setattr(clock, "sleep", sleep)
    scheduler = RefreshScheduler(clock)
    scheduler.start()
    await settle(200)
    assert sleeps == 1
    await scheduler.stop()
