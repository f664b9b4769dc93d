"""The connections to one origin: the one used last is used next, so that the others may grow old and be closed.

None lives for ever: names lead elsewhere, certificates are exchanged, load is spread anew behind one address. One that
is too old is closed while idle or when its answer is complete, never in the middle.

Decide, then do: `take` answers at once; who must wait is served by whichever comes first, a connection that another
exchange gave back or a new one.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol, cast

from proxy.clock import Clock
from proxy.defects import known
from proxy.errors import ConnectionRefused, ProxyError
from proxy.forward.dial import Dialler, Origin
from proxy.forward.egress import Egress
from proxy.forward.owner import Recipient
from proxy.forward.reading import Reading
from proxy.forward.upstream import Upstream

_log = logging.getLogger("auth_sidecar.forward")

MAX_IDLE = 256

LIFETIME = 3600.0
"""Seconds for which a connection is used, less up to a tenth of it by chance: those opened together part one by one."""

_JITTER = 0.1

_DOUBT = 60.0
"""Seconds for which every kept connection is looked at before it is used, after one that seemed good was dead: the
upstream closes connections without a word, or has restarted. For as long, what could not be sent again goes over new
connections alone, after one ended under a request or right behind an answer: looking does not help there."""


class Waiter(Recipient[Upstream], Protocol):
    """An exchange that wants a connection, and may not know yet from which pool."""

    def upstream_resolved(self, pool: Pool, base: bytes) -> None:
        """Connections are here, and this path goes before the target: it was not known before (`discovery.py`)."""


class Connections(Protocol):
    """What an exchange asks for a connection: a pool, or a discovery while nobody knows yet which pool."""

    origin: Origin

    @property
    def forwards(self) -> Egress | None:
        """The egress proxy, where requests are sent to it and not through it."""

    def take(self, now: float) -> Upstream | None:
        """A warm connection, or None."""

    def wait(self, waiter: Waiter) -> None:
        """Serve this one as soon as possible."""

    def forget(self, waiter: Waiter) -> None:
        """The app hung up."""


class Pool:
    """LIFO, warm, bounded by what is in flight: an exchange has one connection, and idle ones are few."""

    def __init__(self, dialler: Dialler, max_head: int, max_fields: int, clock: Clock) -> None:
        self.dialler = dialler
        self.origin = dialler.origin
        self.forwards = dialler.forwards
        self.max_head = max_head
        self.max_fields = max_fields
        self.open: set[Upstream] = set()
        self._idle: list[Upstream] = []
        self.doubted_until = 0.0
        self.shunned_until = 0.0
        self._waiting: deque[Recipient[Upstream]] = deque()
        self._wanting_new: deque[Recipient[Upstream]] = deque()
        self._dials: set[asyncio.Task[None]] = set()
        self._chance, self.now = clock.chance, clock.monotonic
        self._retired = False
        self._serving = False

    def take(self, now: float) -> Upstream | None:
        """A warm connection, or None."""
        idle = self._idle
        while idle:
            upstream = idle.pop()
            if upstream.warm(now):
                return upstream
            self.doubt(now)
            upstream.close()
        return None

    def doubt(self, now: float) -> None:
        """A kept connection was dead when it was to be used: the others may be so, too."""
        self.doubted_until = now + _DOUBT

    def shun(self, now: float) -> None:
        """A kept connection ended when nobody could know: what could not be sent again goes over no kept one."""
        self.doubted_until = self.shunned_until = now + _DOUBT

    def wait(self, waiter: Recipient[Upstream]) -> None:
        """Serve this one as soon as there is a connection; dial one meanwhile."""
        self._waiting.append(waiter)
        self._begin_dial()

    def replace(self, upstream: Upstream, waiter: Recipient[Upstream], now: float, *, new: bool) -> None:
        """End a kept connection that is over, or may be (then only a `new` one will do), and serve the waiter."""
        upstream.close()
        if new:
            self.wait_for_new(waiter)
            return
        self.doubt(now)
        other = self.take(now)
        if other is None:
            self.wait(waiter)
        else:
            waiter.connected(other)

    def wait_for_new(self, waiter: Recipient[Upstream]) -> None:
        """Serve this one with a new connection alone: a kept one has just failed it, and the next could do the same."""
        self._wanting_new.append(waiter)
        self._begin_dial()

    def _begin_dial(self) -> None:
        task = asyncio.get_running_loop().create_task(self._dial())
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    def forget(self, waiter: Recipient[Upstream]) -> None:
        """The app hung up; the connection being dialled will serve somebody else."""
        for queue in (self._waiting, self._wanting_new):
            if waiter in queue:
                queue.remove(waiter)

    def give_back(self, upstream: Upstream, now: float) -> None:
        """An exchange is done with this connection, and it can be used again. `now`: as `Owner.now` tells it."""
        upstream.idle_since = now
        if upstream.private:  # it waits for its app (`private.py`)
            if self._retired:
                upstream.close()
            return
        if upstream.old_from <= now:
            upstream.close()
            return
        self._idle.append(upstream)
        if self._waiting:
            self._serve(now)
        if len(self._idle) > (0 if self._retired else MAX_IDLE):
            self._idle.pop().close()

    def _serve(self, now: float) -> None:
        """One after the other: who gives its connection back at once makes this loop longer, not deeper."""
        if self._serving:
            return
        self._serving = True
        try:
            while self._waiting and (upstream := self.take(now)) is not None:
                _hand(upstream, self._waiting.popleft())
        finally:
            self._serving = False

    def sweep(self, now: float) -> None:
        """Close what has been idle, or has lived, for too long."""
        over = [upstream for upstream in self._idle if _is_over(upstream, now)]
        if over:
            self._idle = [upstream for upstream in self._idle if upstream not in over]
            for upstream in over:
                upstream.close()

    def retire(self) -> None:
        """Nobody new comes: close idle connections now, and the others when who still waits has been served."""
        self._retired = True
        while self._idle:
            self._idle.pop().close()
        for upstream in [one for one in self.open if one.private and one.handler is None]:
            upstream.close()

    def close(self) -> None:
        """End everything now."""
        self.retire()
        for task in self._dials:
            task.cancel()
        for upstream in list(self.open):
            upstream.abandon()

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
            if isinstance(upstream, Upstream) and upstream.reading is not Reading.CLOSED:
                now = self.now()
                upstream.old_from = now + LIFETIME * (1 - _JITTER * self._chance())
                if self._wanting_new:
                    _hand(upstream, self._wanting_new.popleft())
                else:
                    self.give_back(upstream, now)
        # Many dials may end in one turn of the loop, and their tasks are done only after it: this one counts no more.
        self._dials.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        while len(self._waiting) + len(self._wanting_new) > len(self._dials):  # else a dial is left for each
            (self._waiting or self._wanting_new).popleft().not_connected(error)


def _hand(upstream: Upstream, waiter: Recipient[Upstream]) -> None:
    try:
        waiter.connected(upstream)
    except Exception as error:  # noqa: BLE001 - it is this request's, and nobody else's
        upstream.abandon()
        waiter.not_connected(known(_log, "while sending a request", error))


def _is_over(upstream: Upstream, now: float) -> bool:
    closed = upstream.reading is Reading.CLOSED
    return closed or upstream.old_from <= now or upstream.idle_since + upstream.keep_alive <= now
