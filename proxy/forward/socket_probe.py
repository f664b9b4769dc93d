"""What a socket still has to say beyond what the event loop tells."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import ssl
import struct
import termios
from collections.abc import Iterator

READ_SIZE = 64 * 1024
"""Octets per read. asyncio's default of 256 KiB makes the allocator map and unmap memory for every read."""


_ENDED: int | None = getattr(select, "POLLRDHUP", None)
"""Linux alone tells an orderly end from a lost connection."""


def silent(transport: asyncio.Transport) -> bool:
    """Whether there is nothing to be read, not even the connection's end."""
    handle = transport.get_extra_info("socket")
    if handle is None or handle.fileno() < 0:  # closed: of TLS connections the protocol hears it a turn late
        return True
    poller = select.poll()
    poller.register(handle.fileno(), select.POLLIN)
    return not poller.poll(0)


def ended_in_order(transport: asyncio.Transport) -> bool:
    """Whether a TLS connection was ended by its peer and not by somebody in between (RFC 9112 §9.8).

    The loop tells both the same way; what there is to read does not: nothing more, or nothing yet.
    """
    session = transport.get_extra_info("ssl_object")
    if session is None:
        return True
    try:
        return not session.read(1)
    except ssl.SSLError:
        return False


def before_the_reset(transport: asyncio.Transport) -> Iterator[bytes]:
    """What an upstream said before it reset the connection: it refuses an upload, closes, and resets what still comes.

    A failed write makes the event loop drop the connection without reading: the socket is still open then.
    """
    handle = transport.get_extra_info("socket")
    if handle is None or transport.get_extra_info("ssl_object") is not None:
        return
    try:
        while data := os.read(handle.fileno(), READ_SIZE):
            yield data
    except OSError:
        return


def arrived(transport: asyncio.Transport) -> Iterator[bytes]:
    """What has come and was not read yet, because the app was slower; nothing that comes while this is read.

    Of TLS these are records, for the `receiver` that `TlsClient` names.
    """
    handle = transport.get_extra_info("socket")
    if handle is None or handle.fileno() < 0:
        return
    left: int = struct.unpack("i", fcntl.ioctl(handle.fileno(), termios.FIONREAD, bytes(4)))[0]
    try:
        while left > 0 and (data := os.read(handle.fileno(), min(left, READ_SIZE))):
            left -= len(data)
            yield data
    except OSError:
        return


def unread(transport: asyncio.Transport) -> int:
    """Octets that the other side has not taken yet: those that wait here, and those that wait in the system."""
    size = transport.get_write_buffer_size()
    handle = transport.get_extra_info("socket")
    if handle is not None and handle.fileno() >= 0:
        with contextlib.suppress(OSError):  # not every system tells
            size += struct.unpack("i", fcntl.ioctl(handle.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    return size


def hung_up(transport: asyncio.Transport, owed: int) -> bool:
    """Whether an app is gone, while nothing is read from it and the event loop hears nothing of it either.

    `owed`: how many octets of its request, at least, have not been read. An orderly end behind all of these means
    nothing: the app may still be reading.
    """
    handle = transport.get_extra_info("socket")
    if handle is None or handle.fileno() < 0 or _ENDED is None:
        return False
    poller = select.poll()
    poller.register(handle.fileno(), _ENDED)
    signs = poller.poll(0)
    if not signs or signs[0][1] != _ENDED:
        return bool(signs)
    if transport.get_extra_info("ssl_object") is not None:
        return False
    unread: int = struct.unpack("i", fcntl.ioctl(handle.fileno(), termios.FIONREAD, bytes(4)))[0]
    return unread < owed
