"""After a 101: octets both ways, untouched, with back-pressure; an end of one side is passed on to the other.

A tunnel takes both transports over from the protocols of HTTP, which know nothing of it: each gets a side of the tunnel
instead, which writes what it reads to the other. In the server's set of connections it stands for the app's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.forward.lingering_close import LingeringClose
from proxy.forward.socket_probe import before_the_reset
from proxy.forward.upstream import Upstream

_WAITS = float("inf")


class Tunnel:
    """Between an app connection and an upstream connection.

    `deadline`: when the sweep calls `expire`; `transport`: the app's; `open`: both are there, and octets pass.
    """

    __slots__ = ("_ended", "_lingering", "_up", "deadline", "idle", "now", "open", "transport")

    def __init__(
        self,
        app: asyncio.Transport,
        up: Upstream,
        idle: float | None,
        now: Callable[[], float],
        ended: Callable[[Tunnel], None],
    ) -> None:
        """`now`: of the clock that deadlines are kept in; `ended`: told when the app's connection is gone."""
        self.now = now
        self._ended = ended
        self._lingering: LingeringClose | None = None
        self.transport = app
        self.idle = _WAITS if idle is None else idle
        self.deadline = now() + self.idle
        self.open = True
        self._up = up
        up.handler = None

    def begin(self, octets: bytes, early: bytes, *, app_full: bool, app_ended: bool) -> None:
        """Take over. `octets`: of the upstream, the 101 first; `early`: of the app, which may be done sending."""
        up = self._up
        app, upstream = _Side(self, self.transport), _Side(self, up.transport)
        app.join(upstream)
        upstream.join(app)
        self.transport.set_protocol(app)
        up.transport.set_protocol(upstream)
        up.flow.open()
        if app_full:
            app.pause_writing()
        if up.full:
            upstream.pause_writing()
        self.transport.write(octets)
        if early:
            up.transport.write(early)
        if app_ended:
            app.eof_received()

    # ---- for the server ----------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Nothing was said for too long, or the app does not read what was said last."""
        if self._lingering is None:
            self.end()
        else:
            self._lingering.expire()
            self.deadline = self._lingering.due

    def end(self) -> None:
        """Both sides end now."""
        self.open = False
        self._up.abandon()
        self.transport.abort()

    def token_expired(self) -> None:
        """`on_token_expiry: close`, and the tunnel outlived its token: what was said until now is still heard."""
        self.open = False
        self._lingering = LingeringClose(self.transport, self.now, linger=False)
        self.deadline = self._lingering.due
        self._up.abandon()

    def drain(self) -> None:
        """The program is stopping: a conversation may go on for as long as that waits."""

    # ---- from the sides ----------------------------------------------------------------------------------------------

    def close(self, side: _Side) -> None:
        """End one side, behind what it has yet to read; no longer than a while."""
        self.open = False
        transport = side.transport
        if transport.is_closing():
            return
        if transport is self.transport:
            self._lingering = LingeringClose(transport, self.now, linger=False)
            self.deadline = self._lingering.due
            return
        self._up.close()

    def lost(self, side: _Side) -> None:
        """Its connection is gone."""
        self.open = False
        if side.transport is self.transport:
            self._ended(self)
        else:
            self._up.connection_lost(None)


class _Side(asyncio.Protocol):
    """One end of the tunnel: what `transport` reads is written to the other's. `done`: it has sent its last octet."""

    __slots__ = ("_tunnel", "_write", "done", "other", "transport")

    def __init__(self, tunnel: Tunnel, transport: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self.transport = transport
        self.done = False

    def join(self, other: _Side) -> None:
        """Whom octets are for."""
        self.other = other
        self._write = other.transport.write

    def data_received(self, data: bytes) -> None:
        """Octets, for the other side."""
        tunnel = self._tunnel
        if tunnel.open:
            tunnel.deadline = tunnel.now() + tunnel.idle
            self._write(data)

    def eof_received(self) -> bool:
        """The last octet has come; True keeps the other direction open, where both connections can be half closed."""
        self.done = True
        other = self.other
        if other.done or not self.transport.can_write_eof() or not other.transport.can_write_eof():
            self._tunnel.close(other)
            self._tunnel.close(self)
            return False
        other.transport.write_eof()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """Gone; what it said last is passed on, and the other side ends."""
        tunnel, other = self._tunnel, self.other
        if isinstance(error, OSError) and tunnel.open:
            for data in before_the_reset(self.transport):
                self._write(data)
        tunnel.lost(self)
        tunnel.close(other)
        del self.other, self._write  # nothing comes any more; both hold on to connections, which may be large

    def pause_writing(self) -> None:
        """A slow reader: read no more from the other side."""
        transport = self.other.transport
        if not transport.is_closing():
            transport.pause_reading()

    def resume_writing(self) -> None:
        """It has caught up."""
        transport = self.other.transport
        if not transport.is_closing():
            transport.resume_reading()
