"""Why a connection is not read for now: reasons come and go, and it is read again when the last one is gone."""

from __future__ import annotations

import asyncio

BODY_WAITS = 1
"""There is nobody to send the request's body to: the token or the connection is yet to come, or a token is renewed."""

UPSTREAM_FULL = 2
"""The upstream takes no more of the request's body, or of the tunnel's octets."""

PIPELINED = 4
"""Enough later requests wait already."""

APP_FULL = 8
"""The app takes no more of the answer, or of the tunnel's octets."""

HELD = 16
"""As much of a refused answer is held as may be."""


class FlowControl:
    """Between a transport and whoever takes its octets. `reasons`: the set of those above that hold now."""

    __slots__ = ("_transport", "reasons")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.reasons = 0

    def shut(self, reason: int) -> None:
        """Read no more, at least until this reason is gone."""
        if not self.reasons and not self._transport.is_closing():
            self._transport.pause_reading()
        self.reasons |= reason

    def open(self, reason: int = ~0) -> None:
        """Forget this reason (by default every one); read again if none is left."""
        if not self.reasons:
            return
        self.reasons &= ~reason
        if not self.reasons and not self._transport.is_closing():
            self._transport.resume_reading()
