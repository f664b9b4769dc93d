"""The end of an app connection: behind the last answer, and not before the app has had the time to read it."""

from __future__ import annotations

import asyncio
import socket
import struct
import time

_LINGER = 2.0
"""Seconds in which what the app still sends is thrown away, so that a reset does not destroy the answer that it has yet
to read (RFC 9112 §9.6)."""

_UNREAD = 60.0
"""Seconds in which an app must take something of what still waits for it."""

_RESET = struct.pack("ii", 1, 0)
_clock = time.monotonic


def reset(transport: asyncio.Transport) -> None:
    """End the connection so that nobody takes what was sent for the whole: an orderly end may look like one."""
    handle = transport.get_extra_info("socket")
    if handle is not None and handle.family != socket.AF_UNIX:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    transport.abort()


class Farewell:
    """Ends the connection. `linger`: the app may still be sending. `deadline`: when to call `expire`."""

    __slots__ = ("_transport", "_unread", "deadline")

    def __init__(self, transport: asyncio.Transport, *, linger: bool) -> None:
        self._transport = transport
        self._unread = transport.get_write_buffer_size()
        self.deadline = _clock() + (_UNREAD if self._unread else _LINGER)
        if not linger or not transport.can_write_eof():
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # the app has reset the connection while nothing was read from it
            transport.abort()

    def expire(self) -> None:
        """Time is up, unless the app is still reading."""
        unread = self._transport.get_write_buffer_size()
        if not unread:
            self._transport.abort()
        elif unread < self._unread:
            self._unread = unread
            self.deadline = _clock() + _UNREAD
        else:
            reset(self._transport)
