"""Connecting to a unix socket: at once or not at all, unless more connections wait there than its listener takes."""

from __future__ import annotations

import asyncio
import socket

_AGAIN = 0.01
"""Seconds. Linux says EAGAIN where the backlog is full (unix(7)), and the event loop would take that for a promise."""


async def connected_to(path: str) -> socket.socket:
    """A socket that is connected. Raises OSError; tries for as long as it is let where the backlog is full."""
    handle = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        handle.settimeout(0)
        while True:
            try:
                handle.connect(path)
            except BlockingIOError:
                await asyncio.sleep(_AGAIN)
            else:
                return handle
    except BaseException:
        handle.close()
        raise
