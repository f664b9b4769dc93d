"""The admin side's sockets: which connections are accepted, how long they may be silent, which one makes room.

Nobody is turned away. Where all places are taken, the connection that has been silent longest ends, one without a
request before one that is being served, so that strangers who hold connections open cannot keep a probe or a pusher
out. The same holds for file descriptors: a few are kept in reserve for the moment when the process has no others.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from proxy.admin.connection import AdminConnection, ConnectionOwner
from proxy.clock import Clock

MOST_CONNECTIONS = 256
"""Connections of one listener at most."""
SWEEP_EVERY = 0.1
"""Seconds between two checks of all deadlines."""

_BACKLOG = 4096
_AT_ONCE = 16
"""Connections accepted in one turn of the loop: in a storm, a place lasts for several turns, and a head is read in the
second."""
_RESERVE = 4
_RETRY = 0.05
"""Seconds until accepting is tried again where the reserve of descriptors is empty too."""
_LONGEST = 300.0
"""Seconds after which a silent caller is ended even though a request of it is being served: it may read no answer."""
_OUT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_FAREWELL = 1.0
"""Seconds for the closing handshake of a TLS connection."""

_log = logging.getLogger("auth_sidecar.admin")

Maker = Callable[[ConnectionOwner], AdminConnection]


class Listener:
    """One application's bound sockets. `make` makes a connection; `patience`: seconds for a head, as configured now."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        make: Maker,
        patience: Callable[[], float],
        tls: ssl.SSLContext | None,
        clock: Clock,
    ) -> None:
        self.clock = clock
        self._sockets = list(sockets)
        self._make = make
        self._patience = patience
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._connections: dict[AdminConnection, None] = {}  # whoever was silent longest is the first
        self._reserve: list[int] = []
        self._retries: dict[int, asyncio.TimerHandle] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._told = float("-inf")

    def __len__(self) -> int:
        """The number of connections."""
        return len(self._connections)

    def open(self) -> None:
        """Begin to accept."""
        self._keep()
        for listening in self._sockets:
            listening.settimeout(0)
            listening.listen(_BACKLOG)
            self._loop.add_reader(listening, self._accept, listening)

    def close(self) -> None:
        """Stop accepting; connections stay."""
        for timer in (self._timer, *self._retries.values()):
            if timer is not None:
                timer.cancel()
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()
        while self._reserve:
            os.close(self._reserve.pop())

    async def end(self) -> None:
        """End the connections that are left."""
        left = [*self._connections]
        for connection in left:
            connection.end()
        await asyncio.gather(*(one.handshake for one in left if one.handshake is not None), return_exceptions=True)
        await asyncio.sleep(0)  # the transports' own last callbacks

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                caller, _address = listening.accept()
            except OSError as error:  # nobody waits, or who waited has gone, or there is no descriptor
                if error.errno not in _OUT or not self._found_one(listening):
                    return
            else:
                self._take(caller)

    def _take(self, caller: socket.socket) -> None:
        caller.settimeout(0)
        if len(self._connections) >= MOST_CONNECTIONS:
            self._end_longest_silent()
        connection = self._make(self)
        self._connections[connection] = None
        connection.handshake = self._loop.create_task(self._greet(connection, caller))
        connection.handshake.add_done_callback(partial(self._greeted, connection, caller))
        if self._timer is None:
            self._timer = self._loop.call_later(SWEEP_EVERY, self._sweep)

    async def _greet(self, connection: AdminConnection, caller: socket.socket) -> None:
        """Make the connection. A client that speaks no TLS or has gone is not logged."""
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                caller,
                ssl=self._tls,
                ssl_handshake_timeout=self._patience() if self._tls is not None else None,
                ssl_shutdown_timeout=_FAREWELL if self._tls is not None else None,
            )
        except Exception as error:  # noqa: BLE001 - whatever a stranger's octets lead to
            _log.debug("a connection was not made: %s", type(error).__name__)

    def _greeted(self, connection: AdminConnection, caller: socket.socket, _: asyncio.Task[None]) -> None:
        connection.handshake = None
        if not connection.made:
            caller.close()
            self.forget(connection)

    def heard_of(self, connection: AdminConnection) -> None:
        """Move a connection that has sent something to the end of the order, unless it is being ended."""
        if connection in self._connections:
            del self._connections[connection]
            self._connections[connection] = None

    def forget(self, connection: AdminConnection) -> None:
        """Forget a connection that has ended, and take a descriptor into the reserve again."""
        self._connections.pop(connection, None)
        if len(self._reserve) < _RESERVE and self._sockets:
            self._loop.call_soon(self._keep)  # its own descriptor is closed by then

    def _end_longest_silent(self) -> bool:
        """Make room for a new connection. False if there is none that could be ended."""
        if not self._connections:
            return False
        longest = next((one for one in self._connections if one.waits), next(iter(self._connections)))
        del self._connections[longest]
        longest.end()
        return True

    def _found_one(self, listening: socket.socket) -> bool:
        """Free a descriptor from the reserve. False if the reserve is empty: then accepting pauses for a moment."""
        now = self.clock.monotonic()
        if now - self._told >= _LONGEST:
            self._told = now
            _log.error("no file descriptors are left (ulimit -n): the admin side goes on with its reserve")
        if self._reserve:
            os.close(self._reserve.pop())
            return True
        self._loop.remove_reader(listening)
        delay = 0.0 if self._end_longest_silent() else _RETRY
        self._retries[listening.fileno()] = self._loop.call_later(delay, self._accept_again, listening)
        return False

    def _accept_again(self, listening: socket.socket) -> None:
        self._loop.add_reader(listening, self._accept, listening)
        self._accept(listening)

    def _keep(self) -> None:
        """Fill the reserve up again, as far as there are descriptors."""
        with suppress(OSError):
            while len(self._reserve) < _RESERVE and self._sockets:
                self._reserve.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def _sweep(self) -> None:
        now, patience = self.clock.monotonic(), self._patience()
        for connection in [*self._connections]:
            connection.look(now)
            if connection.head_since is not None and now - connection.head_since >= patience:
                connection.expire()
            elif now - connection.heard >= _LONGEST:
                connection.end()
        if len(self._reserve) < _RESERVE:
            self._keep()
        again = bool(self._connections) or len(self._reserve) < _RESERVE
        self._timer = self._loop.call_later(SWEEP_EVERY, self._sweep) if again else None
