from __future__ import annotations

import asyncio
import socket
import time

import pytest

from proxy.tokens.deadline import deadline


async def test_what_takes_too_long_is_ended():
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with deadline(0.05):
            await asyncio.sleep(60)

    assert 0.05 <= time.monotonic() - started < 5


async def test_what_ends_in_time_is_left_alone():
    async with deadline(0.05):
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)


async def test_a_cancelled_block_is_cancelled_and_not_late():
    async def waiting():
        async with deadline(60):
            await asyncio.sleep(60)

    task = asyncio.create_task(waiting())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_process_that_was_stopped_hears_first_what_arrived_meanwhile():
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0)
        async with deadline(0.05):
            answer = asyncio.create_task(loop.sock_recv(ours, 10))
            await asyncio.sleep(0)
            theirs.send(b"answer")
            time.sleep(0.5)
            assert await answer == b"answer"
            await asyncio.sleep(0.05)


async def test_but_it_does_not_wait_for_what_never_comes():
    async def stopped():
        async with deadline(0.05):
            time.sleep(0.5)
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await stopped()
