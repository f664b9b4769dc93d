"""The data path's ground: its listeners, its connections, the one timer that sweeps deadlines, and how it all ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from proxy.clock import Clock
from proxy.config.address import Address
from proxy.defects import tell
from proxy.errors import LimitReached, ProxyError
from proxy.forward.buffers import prepare_tls
from proxy.forward.context import Connection, EndsWithToken
from proxy.forward.descriptors import Descriptors, waiting
from proxy.forward.directory_errors import ShuttingDown
from proxy.forward.downstream import Downstream
from proxy.forward.exchange import Phase
from proxy.forward.live_route import LiveRoute
from proxy.forward.malloc_tuning import Returned
from proxy.forward.outbound import fate_of_authorization
from proxy.forward.pool import MAX_IDLE, Pool
from proxy.forward.request_body import RequestBody
from proxy.forward.router import Router
from proxy.forward.socket_file import SocketFile, private, remove_stale
from proxy.http1.request import RequestFields, RequestHead, forget
from proxy.model import Token

SWEEP_EVERY = 0.1
"""Seconds between two looks at all deadlines: no timeout is missed by more."""

LOOK_EVERY = 1.0
"""Seconds between two looks for apps that hung up while nothing is read from them."""

_BACKLOG = 4096

_OTHER_FILES = 1024
"""File descriptors for listeners, token requests, the admin side, the store, ...; connections have theirs twice."""

_LAST_WORDS = 1.0
"""Seconds before the end in which requests that still wait are told that they do so in vain."""

_LATE = 1.0
"""Seconds in which an app that connected just before the end may send its request."""

_log = logging.getLogger("auth_sidecar.forward")
_access = logging.getLogger("auth_sidecar.access")


class ProxyServer:
    """Where connections arrive.

    `site` is what new requests are served by; `in_flight` counts requests; `draining`: answers end their connections.
    `memory`: what slow readers had. `expiring`: connections that end when a token does.
    `access`: which requests are logged: None, "errors" or "all".
    """

    def __init__(self, site: Router, clock: Clock, pools: Iterable[Pool], *, access: str | None = None) -> None:
        self.site = site
        self.clock, self.now = clock, clock.monotonic
        self.pools, self.access = list(pools), access
        self.loop = asyncio.get_running_loop()
        self.connections: set[Connection] = set()
        self.expiring: dict[EndsWithToken, Token] = {}
        self.in_flight, self.draining = 0, False
        self._emptied = asyncio.Event()
        self._files: list[SocketFile] = []
        self._servers: list[tuple[asyncio.Server, ssl.SSLContext | None]] = []
        self._waiting: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._descriptors = Descriptors()
        self._next_look = 0.0
        self.memory = Returned()

    async def listen(self, address: Address, tls: ssl.SSLContext | None = None, *, reuse_port: bool = False) -> int:
        """Accept connections; the port that it became (0 for a unix socket). Raises OSError."""
        patience = self._patience(tls)
        if tls is not None:
            prepare_tls()
        if address.path is not None:
            remove_stale(address.path)
            with private():
                server = await self.loop.create_unix_server(
                    lambda: Downstream(self),
                    address.path,
                    ssl=tls,
                    ssl_handshake_timeout=patience,
                    backlog=_BACKLOG,
                )
            self._files.append(SocketFile(address.path))
        else:
            server = await self.loop.create_server(
                lambda: Downstream(self),
                address.host,
                address.port,
                ssl=tls,
                ssl_handshake_timeout=patience,
                backlog=_BACKLOG,
                reuse_port=reuse_port or None,
            )
        self._servers.append((server, tls))
        if self._timer is None:
            self._timer = self.loop.call_later(SWEEP_EVERY, self._sweep)
            self._descriptors.guard(self.loop)
            self._ask_for_descriptors()
        return 0 if address.path is not None else int(server.sockets[0].getsockname()[1])

    def swap(self, site: Router, pools: Iterable[Pool]) -> None:
        """A new configuration: requests that come from now on are its; pools that it does not use end when idle."""
        kept = list(pools)
        for pool in self.pools:
            if pool not in kept:
                pool.retire()
        self.site, self.pools = site, kept
        if self._timer is not None:
            self._ask_for_descriptors()
        forget()

    def _ask_for_descriptors(self) -> None:
        """For as many connections as there may be, those of the upstreams included, idle ones too."""
        self._descriptors.ask(2 * self.site.limits.max_connections + MAX_IDLE * len(self.pools) + _OTHER_FILES)

    async def drain(self, within: float) -> bool:
        """Stop accepting, let requests in flight finish; False if some did not within that many seconds.

        Those that wait until then for anything but the rest of their answer get an answer of ours shortly before.
        """
        self.draining = True
        last = [  # they would be reset if their listener closed over them
            (app, tls)
            for server, tls in self._servers
            for listening in server.sockets
            for app in waiting(listening.fileno())
        ]
        self._stop_listening()
        for connection in list(self.connections):
            connection.drain()
        told = min(_LAST_WORDS, within / 4)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within - told):
                await asyncio.gather(*(self._admit_late(*one) for one in last))
                await self._empty()
        self._give_up()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(told):
                await self._empty()
        return not self.connections

    async def _empty(self) -> None:
        while self.connections:
            self._emptied.clear()
            await self._emptied.wait()

    def _give_up(self) -> None:
        """Time is up: who still waits for an answer is told so, while there is time to read it."""
        for connection in list(self.connections):
            if isinstance(connection, Downstream) and (exchange := connection.exchange) is not None:
                if exchange.phase is not Phase.RELAY:
                    exchange.fail(ShuttingDown("The sidecar is shutting down"))
            elif isinstance(connection, Downstream):
                connection.expire()

    async def _admit_late(self, app: socket.socket, tls: ssl.SSLContext | None) -> None:
        with contextlib.suppress(OSError):  # it has hung up, or speaks no TLS
            _, connection = await self.loop.connect_accepted_socket(
                lambda: Downstream(self), app, ssl=tls, ssl_handshake_timeout=self._patience(tls)
            )
            connection.drain(_LATE)

    def _patience(self, tls: ssl.SSLContext | None) -> float | None:
        """Seconds for a handshake: who does not begin to speak TLS is held no longer than who sends no head."""
        return self.site.limits.header_timeout if tls is not None else None

    def _stop_listening(self) -> None:
        for file in self._files:  # while its socket is open no other file can have its number
            file.remove()
        for server, _ in self._servers:
            server.close()

    def forget(self, connection: Connection) -> None:
        """It has ended."""
        self.connections.discard(connection)
        self.expiring.pop(connection, None)
        if getattr(connection, "full", True):
            self.memory.freed = True
        if self.draining and not self.connections:
            self._emptied.set()

    async def close(self) -> None:
        """End everything now."""
        self.draining = True
        self._stop_listening()
        for connection in list(self.connections):
            if isinstance(connection, Downstream) and connection.exchange is not None:
                connection.exchange.abandon()  # it knows how what is not whole has to end
            connection.transport.abort()
        for pool in self.pools:
            pool.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._descriptors.close()
        for task in self._waiting:
            task.cancel()
        await asyncio.gather(*self._waiting, return_exceptions=True)
        await asyncio.sleep(0)  # the transports' own last callbacks

    def admit(self, route: LiveRoute, fields: RequestFields) -> RequestBody | None:
        """Room for one more request of this route, and for its body.

        Raises LimitReached, RequestDenied, RequestBodyTooLarge.
        """
        if self.in_flight >= self.site.limits.max_in_flight:
            raise LimitReached("Too many requests in flight")
        if route.stats.in_flight >= route.config.limits.max_in_flight:
            raise LimitReached("Too many requests in flight on this route")
        if route.rate is not None:
            route.rate.admit(self.clock.elapsed())
        if route.config.on_client_authorization == "reject":
            fate_of_authorization(route, fields)
        if not fields.has_body:
            return None
        callers = self.site.callers
        return route.request_body(fields, callers.carries if callers is not None else None)

    def wait_for(
        self, token: Coroutine[Any, Any, Token], came: Callable[[Token], None], failed: Callable[[BaseException], None]
    ) -> asyncio.Task[Token]:
        """The only tasks of the data path, besides those of its pools. What goes wrong in `came` is `failed`, too."""
        task = self.loop.create_task(token)
        self._waiting.add(task)

        def ended(task: asyncio.Task[Token]) -> None:
            self._waiting.discard(task)
            try:
                came(task.result())
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - who waits is told, whatever it is
                failed(error)

        task.add_done_callback(ended)
        return task

    def log_access(
        self,
        route: LiveRoute | None,
        head: RequestHead | None,
        status: int,
        seconds: float,
        error: ProxyError | None = None,
    ) -> None:
        """One line per request, without query and fields; of an answer that we made ourselves, why we did.

        `head`: None where it was malformed or did not come.
        """
        if self.access is None or (self.access == "errors" and status < 500):  # noqa: PLR2004 - server errors
            return
        method = head.method.decode("latin-1") if head is not None else None
        path = head.target.partition(b"?")[0].decode("latin-1") if head is not None else None
        name = route.name if route is not None else None
        took, reason = round(seconds, 4), ""
        members: dict[str, object] = {"method": method, "path": path, "status": status, "route": name, "seconds": took}
        if error is not None:
            members["error"] = error.details or error.error
            reason = f": {error.detail or error.title}"
        line = f"{method or '-'} {path or '-'} {status} route={name or '-'} {seconds * 1000:.1f} ms{reason}"
        _access.info("%s", line, extra={"members": members})

    def _sweep(self) -> None:
        self._timer = self.loop.call_later(SWEEP_EVERY, self._sweep)
        now = self.now()
        self.memory.sweep(now)
        each = [connection.expire for connection in self.connections if connection.deadline <= now]
        if now >= self._next_look:
            self._next_look = now + LOOK_EVERY
            each += [one.look for one in self.connections if isinstance(one, Downstream) and one.exchange is not None]
        if self.expiring:
            each += self._end_with_tokens()
        each += [partial(pool.sweep, now) for pool in self.pools]
        for one in each:
            try:
                one()
            except Exception as error:  # noqa: BLE001 - one connection's mistake keeps no other waiting
                tell(_log, "in the sweep", error)

    def _end_with_tokens(self) -> list[Callable[[], None]]:
        """Whichever clock says so first (a suspended machine, a stepped clock)."""
        wall, elapsed = self.clock.wall(), self.clock.elapsed()
        ended = []
        for connection, token in list(self.expiring.items()):
            if (token.expires_wall is not None and token.expires_wall <= wall) or (
                token.expires_elapsed is not None and token.expires_elapsed <= elapsed
            ):
                del self.expiring[connection]
                ended.append(connection.token_expired)
        return ended
