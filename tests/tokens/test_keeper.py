from __future__ import annotations

import asyncio
import itertools

import pytest
from support.clock import FakeClock, settle

from proxy.tokens.keeper import Keeper


class Kept:
    def __init__(self, keeper: Keeper, clock: FakeClock, every: float | None = None) -> None:
        self.moments: list[float] = []
        self._keeper, self._clock, self._every = keeper, clock, every

    def attend(self) -> bool:
        self.moments.append(self._clock.elapsed())
        if self._every is not None:
            self._keeper.at(self, self._clock.elapsed() + self._every)
        return True


@pytest.fixture
async def keeper():
    clock = FakeClock(elapsed=0.0)
    keeper = Keeper(clock)
    keeper.start()
    yield keeper, clock
    await keeper.stop()


async def test_each_is_called_at_its_moment(keeper):
    keeper, clock = keeper
    first, second = Kept(keeper, clock), Kept(keeper, clock, every=10)
    keeper.at(first, 5)
    keeper.at(second, 10)
    await clock.advance(35)
    assert first.moments == [5]
    assert second.moments == pytest.approx([10, 20, 30], abs=0.1)


async def test_an_earlier_moment_wakes_a_sleeping_keeper(keeper):
    keeper, clock = keeper
    kept = Kept(keeper, clock)
    keeper.at(kept, 25)
    await clock.advance(1)
    keeper.at(kept, 3)
    await clock.advance(4)
    assert kept.moments == [3]
    await clock.advance(50)
    assert kept.moments == [3], "the moment before does not count any more"


async def test_what_is_overdue_is_called_at_once(keeper):
    keeper, clock = keeper
    kept = Kept(keeper, clock)
    await clock.advance(10)
    keeper.at(kept, 4)
    await settle()
    assert kept.moments == [10]


async def test_what_is_forgotten_is_left_alone(keeper):
    keeper, clock = keeper
    kept = Kept(keeper, clock)
    keeper.at(kept, 5)
    keeper.forget(kept)
    keeper.forget(kept)
    await clock.advance(60)
    assert kept.moments == []


async def test_after_a_suspend_everything_due_is_called_once_the_timers_run(keeper):
    keeper, clock = keeper
    kept = Kept(keeper, clock)
    keeper.at(kept, 1000)
    await settle()
    clock.suspend(5000)
    await clock.advance(0)
    assert kept.moments == [5000]


async def test_a_wall_clock_stepped_forward_is_noticed_within_half_a_minute(keeper):
    """A8."""
    keeper, clock = keeper
    kept = Kept(keeper, clock)
    keeper.at(kept, 10_000)
    await clock.advance(1)
    clock.step_wall(3600)
    await clock.advance(30)
    assert len(kept.moments) == 1
    await clock.advance(60)
    assert len(kept.moments) == 1, "once for each step"


async def test_a_wall_clock_stepped_back_is_nothing_to_do(keeper):
    keeper, clock = keeper
    kept = Kept(keeper, clock)
    keeper.at(kept, 10_000)
    await clock.advance(1)
    clock.step_wall(-3600)
    await clock.advance(60)
    assert kept.moments == []


async def test_a_storm_is_spread(keeper):
    """Renewals that fall due together start a moment apart."""
    keeper, clock = keeper
    crowd = [Kept(keeper, clock) for _ in range(20)]
    for kept in crowd:
        keeper.at(kept, 5)
    await clock.advance(10)
    moments = sorted(moment for kept in crowd for moment in kept.moments)
    assert len(moments) == 20
    assert len(set(moments)) == 20
    assert moments[-1] - moments[0] < 0.1


async def test_one_that_is_forgotten_during_a_storm_is_left_alone(keeper):
    keeper, clock = keeper
    crowd = [Kept(keeper, clock) for _ in range(3)]
    for kept in crowd:
        keeper.at(kept, 5)
    await clock.advance(5)
    keeper.forget(crowd[2])
    await clock.advance(5)
    assert [len(kept.moments) for kept in crowd] == [1, 1, 0]


async def test_outdated_moments_do_not_pile_up(keeper):
    keeper, clock = keeper
    kept = Kept(keeper, clock)
    for moment in range(10_000):
        keeper.at(kept, 100_000 + moment)
    assert len(keeper._queue) < 200
    await clock.advance(110_000 - clock.elapsed())
    assert kept.moments == [109_999]


async def test_the_same_moment_twice_is_one(keeper):
    keeper, clock = keeper
    kept = Kept(keeper, clock)
    keeper.at(kept, 5)
    keeper.at(kept, 5)
    keeper.start()
    await clock.advance(10)
    assert kept.moments == [5]


async def test_a_stopped_keeper_calls_nobody_and_stops_twice():
    clock = FakeClock(elapsed=0.0)
    keeper = Keeper(clock)
    kept = Kept(keeper, clock)
    keeper.at(kept, 5)
    keeper.start()
    await settle()
    await keeper.stop()
    await keeper.stop()
    await clock.advance(60)
    assert kept.moments == []


class Odd(BaseException):
    """No Exception, and no cancellation."""


class Broken(Kept):
    """Fails by a mistake of ours until it is mended."""

    def __init__(self, keeper: Keeper, clock: FakeClock, error: BaseException) -> None:
        super().__init__(keeper, clock)
        self.error: BaseException | None = error

    def attend(self) -> bool:
        super().attend()
        if self.error is not None:
            raise self.error
        return True


@pytest.mark.parametrize("error", [ValueError("s3cret"), Odd("s3cret"), SystemExit("s3cret"), asyncio.CancelledError()])
async def test_ones_mistake_keeps_nobody_waiting_and_it_is_asked_again_ever_more_slowly(keeper, error, caplog):
    keeper, clock = keeper
    broken, good = Broken(keeper, clock, error), Kept(keeper, clock, every=10)
    keeper.at(broken, 5)
    keeper.at(good, 5)
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


async def test_a_mistake_in_the_round_itself_ends_no_renewals(keeper, monkeypatch, caplog):
    keeper, clock = keeper
    kept = Kept(keeper, clock)
    await settle()
    monkeypatch.setattr("proxy.tokens.keeper._AGAIN", 0.0)
    with monkeypatch.context() as broken:
        broken.setattr(keeper, "_due", lambda: 1 / 0)
        keeper.at(kept, 1)
        await clock.advance(2)
        assert kept.moments == []
    await clock.advance(1)
    assert len(kept.moments) == 1
    assert "internal error in the keeper, please report: ZeroDivisionError" in caplog.text


async def test_a_clock_that_fails_makes_no_haste(monkeypatch):
    clock = FakeClock()
    sleeps = 0

    async def sleep(seconds: float) -> None:  # noqa: ARG001 - the interface
        nonlocal sleeps
        sleeps += 1
        raise OSError("no clock")

    monkeypatch.setattr(clock, "sleep", sleep)
    keeper = Keeper(clock)
    keeper.start()
    await settle(200)
    assert sleeps == 1
    await keeper.stop()
