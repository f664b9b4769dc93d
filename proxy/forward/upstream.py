"""One connection to an API: answers are read here, strictly, and told to the exchange that waits for them."""

from __future__ import annotations

import asyncio
import os
import re
from typing import TYPE_CHECKING, Protocol, cast

from proxy.errors import ConnectionTerminated, MalformedAnswer, ProxyError
from proxy.http1.answer import AnswerHead, read_answer
from proxy.http1.chunked import ChunkedDecoder
from proxy.http1.grammar import GrammarError
from proxy.model import Field

if TYPE_CHECKING:
    from proxy.forward.pool import Pool
    from proxy.forward.tunnel import Tunnel

READ_SIZE = 64 * 1024
"""Octets per read. asyncio's default of 256 KiB makes the allocator map and unmap memory for every read."""

_UNTIL_CLOSE = -1
_KEEP_ALIVE = re.compile(rb"timeout=([0-9]{1,4})\b")


class Asker(Protocol):
    """What an upstream connection tells the exchange that uses it. `done`: the answer is complete with this."""

    def informed(self, head: AnswerHead, octets: bytes) -> None:
        """An interim answer (1xx), as it came."""

    def switched(self, head: AnswerHead, octets: bytes, rest: bytes) -> None:
        """A 101: from here on the connection carries another protocol, beginning with `rest`."""

    def answered(self, head: AnswerHead, pieces: list[bytes], *, done: bool) -> None:
        """The final head, with what came of the body in the same read."""

    def more(self, pieces: list[bytes], *, done: bool) -> None:
        """More of the body."""

    def broken(self, error: ProxyError) -> None:
        """The answer will not become complete."""

    def upstream_full(self) -> None:
        """The upstream takes no more octets for now."""

    def upstream_drained(self) -> None:
        """It takes octets again."""


