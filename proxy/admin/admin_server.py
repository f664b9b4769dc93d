"""aiohttp's runner with connections and sockets of our own; no banner, no access log."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence

from aiohttp import web

from proxy.admin.connection import HEAD_LIMIT, AdminConnection, ConnectionOwner
from proxy.admin.listener import Listener
from proxy.clock import Clock
from proxy.config.schema import Limits

_LINGER = 1.0
"""Seconds for which the rest of a refused body is read: a reset could destroy the answer before it is read."""
_FINISH = 1.0
"""Seconds in which requests may finish once the program ends."""


class Runner(web.AppRunner):
    """Runs one of the admin applications: `setup()`, then `listen()`, then `cleanup()`.

    `limits`: as they are configured now.
    """

    def __init__(self, app: web.Application, limits: Callable[[], Limits], clock: Clock) -> None:
        super().__init__(
            app,
            access_log=None,
            max_line_size=HEAD_LIMIT,
            max_field_size=HEAD_LIMIT,
            lingering_time=_LINGER,
            shutdown_timeout=_FINISH,
        )
        self._limits = limits
        self._clock = clock
        self._listeners: list[Listener] = []

    def listen(self, sockets: Sequence[socket.socket], tls: ssl.SSLContext | None = None) -> Listener:
        """Accept connections on sockets that are bound already; `cleanup` closes them."""
        listener = Listener(sockets, self._connection, lambda: self._limits().header_timeout, tls, self._clock)
        self._listeners.append(listener)
        listener.open()
        return listener

    async def cleanup(self) -> None:
        """Stop accepting, let requests finish for a moment, end."""
        for listener in self._listeners:
            listener.close()
        await super().cleanup()
        for listener in self._listeners:
            await listener.end()
        self._listeners.clear()

    def _connection(self, owner: ConnectionOwner) -> AdminConnection:
        server = self.server
        assert server is not None  # noqa: S101 - after `setup`
        # What `web.Server` does for each connection, with a class of ours.
        options = {**server._kwargs, "keepalive_timeout": self._limits().keep_alive}  # noqa: SLF001
        return AdminConnection(server, owner, loop=server._loop, **options)  # noqa: SLF001
