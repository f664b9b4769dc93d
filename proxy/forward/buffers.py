"""How much of a body waits in this process for a side that is slow: little, and the same for all.

What the system takes at once waits there. Beyond that a connection keeps at most one read of the other side, and over
TLS what its layers hold besides: there, pieces are small, because each piece exists twice, plain and encrypted.
"""

from __future__ import annotations

import asyncio
from asyncio import sslproto

from proxy.forward.malloc_tuning import read_size
from proxy.forward.write_batcher import TLS_PIECE

_RECORD = 16 * 1024
"""Octets of the longest record (RFC 8446 §5.1)."""
_WAITING = 4 * 1024
"""Encrypted octets that may wait before the other side is paused."""


def piece_for(transport: asyncio.BaseTransport) -> int:
    """Octets per read that suit the connection which they go to."""
    return read_size() if transport.get_extra_info("ssl_object") is None else TLS_PIECE


def read_at_most(transport: asyncio.BaseTransport, octets: int) -> None:
    """From now on, where that can be said: some event loops' transports decide for themselves."""
    if hasattr(transport, "max_size"):
        transport.max_size = octets


def keep_little(transport: asyncio.BaseTransport) -> None:
    """An app's connection. asyncio's TLS would let 512 KiB wait, and the transport below, which is not shown, 64."""
    if transport.get_extra_info("ssl_object") is None:
        read_at_most(transport, read_size())
        return
    below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    for each in (transport, below):
        if isinstance(each, asyncio.WriteTransport):
            each.set_write_buffer_limits(high=_WAITING)


def prepare_tls() -> None:
    """Before connections of apps are accepted over TLS: each has a buffer of its own for what is read."""
    sslproto.SSLProtocol.max_size = _RECORD
