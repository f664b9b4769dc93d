"""What is written during one turn of the event loop goes out together, at the end of the turn.

A loop under load handles a dozen connections between two looks at its sockets. Sent one by one as they are handled,
each little message wakes a process that has gone to sleep again since the last one, and the sender pays for that; sent
right behind each other, the first wakes it and the others find it awake. A turn with one connection sends at once.

Only small octets wait, and never beyond the turn; whatever ends or measures a connection sends them first. On any other
loop than `BatchingLoop` the transports are used as they are.
"""

from __future__ import annotations

import asyncio
import logging
import selectors
from collections.abc import Callable
from typing import Any, cast

TLS_PIECE = 32 * 1024
"""Octets that are encrypted at a time: the buffers of OpenSSL keep the largest size that they ever had."""

_log = logging.getLogger("auth_sidecar.forward")

_SMALL = 16 * 1024
"""Octets; what is longer is worth a system call of its own, and back-pressure must not lag behind it."""

_MOST = 16
"""Messages that wait for each other, so that the first does not wait for long."""


class WriteBatcher:
    """The connections of one loop that have something to send. `gathering`: this turn handles several of them."""

    __slots__ = ("gathering", "waiting")

    def __init__(self) -> None:
        self.gathering = False
        self.waiting: list[BatchedTransport] = []

    def send(self) -> bool:
        """Everything, in the order in which it was written. Whether there was anything."""
        waiting, self.waiting = self.waiting, []
        for transport in waiting:
            try:
                transport.send()
            except Exception as error:  # noqa: BLE001 - in between turns it would end the loop, and here others' octets
                _log.error("internal error while sending, please report: %s", type(error).__name__)
                transport.abort()
        return bool(waiting)


class SendingSelector(selectors.DefaultSelector):
    """Sends before it waits."""

    def __init__(self, batcher: WriteBatcher) -> None:
        super().__init__()
        self._batcher = batcher

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """See `selectors.BaseSelector`."""
        batcher = self._batcher
        if batcher.gathering:
            batcher.gathering = False  # what is written because of what is sent here would wait for too long
            if batcher.send():
                timeout = 0.0  # the loop does not know yet what sending has set going: a lost connection, a pause
        ready = super().select(timeout)
        batcher.gathering = len(ready) > 1
        return ready


class BatchingLoop(asyncio.SelectorEventLoop):
    """asyncio's loop with a write batcher: for `asyncio.Runner(loop_factory=BatchingLoop)`."""

    def __init__(self, batcher: WriteBatcher | None = None) -> None:
        self.batcher = batcher or WriteBatcher()
        super().__init__(SendingSelector(self.batcher))


class BatchedTransport(asyncio.Transport):
    """A transport whose small writes go out at the end of the turn."""

    __slots__ = ("_batcher", "_piece", "_transport", "_unsent", "is_closing")

    is_closing: Callable[[], bool]
    """See `asyncio.BaseTransport`. Asked for every request: so it is the inner one's own."""

    def __init__(self, transport: asyncio.Transport, batcher: WriteBatcher) -> None:
        self._transport = transport
        self.is_closing = transport.is_closing
        self._batcher = batcher
        self._piece = None if transport.get_extra_info("ssl_object") is None else TLS_PIECE
        self._unsent = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """At once or at the end of the turn, in order; what is not `bytes` may change by then, and goes at once."""
        batcher = self._batcher
        if not batcher.gathering or type(data) is not bytes or len(data) > _SMALL:
            if self._unsent:
                self.send()
            if self._piece is None or len(data) <= self._piece:
                self._transport.write(data)
            else:
                for start in range(0, len(data), self._piece):
                    self._transport.write(data[start : start + self._piece])
        elif self._unsent:
            self._unsent += data
            if len(self._unsent) > _SMALL:
                self.send()
        elif data:
            self._unsent = data
            waiting = batcher.waiting
            waiting.append(self)
            if len(waiting) >= _MOST:
                batcher.send()

    def send(self) -> None:
        """What has waited, now."""
        octets = self._unsent
        if octets:
            self._unsent = b""
            self._transport.write(octets)

    # ---- ends and measures: behind what has waited -------------------------------------------------------------------

    def write_eof(self) -> None:
        """See `asyncio.WriteTransport`."""
        self.send()
        self._transport.write_eof()

    def close(self) -> None:
        """See `asyncio.BaseTransport`."""
        self.send()
        self._transport.close()

    def abort(self) -> None:
        """See `asyncio.WriteTransport`."""
        self.send()
        self._transport.abort()

    def get_write_buffer_size(self) -> int:
        """See `asyncio.WriteTransport`."""
        self.send()
        return self._transport.get_write_buffer_size()

    # ---- all else as it is -------------------------------------------------------------------------------------------

    @property
    def max_size(self) -> int:
        """Octets that are read at once."""
        return self._transport.max_size  # type: ignore[attr-defined, no-any-return]

    @max_size.setter
    def max_size(self, octets: int) -> None:
        self._transport.max_size = octets  # type: ignore[attr-defined]

    def can_write_eof(self) -> bool:
        """See `asyncio.WriteTransport`."""
        return self._transport.can_write_eof()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See `asyncio.BaseTransport`."""
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `asyncio.WriteTransport`."""
        self._transport.set_write_buffer_limits(high, low)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See `asyncio.BaseTransport`."""
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See `asyncio.BaseTransport`."""
        return self._transport.get_protocol()


def batched(transport: asyncio.BaseTransport) -> asyncio.Transport:
    """A connection's transport, as the loop that runs lets it be written to."""
    batcher = getattr(asyncio.get_running_loop(), "batcher", None)
    inner = cast("asyncio.Transport", transport)
    return inner if batcher is None else BatchedTransport(inner, batcher)
