"""A timeout that allows one more second where the whole process was held up.

When a process that was stopped (a paused container, a stolen CPU) goes on, the deadline has passed, and the answer may
already be in its socket. The event loop runs the timer before it reads the socket: the answer would be dropped, and a
rotated refresh token in it would be lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_LATE = 0.25
"""Seconds by which a timer is late only if the whole process was held up."""
_GRACE = 1.0
"""Seconds to read what is there."""


@asynccontextmanager
async def deadline(seconds: float) -> AsyncIterator[None]:
    """End the block with TimeoutError after that time, as `asyncio.timeout` does; a second later if held up."""
    loop = asyncio.get_running_loop()
    when = loop.time() + seconds

    def passed() -> None:
        now = loop.time()
        limit.reschedule(now + _GRACE if now - when > _LATE else now)

    async with asyncio.timeout(None) as limit:
        timer = loop.call_at(when, passed)
        try:
            yield
        finally:
            timer.cancel()
