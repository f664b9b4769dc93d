"""A long body on its way through: read into one buffer that serves all connections, and sent from there.

The law: nobody keeps a view of that buffer, because the next read of any connection overwrites it. What a socket does
not take at once is copied.

Few large pieces cost less than many small ones: each wakes up whoever sends and whoever receives. And memory that is
used again and again stays in the processor's cache. Short bodies, and all that is looked at or kept, go the ordinary
way, as `bytes`.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import socket
import sys
import termios
import threading
from typing import Protocol, cast

from proxy.forward.malloc_tuning import read_size

LONG = 128 * 1024
"""Octets of a body that must still be to come for a splice to pay."""

LARGEST = 1024 * 1024
"""Octets per read, at most."""


class Source(Protocol):
    """An asyncio protocol whose connection long bodies come from."""

    def body_came(self, view: memoryview) -> None:
        """More of the body, which will be overwritten once this returns."""

    def eof_received(self) -> bool | None:
        """As in asyncio, here and below."""

    def connection_lost(self, error: Exception | None, /) -> None:
        """The connection is gone."""

    def pause_writing(self) -> None:
        """It takes no more for now."""

    def resume_writing(self) -> None:
        """It takes more again."""


class _Shared(threading.local):
    """One buffer per thread: an event loop reads and sends in one callback, so no two connections need it at once."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(LARGEST))


_shared = _Shared()


class Splice(asyncio.BufferedProtocol):
    """Stands in for `source` at its `transport` until the `left` octets of a body have come; they go on to `onto`."""

    __slots__ = ("_buffer", "_left", "_onto", "_size", "_source", "_transport")

    def __init__(self, source: Source, transport: asyncio.Transport, onto: asyncio.Transport, left: int) -> None:
        self._source = source
        self._transport = transport
        self._onto = onto
        self._left = left
        self._buffer = _shared.buffer
        self._size = _room(onto)
        transport.set_protocol(self)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio does not know better
        """Where the next octets belong: none of them from behind the body."""
        return self._buffer[: min(self._size, self._left)]

    def buffer_updated(self, nbytes: int) -> None:
        """They have come. A side that does not take them at once gets smaller pieces from now on."""
        self._left -= nbytes
        if not self._left:
            self._transport.set_protocol(cast("asyncio.BaseProtocol", self._source))
        self._source.body_came(self._buffer[:nbytes])
        if self._onto.get_write_buffer_size():
            self._size = read_size()
        elif not self._onto.is_closing():  # else what comes is thrown away
            self._size = _room(self._onto)

    def eof_received(self) -> bool | None:
        """The source knows what that means, here and below."""
        return self._source.eof_received()

    def connection_lost(self, error: Exception | None) -> None:
        """As above."""
        self._source.connection_lost(error)

    def pause_writing(self) -> None:
        """As above."""
        self._source.pause_writing()

    def resume_writing(self) -> None:
        """As above."""
        self._source.resume_writing()


def open_splice(source: Source, transport: asyncio.Transport, onto: asyncio.Transport, left: int) -> None:
    """Open one if it pays. Octets that are encrypted are copied anyhow, on either side."""
    reads: object = transport.get_protocol()
    if left <= LONG or reads is not source:
        return
    if transport.get_extra_info("ssl_object") is None and onto.get_extra_info("ssl_object") is None:
        Splice(source, transport, onto, left)


def pass_on(transport: asyncio.Transport, octets: bytes | memoryview) -> None:
    """Send `octets`, and keep none of them if they are a view.

    A transport would send at once, too, but from Python 3.12 on it keeps a view of what the socket did not take.
    """
    if isinstance(octets, memoryview):
        sent = 0
        if not transport.get_write_buffer_size() and not transport.is_closing():
            with contextlib.suppress(OSError):  # the transport meets it again, and knows what to do
                sent = os.write(transport.get_extra_info("socket").fileno(), octets)
        if sent == len(octets):
            return
        octets = bytes(octets[sent:])
    transport.write(octets)


def _room(transport: asyncio.Transport) -> int:
    """Octets that its socket takes at once, as far as one can know: what it has taken already may still be there."""
    handle = transport.get_extra_info("socket")
    size: int = handle.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    waiting = 0
    with contextlib.suppress(OSError):  # not every system tells
        waiting = int.from_bytes(fcntl.ioctl(handle.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    return max(read_size(), min(LARGEST, size // 2 - waiting))
