"""After a 101: octets both ways, untouched, with back-pressure; an end of one side is passed on to the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from proxy.forward.flow import APP_FULL, UPSTREAM_FULL

if TYPE_CHECKING:
    from proxy.forward.server import Downstream
    from proxy.forward.upstream import Upstream

_FAREWELL = 30.0
"""Seconds for what one side said last to reach the other, once the first is gone."""

_clock = time.monotonic
_WAITS = float("inf")


class Tunnel:
    """Between an app connection and an upstream connection. `idle`: seconds without an octet after which it ends."""

    __slots__ = ("_app_done", "_down", "_idle", "_up", "_up_done")

    def __init__(self, down: Downstream, up: Upstream, idle: float | None) -> None:
        self._down = down
        self._up = up
        self._idle = idle
        self._app_done = self._up_done = False
        up.tunnel = self
        up.asker = None
        if down.full:
            up.valve.shut(APP_FULL)
        self._touch()

    def _touch(self) -> None:
        self._down.deadline = _WAITS if self._idle is None else _clock() + self._idle

    def end(self) -> None:
        """Nothing was said for too long, or the token has expired: both sides end."""
        self._up.abandon()
        self._down.transport.abort()

    # ---- the app's side ----------------------------------------------------------------------------------------------

    def from_app(self, data: bytes) -> None:
        """Octets from the app."""
        self._touch()
        if not self._up.transport.is_closing():
            self._up.transport.write(data)

    def app_ended(self) -> bool:
        """The app has sent its last octet; True keeps the other direction open where both can be half closed."""
        self._app_done = True
        if self._up_done or not self._up.transport.can_write_eof() or not self._down.transport.can_write_eof():
            self._close_upstream()
            return False
        self._up.transport.write_eof()
        return True

    def app_lost(self, error: Exception | None) -> None:
        """The app's connection is gone."""
        if error is None:
            self._close_upstream()
        else:
            self._up.abandon()

    def _close_upstream(self) -> None:
        """Behind what is still to be sent; no longer than a while, because nobody watches this connection any more."""
        transport = self._up.transport
        transport.close()
        if transport.get_write_buffer_size():
            self._down.front.loop.call_later(_FAREWELL, transport.abort)

    def app_full(self) -> None:
        """The app reads slowly."""
        self._up.valve.shut(APP_FULL)

    def app_drained(self) -> None:
        """The app has caught up."""
        self._up.valve.open(APP_FULL)

    # ---- the upstream's side -----------------------------------------------------------------------------------------

    def from_upstream(self, data: bytes) -> None:
        """Octets from the upstream."""
        self._touch()
        if not self._down.transport.is_closing():
            self._down.transport.write(data)

    def upstream_ended(self) -> bool:
        """The upstream has sent its last octet."""
        self._up_done = True
        if self._app_done or not self._down.transport.can_write_eof() or not self._up.transport.can_write_eof():
            self._down.transport.close()
            return False
        self._down.transport.write_eof()
        return True

    def upstream_lost(self, error: Exception | None) -> None:
        """The upstream's connection is gone."""
        if error is None:
            self._down.transport.close()
        else:
            self._down.transport.abort()

    def upstream_full(self) -> None:
        """The upstream reads slowly."""
        self._down.valve.shut(UPSTREAM_FULL)

    def upstream_drained(self) -> None:
        """The upstream has caught up."""
        self._down.valve.open(UPSTREAM_FULL)
