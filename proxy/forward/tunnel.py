"""After a 101: octets both ways, untouched, with back-pressure; an end of one side is passed on to the other."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proxy.forward.server import Downstream
    from proxy.forward.upstream import Upstream

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
        self._touch()

    def _touch(self) -> None:
        self._down.deadline = _WAITS if self._idle is None else _clock() + self._idle

    # ---- the app's side ------------------------------------------------------------------------------------------------

    def from_app(self, data: bytes) -> None:
        """Octets from the app."""
        self._touch()
        self._up.transport.write(data)

    def app_ended(self) -> bool:
        """The app has sent its last octet; True keeps the other direction open where the transport can be half closed."""
        self._app_done = True
        if self._up_done or not self._up.transport.can_write_eof() or not self._down.transport.can_write_eof():
            self._up.transport.close()
            return False
        self._up.transport.write_eof()
        return True

    def app_lost(self, error: Exception | None) -> None:
        """The app's connection is gone."""
        if error is None:
            self._up.transport.close()
        else:
            self._up.transport.abort()

    def app_full(self) -> None:
        """The app reads slowly."""
        self._up.transport.pause_reading()

    def app_drained(self) -> None:
        """The app has caught up."""
        self._up.transport.resume_reading()

    # ---- the upstream's side -------------------------------------------------------------------------------------------

    def from_upstream(self, data: bytes) -> None:
        """Octets from the upstream."""
        self._touch()
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
        self._down.pause()

    def upstream_drained(self) -> None:
        """The upstream has caught up."""
        self._down.resume()
