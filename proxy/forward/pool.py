"""The connections to one origin: the one used last is used next, so that the others may grow old and be closed.

Decide, then do: `take` answers at once; who must wait is served by whichever comes first, a connection that another
exchange gave back or a new one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol

from proxy.errors import ConnectionRefused, ProxyError
from proxy.forward.dial import Dialler
from proxy.forward.upstream import Upstream

_log = logging.getLogger("auth_sidecar.forward")

IDLE_TIMEOUT = 55.0
"""Seconds that a connection is kept unused: below the 60 s and more after which servers close theirs."""

MAX_IDLE = 256


class Waiter(Protocol):
    """An exchange that wants a connection."""

    def go(self, upstream: Upstream) -> None:
        """Here is one."""

    def not_connected(self, error: ProxyError) -> None:
        """None can be had."""


class Pool:
    """LIFO, warm, bounded by what is in flight: an exchange has one connection, and idle ones are few."""

    def __init__(self, dialler: Dialler, max_head: int, max_fields: int) -> None:
        self.dialler = dialler
        self.max_head = max_head
        self.max_fields = max_fields
        self.open: set[Upstream] = set()
        self._idle: list[Upstream] = []
        self._waiting: deque[Waiter] = deque()
        self._dials: set[asyncio.Task[None]] = set()
        self._closed = False

    def take(self) -> Upstream | None:
        """A warm connection, or None."""
        idle = self._idle
        while idle:
            upstream = idle.pop()
            if upstream.usable:
                return upstream
        return None

    def wait(self, waiter: Waiter) -> None:
        """Serve this one as soon as there is a connection; dial one meanwhile."""
        self._waiting.append(waiter)
        task = asyncio.get_running_loop().create_task(self._dial())
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    def forget(self, waiter: Waiter) -> None:
        """The app hung up; the connection being dialled will serve somebody else."""
        if waiter in self._waiting:
            self._waiting.remove(waiter)

    def give_back(self, upstream: Upstream, now: float) -> None:
        """An exchange is done with this connection, and it can be used again. `now`: of the loop's clock."""
        if self._closed or len(self._idle) >= MAX_IDLE:
            upstream.close()
        elif self._waiting:
            self._waiting.popleft().go(upstream)
        else:
            upstream.idle_until = now + upstream.keep_alive
            self._idle.append(upstream)

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long. The oldest stand first."""
        idle = self._idle
        if idle and (not idle[0].usable or idle[0].idle_until <= now):
            self._idle = [upstream for upstream in idle if upstream.usable and upstream.idle_until > now]
            for upstream in idle:
                if upstream.idle_until <= now:
                    upstream.close()

    def close(self) -> None:
        """Close idle connections now and the others as soon as they are given back."""
        self._closed = True
        for task in self._dials:
            task.cancel()
        for upstream in self._idle:
            upstream.close()
        self._idle.clear()

    async def _dial(self) -> None:
        error: ProxyError = ConnectionRefused("The upstream ended the connection at once")
        try:
            upstream = await self.dialler.dial(lambda: Upstream(self))
        except ProxyError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - whatever it is, who waits must not wait for ever
            _log.error("internal error while connecting, please report: %s", type(failure).__name__)
            error = ProxyError()
        else:
            if isinstance(upstream, Upstream) and upstream.usable:
                self.give_back(upstream, asyncio.get_running_loop().time())
                return
        if self._waiting:
            self._waiting.popleft().not_connected(error)
