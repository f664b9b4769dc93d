"""Tasks that nobody waits for: kept while they run, ended together, and none of them fails without a word."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from proxy.defects import tell

T = TypeVar("T")

_CANCEL_AGAIN = 0.05
"""Seconds."""

_log = logging.getLogger("auth_sidecar.app")


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """The result of `work`; None where the event came first and cut it short."""
    task = asyncio.ensure_future(work)
    cut = asyncio.create_task(event.wait())
    try:
        await asyncio.wait((task, cut), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        task.cancel()
        cut.cancel()
        await asyncio.gather(task, cut, return_exceptions=True)


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it has ended.

    Once is not enough: `asyncio.wait_for` of Python 3.11, which libraries use, loses a cancellation that comes in the
    very turn in which what it waits for is done.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=_CANCEL_AGAIN)


async def bounded(work: Coroutine[Any, Any, T], seconds: float) -> T:
    """The result of `work`, which is ended when the time is up or whoever waits is cancelled. Raises TimeoutError."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait((task,), timeout=seconds)
    finally:
        in_time = task.done()
        await end(task)
    if not in_time:
        raise TimeoutError
    return task.result()


class Background:
    """The tasks of one owner. Needs a running loop."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Begin one."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    async def close(self) -> None:
        """End all."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            tell(_log, "beside the requests", error)