class Upstream(asyncio.Protocol):
    """Serves one exchange at a time.

    `framed`: the answer's body has its own end (a length or chunks), so that a missing rest is noticed. `served`: whole
    answers so far. `keep_alive`: seconds that the connection may idle.
    """

    __slots__ = (
        "_body", "_buffer", "_left", "_method", "_searched", "asker", "framed", "heard", "idle_until", "keep_alive",
        "persistent", "pool", "served", "trailers", "transport", "tunnel", "usable",
    )  # fmt: skip

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.transport: asyncio.Transport
        self.asker: Asker | None = None
        self.tunnel: Tunnel | None = None
        self.usable = False
        self.persistent = True
        self.served = 0
        self.heard = False
        self.framed = True
        self.keep_alive = 55.0
        self.idle_until = 0.0
        self.trailers: list[Field] = []
        self._method = b""
        self._buffer = b""
        self._searched = 0
        self._left = 0
        self._body: ChunkedDecoder | None = None

    # ---- for the exchange ----------------------------------------------------------------------------------------------

    def ask(self, asker: Asker, method: bytes, octets: bytes) -> None:
        """Send a request (or its beginning) and tell `asker` of the answer."""
        self.asker = asker
        self._method = method
        self.heard = False
        self.persistent = True
        self.transport.write(octets)

    def release(self, now: float) -> None:
        """The answer is complete and so is the request: the connection may serve the next."""
        self.asker = None
        self.served += 1
        if self.persistent and self.usable:
            self.transport.resume_reading()
            self.pool.give_back(self, now)
        else:
            self.close()

    def abandon(self) -> None:
        """Nobody wants this answer any more."""
        self.asker = None
        self.usable = False
        self.transport.abort()

    def close(self) -> None:
        """End an idle connection."""
        self.usable = False
        self.transport.close()

    # ---- from the event loop -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to be asked."""
        self.transport = cast("asyncio.Transport", transport)
        if hasattr(self.transport, "max_size"):
            self.transport.max_size = READ_SIZE
        self.usable = True
        self.pool.open.add(self)

    def data_received(self, data: bytes) -> None:
        """Octets of an answer; on an idle connection they are nobody's, and it cannot be trusted any more."""
        if self.asker is None:
            if self.tunnel is not None:
                self.tunnel.from_upstream(data)
            else:
                self.close()
            return
        try:
            if self._left or self._body is not None:
                self._read_body(data)
            else:
                self._read_head(data)
        except ProxyError as error:
            self._fail(error)
        except GrammarError as error:
            self._fail(MalformedAnswer(str(error)))

    def eof_received(self) -> bool:
        """The upstream is done sending: `connection_lost` follows and knows what that means."""
        return self.tunnel is not None and self.tunnel.upstream_ended()

    def connection_lost(self, error: Exception | None) -> None:
        """Over. A close-delimited answer is complete by this, unless the connection broke; any other is cut short."""
        self.pool.open.discard(self)
        if isinstance(error, OSError) and self.asker is not None and self.usable:
            self._read_what_came_before_the_reset()
        self.usable = False
        if self.tunnel is not None:
            self.tunnel.upstream_lost(error)
        asker = self.asker
        if asker is None:
            return
        self.asker = None
        if self._left == _UNTIL_CLOSE and error is None:
            self._left = 0
            asker.more([], done=True)
        else:
            asker.broken(ConnectionTerminated("The upstream ended the connection before its answer was complete"))

    def pause_writing(self) -> None:
        """The upstream is slower than the app."""
        if self.tunnel is not None:
            self.tunnel.upstream_full()
        elif self.asker is not None:
            self.asker.upstream_full()

    def resume_writing(self) -> None:
        """It has caught up."""
        if self.tunnel is not None:
            self.tunnel.upstream_drained()
        elif self.asker is not None:
            self.asker.upstream_drained()

    # ---- the answer ----------------------------------------------------------------------------------------------------

    def _read_head(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        while True:
            self.heard = True
            head = read_answer(data, self._searched, self.pool.max_head, self.pool.max_fields)
            if head is None:
                self._buffer, self._searched = data, len(data)
                return
            self._buffer, self._searched = b"", 0
            asker = cast("Asker", self.asker)
            if head.status >= 200:  # noqa: PLR2004 - final
                self._begin_body(asker, head, data[head.size :])
                return
            if head.status == 101:  # noqa: PLR2004
                asker.switched(head, data[: head.size], data[head.size :])
                return
            asker.informed(head, data[: head.size])
            data = data[head.size :]
            if not data or self.asker is None:
                return

    def _begin_body(self, asker: Asker, head: AnswerHead, rest: bytes) -> None:
        self.persistent = head.persistent
        self.framed = True
        if b"keep-alive" in head.found:
            self._heed_keep_alive(head)
        if not head.has_body(self._method):
            self._surplus(rest)
            asker.answered(head, [], done=True)
        elif head.chunked:
            self._body = ChunkedDecoder()
            pieces = self._body.feed(rest) if rest else []
            asker.answered(head, pieces, done=self._chunks_ended())
        elif head.length is None:
            self._left = _UNTIL_CLOSE
            self.persistent = self.framed = False
            asker.answered(head, [rest] if rest else [], done=False)
        elif len(rest) >= head.length:
            self._surplus(rest[head.length :])
            asker.answered(head, [rest[: head.length]] if head.length else [], done=True)
        else:
            self._left = head.length - len(rest)
            asker.answered(head, [rest] if rest else [], done=False)

    def _read_body(self, data: bytes) -> None:
        asker = cast("Asker", self.asker)
        if self._body is not None:
            pieces = self._body.feed(data)
            asker.more(pieces, done=self._chunks_ended())
        elif self._left == _UNTIL_CLOSE:
            asker.more([data], done=False)
        elif len(data) < self._left:
            self._left -= len(data)
            asker.more([data], done=False)
        else:
            left, self._left = self._left, 0
            self._surplus(data[left:])
            asker.more([data[:left]], done=True)

    def _chunks_ended(self) -> bool:
        body = cast("ChunkedDecoder", self._body)
        if not body.done:
            return False
        self.trailers = body.trailers
        self._surplus(body.rest)
        self._body = None
        return True

    def _surplus(self, rest: bytes) -> None:
        """Octets behind an answer that nobody asked for: whatever they are, they must not meet the next request."""
        if rest:
            self.persistent = False

    def _heed_keep_alive(self, head: AnswerHead) -> None:
        """`Keep-Alive: timeout=5`: stop using the connection a second before the upstream closes it."""
        match = _KEEP_ALIVE.search(b",".join(head.found[b"keep-alive"]))
        if match is not None:
            self.keep_alive = min(self.keep_alive, max(0.5, float(match[1]) - 1.0))

    def _fail(self, error: ProxyError) -> None:
        asker = self.asker
        self.abandon()
        if asker is not None:
            asker.broken(error)

    def _read_what_came_before_the_reset(self) -> None:
        """An upstream that refuses an upload answers, closes, and resets what still comes; its answer is in the socket.

        A failed write makes the event loop drop the connection without reading: the socket is still open here.
        """
        handle = self.transport.get_extra_info("socket")
        if handle is None or self.transport.get_extra_info("ssl_object") is not None:
            return
        try:
            while self.asker is not None and (data := os.read(handle.fileno(), READ_SIZE)):
                self.data_received(data)
        except OSError:
            return
