"""The end of an app connection: behind the last answer, and not before the app has had the time to read it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable

from proxy.forward.socket_probe import unread

_LINGER = 2.0
"""Seconds in which what the app still sends is thrown away, so that a reset does not destroy the answer that it has yet
to read (RFC 9112 §9.6)."""

_UNREAD = 60.0
"""Seconds in which an app must take something of what still waits for it."""

_RESET = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """End the connection so that nobody takes what was sent for the whole: an orderly end may look like one."""
    _let_end_be_a_reset(transport)
    transport.abort()


def _let_end_be_a_reset(transport: asyncio.Transport) -> None:
    handle = transport.get_extra_info("socket")
    if handle is not None and handle.fileno() >= 0 and handle.family != socket.AF_UNIX:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


class LingeringClose:
    """Ends the connection. `linger`: the app may still be sending. `due`: when to call `expire`.

    `truncated`: what was sent would look whole if the connection ended in good order; so it is reset, a while after the
    app's system has taken all of it: a reset may destroy what has not been read. TLS is ended once all is taken, too:
    its own goodbye is waited for only so long, and takes what is not sent by then with it.
    """

    __slots__ = ("_clock", "_last", "_transport", "_truncated", "_unread", "_until", "due")

    def __init__(
        self, transport: asyncio.Transport, clock: Callable[[], float], *, linger: bool, truncated: bool = False
    ) -> None:
        """`clock`: the one that deadlines are kept in."""
        self._transport = transport
        self._clock = clock
        self._unread = unread(transport)
        self._last: Callable[[], None] | None = None
        self._truncated = truncated
        halves = transport.can_write_eof()
        if truncated:
            self._last = transport.abort
            _let_end_be_a_reset(transport)  # now: the program may end it sooner
        elif self._unread and not halves:
            self._last = transport.close
        now = self._clock()
        patient = self._unread and (self._last is not None or transport.get_write_buffer_size())
        self._until = now + (_UNREAD if patient else _LINGER)
        self.due = now if self._last is not None and self._unread else self._until
        if self._last is not None:
            return
        if not linger or not halves:
            transport.close()
            return
        try:
            transport.write_eof()
        except OSError:  # the app has reset the connection while nothing was read from it
            transport.abort()

    @property
    def keeps_open(self) -> bool:
        """Whether this end is still to come when the app's has: it must not be taken for an orderly one."""
        return self._last is not None and self._transport.can_write_eof()

    def expire(self) -> None:
        """Go on, if the app has taken everything; give up, if it has taken nothing for too long."""
        now, left = self._clock(), unread(self._transport)
        last, waits = self._last, self._last is not None or self._transport.get_write_buffer_size()
        if not left and self._truncated and self._unread:
            self._unread, self._until = 0, now + _LINGER
        if not left and self._truncated and now < self._until:
            self.due = self._until
            return
        if not left:
            self._last = None
            self.due = now + _LINGER
            (last or self._transport.abort)()
            return
        if left < self._unread:
            self._unread = left
            self._until = now + (_UNREAD if waits else _LINGER)
        self.due = now if last else self._until
        if now < self._until:
            return
        if waits:
            reset(self._transport)
        else:
            self._transport.abort()
