from __future__ import annotations

import asyncio

import pytest
from support.clock import settle

from proxy.background import Background, bounded, end, unless


async def test_a_task_that_fails_is_told_of_and_the_others_go_on(caplog):
    background, done = Background(), []

    async def fails() -> None:
        raise KeyError("s3cret")

    async def works() -> None:
        await asyncio.sleep(0)
        done.append(1)

    background.spawn(fails())
    background.spawn(works())
    await settle()
    assert done == [1]
    assert "internal error beside the requests, please report: KeyError at test_background.py" in caplog.text
    assert "s3cret" not in caplog.text
    await background.close()


async def test_closing_ends_what_runs_and_forgets_it():
    background, ended = Background(), []

    async def endless() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(1)

    background.spawn(endless())
    await settle()
    await background.close()
    assert ended == [1]
    assert not background._tasks


async def test_work_is_cut_short_by_an_event_and_has_its_result_otherwise():
    event = asyncio.Event()

    async def result() -> int:
        await asyncio.sleep(0)
        return 7

    async def fails() -> int:
        raise KeyError

    assert await unless(event, result()) == 7
    with pytest.raises(KeyError):
        await unless(event, fails())
    endless = asyncio.create_task(unless(event, asyncio.sleep(1000, 7)))
    await settle()
    event.set()
    assert await endless is None


async def test_a_task_that_loses_its_cancellation_is_ended_all_the_same():
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end(task)
    assert (task.cancelled(), lost) == (True, 3)
    await end(task)


async def test_bounded_work_ends_with_its_result_its_error_or_its_time():
    async def fail() -> None:
        raise LookupError

    assert await bounded(asyncio.sleep(0, "result"), 60) == "result"
    with pytest.raises(LookupError):
        await bounded(fail(), 60)
    with pytest.raises(TimeoutError):
        await bounded(asyncio.sleep(600), 0.01)


async def test_bounded_work_ends_with_whoever_waits_for_it():
    waiting = asyncio.create_task(bounded(asyncio.sleep(600), 600))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait((waiting,))
    assert waiting.cancelled()
