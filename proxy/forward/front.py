"""The data path's ground: its listeners, its connections, the one timer that sweeps deadlines, and the way to an end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import stat
import time
from collections.abc import Coroutine, Iterable
from typing import Any

from proxy.clock import Clock
from proxy.config.address import Address
from proxy.forward.lane import Lane
from proxy.forward.pool import Pool
from proxy.forward.server import Downstream
from proxy.forward.site import Site
from proxy.http1.request import RequestHead, forget

SWEEP_EVERY = 0.1
"""Seconds between two looks at all deadlines: no timeout is missed by more."""

_BACKLOG = 4096

_log = logging.getLogger("auth_sidecar.forward")
_access = logging.getLogger("auth_sidecar.access")


class Front:
    """`site` is what new requests are served by; `in_flight` counts requests; `draining`: answers end their connections.

    `access`: which requests are logged: None, "errors" or "all".
    """

    def __init__(self, site: Site, clock: Clock, pools: Iterable[Pool], *, access: str | None = None) -> None:
        self.site = site
        self.clock = clock
        self.pools = list(pools)
        self.access = access
        self.loop = asyncio.get_running_loop()
        self.connections: set[Downstream] = set()
        self.in_flight = 0
        self.draining = False
        self._servers: list[asyncio.Server] = []
        self._background: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def listen(self, address: Address, tls: ssl.SSLContext | None = None, *, reuse_port: bool = False) -> int:
        """Accept connections; the port that it became (0 for a unix socket). Raises OSError."""
        if address.path is not None:
            remove_stale(address.path)
            before = os.umask(0o177)  # the socket is its owner's from its first moment on
            try:
                server = await self.loop.create_unix_server(
                    lambda: Downstream(self), address.path, ssl=tls, backlog=_BACKLOG
                )
            finally:
                os.umask(before)
        else:
            server = await self.loop.create_server(
                lambda: Downstream(self),
                address.host,
                address.port,
                ssl=tls,
                backlog=_BACKLOG,
                reuse_port=reuse_port or None,
            )
        self._servers.append(server)
        if self._timer is None:
            self._timer = self.loop.call_later(SWEEP_EVERY, self._sweep)
        return 0 if address.path is not None else int(server.sockets[0].getsockname()[1])

    def swap(self, site: Site, pools: Iterable[Pool]) -> None:
        """A new configuration: requests that come from now on are its; pools that it does not use end when idle."""
        kept = list(pools)
        for pool in self.pools:
            if pool not in kept:
                pool.close()
        self.site, self.pools = site, kept
        forget()

    async def drain(self, within: float) -> bool:
        """Stop accepting, let requests in flight finish; False if some did not within that many seconds."""
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.drain()
        until = time.monotonic() + within
        while self.connections and time.monotonic() < until:
            await asyncio.sleep(min(0.02, within))
        return not self.connections

    async def close(self) -> None:
        """End everything now."""
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        for pool in self.pools:
            pool.close()
            for upstream in list(pool.open):
                upstream.abandon()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await asyncio.sleep(0)  # the transports' own last callbacks

    def in_background(self, coroutine: Coroutine[Any, Any, object]) -> None:
        """A renewal that no request waits for."""
        task = self.loop.create_task(coroutine)
        self._background.add(task)

        def ended(task: asyncio.Task[object]) -> None:
            self._background.discard(task)
            if not task.cancelled():
                task.exception()  # the manager has logged and counted it

        task.add_done_callback(ended)

    def unexpected(self, error: BaseException) -> None:
        """A defect of ours: named, so that it can be reported, without anything that might be a secret."""
        _log.error("internal error, please report: %s", type(error).__name__)

    def log_access(self, lane: Lane | None, head: RequestHead, status: int, seconds: float) -> None:
        """One line per request, without query and fields."""
        if self.access is None or (self.access == "errors" and status < 500):  # noqa: PLR2004 - server errors
            return
        path = head.target.partition(b"?")[0].decode("latin-1")
        name = lane.name if lane is not None else "-"
        _access.info("%s %s %d route=%s %.1f ms", head.method.decode("latin-1"), path, status, name, seconds * 1000)

    def _sweep(self) -> None:
        self._timer = self.loop.call_later(SWEEP_EVERY, self._sweep)
        now = time.monotonic()
        for connection in [one for one in self.connections if one.deadline <= now]:
            connection.expire()
        for pool in self.pools:
            pool.sweep(now)


def remove_stale(path: str) -> None:
    """Remove a unix socket that a dead process left behind. Raises OSError where something else stands there, or lives."""
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - the path is a socket's name, as everywhere in this file
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(17, "something that is not a socket stands there")
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)  # noqa: PTH108
            return
    raise OSError(98, "another process listens there")
