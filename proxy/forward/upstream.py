"""One connection to an API: answers are read here, strictly, and told to the exchange that waits for them."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

from proxy.defects import known
from proxy.errors import MalformedAnswer, ProxyError
from proxy.forward.buffers import read_at_most
from proxy.forward.directory_errors import lost
from proxy.forward.flow_control import FlowControl
from proxy.forward.malloc_tuning import read_size
from proxy.forward.owner import Owner
from proxy.forward.reading import Reading
from proxy.forward.response_handler import ResponseHandler
from proxy.forward.socket_probe import arrived, before_the_reset, ended_in_order, silent
from proxy.forward.splice import LONG, open_splice
from proxy.forward.write_batcher import batched
from proxy.http1.answer import AnswerHead, read_answer
from proxy.http1.chunked import ChunkedDecoder
from proxy.http1.fields import Lines
from proxy.http1.grammar import GrammarError

IDLE_TIMEOUT = 55.0
"""Seconds that a connection is kept unused: below the 60 s and more after which servers close theirs."""

_STALE_AFTER = 1.0
"""Seconds of idling after which a connection is looked at before it is used: the upstream may have hung up, or said
something that nobody asked for (a 408, mostly)."""

_FAREWELL = 30.0
"""Seconds for the upstream to take the rest of a request that it has answered already."""

_MOST_INTERIM = 100
"""Interim answers (1xx) before the final one. A server that works for long may say so now and then, but not for ever:
each is passed on, and many of them in one read hold up everybody else."""

_CLOSED, _IDLE, _SILENT, _HEAD, _LENGTH, _CHUNKED, _UNTIL_CLOSE, _COMPLETE = Reading


class Upstream(asyncio.Protocol):
    """Serves one exchange at a time.

    `reading`: what comes next. `served`: whole answers so far; `persistent`: it may serve after the present one.
    `keep_alive`: seconds that the connection may idle, `idle_since`: since when it does. `full`: it takes no more
    octets for now. `old_from`: when it has served for long enough.
    """

    __slots__ = (
        "_buffer", "_decoder", "_interim", "_left", "_method", "_searched", "flow", "full", "handler", "idle_since",
        "keep_alive", "old_from", "owner", "persistent", "private", "reading", "served", "trailers", "transport",
    )  # fmt: skip

    def __init__(self, owner: Owner[Upstream]) -> None:
        self.owner = owner
        self.transport: asyncio.Transport
        self.handler: ResponseHandler | None = None
        self.private = self.full = False
        self.reading, self.persistent, self.served = _CLOSED, True, 0
        self.keep_alive, self.idle_since = IDLE_TIMEOUT, 0.0
        self.old_from = float("inf")
        self.trailers: Lines = []
        self.flow: FlowControl
        self._method = b""
        self._buffer, self._searched = b"", 0
        self._left = self._interim = 0
        self._decoder: ChunkedDecoder | None = None

    def ask(self, handler: ResponseHandler, method: bytes, octets: bytes) -> None:
        """Send a request (or its beginning) and tell `handler` of the answer."""
        self.handler = handler
        self._method = method
        self.reading = _SILENT
        self.persistent = True
        self.trailers = []
        self._interim = 0
        self.transport.write(octets)

    def release(self, now: float) -> None:
        """The answer is complete and so is the request: the connection may serve the next."""
        self.handler = None
        self.served += 1
        if self.persistent and self.reading is not _CLOSED and not self.full:
            self.reading = _IDLE
            if self.flow.reasons:
                self.flow.open()
            self.owner.give_back(self, now)
        else:
            self.close()

    def abandon(self) -> None:
        """Nobody wants this answer any more."""
        self.handler = None
        self.reading = _CLOSED
        self.transport.abort()

    def catch_up(self) -> None:
        """Read what has come and was not read yet, because the app was slower, as long as its handler wants it."""
        handler, receive = self.handler, self.transport.get_extra_info("receiver") or self.data_received
        for octets in arrived(self.transport):
            if self.handler is not handler:
                break
            receive(octets)

    def close(self) -> None:
        """End an idle connection: behind what an upstream that answered early has yet to read, or after a while."""
        self.reading = _CLOSED
        self.transport.close()
        if self.transport.get_write_buffer_size():
            asyncio.get_running_loop().call_later(_FAREWELL, self.transport.abort)

    def warm(self, now: float) -> bool:
        """Whether a request may be sent on this idle connection: it is open, and nothing waits to be read from it."""
        if self.reading is _CLOSED or self.transport.is_closing():
            return False
        trusted = now >= self.owner.doubted_until or not self.served
        return (trusted and now - self.idle_since < _STALE_AFTER) or self.silent

    @property
    def heard(self) -> bool:
        """Whether something of the present answer has come."""
        return self.reading is not _SILENT

    @property
    def silent(self) -> bool:
        """Whether there is nothing to be read just now, not even the connection's end: asked of one that idles."""
        return silent(self.transport)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to be asked."""
        read_at_most(transport, read_size())
        self.transport = batched(transport)
        self.flow = FlowControl(self.transport)
        self.reading = _IDLE
        self.owner.open.add(self)

    def data_received(self, data: bytes) -> None:
        """Octets of an answer; on an idle connection they are nobody's, and it cannot be trusted any more."""
        if self.handler is None:
            self.close()
            return
        try:
            if self.reading is _SILENT or self.reading is _HEAD:
                self._read_head(data)
            else:
                self._read_body(self.handler, data)
        except GrammarError as error:
            if error.before and self.handler is not None:
                self.handler.more(list(error.before), done=False)
            self._fail(MalformedAnswer(str(error)))
        except Exception as error:  # noqa: BLE001 - a mistake of ours, too, is told to the app
            self._fail(known(logging.getLogger("auth_sidecar.forward"), "while reading an answer", error))

    def body_came(self, view: memoryview) -> None:
        """More of a long body, by its splice: who hears of it does not keep it (`ResponseHandler.onto`)."""
        self.data_received(cast("bytes", view))

    def eof_received(self) -> bool:
        """The upstream is done sending. A close-delimited answer is complete by this; any other is cut short."""
        self._ended_unasked()
        handler, reading = self.handler, self.reading
        if handler is None or reading is _COMPLETE:
            self.reading = _CLOSED
        elif reading is _UNTIL_CLOSE and ended_in_order(self.transport):
            self.reading = _CLOSED
            handler.more([], done=True)
        else:
            self._fail(lost())
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Over, and not in good order: `eof_received` would have been told before."""
        self.owner.open.discard(self)
        if isinstance(error, OSError) and self.handler is not None and self.reading is not _CLOSED:
            for data in before_the_reset(self.transport):
                if self.handler is not None:
                    self.data_received(data)
        if error is not None:
            self._ended_unasked()
        self._tell(lost(error))
        self.reading = _CLOSED

    def _ended_unasked(self) -> None:
        """A connection that was to be kept and ends right behind an answer: a request might have been under way."""
        now = self.owner.now()
        if self.reading is _IDLE and self.served and now - self.idle_since < _STALE_AFTER:
            self.owner.shun(now)

    def pause_writing(self) -> None:
        """The upstream is slower than the app."""
        self.full = True
        if self.handler is not None:
            self.handler.upstream_full()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.full = False
        if self.handler is not None:
            self.handler.upstream_drained()

    def _read_head(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        while True:
            self.reading = _HEAD
            head = read_answer(data, self._searched, self.owner.max_head, self.owner.max_fields)
            if head is None:
                self._buffer, self._searched = data, len(data)
                return
            self._buffer, self._searched = b"", 0
            handler = self.handler
            if handler is None:
                return
            if head.status >= 200:  # noqa: PLR2004 - final
                self._begin_body(handler, head, data[head.size :])
                return
            if head.status == 101:  # noqa: PLR2004
                handler.switched(head, data[head.size :])
                return
            self._interim += 1
            if self._interim > _MOST_INTERIM:
                raise MalformedAnswer("The upstream says too often that it will answer")
            handler.informed(head)
            data = data[head.size :]
            if not data or self.handler is None:
                return

    def _begin_body(self, handler: ResponseHandler, head: AnswerHead, rest: bytes) -> None:
        self.persistent = head.persistent
        if b"keep-alive" in head.found and (seconds := head.keep_alive()) is not None:
            self.keep_alive = min(self.keep_alive, max(0.5, seconds - 1.0))  # a second before the upstream closes it
        if not head.has_body(self._method):
            self._completed(rest)
            handler.answered(head, [], done=True)
        elif head.chunked:
            decoder = self._decoder = ChunkedDecoder(answer=True)
            self.reading = _CHUNKED
            try:
                pieces = decoder.feed(rest) if rest else []
            except GrammarError as error:
                if error.before:
                    pieces, error.before = list(error.before), ()
                    handler.answered(head, pieces, done=False)
                raise
            handler.answered(head, pieces, done=self._chunks_ended(decoder))
        elif head.length is None:
            self.reading = _UNTIL_CLOSE
            self.persistent = False
            handler.answered(head, [rest] if rest else [], done=False)
        elif len(rest) >= head.length:
            length, self.reading = head.length, _COMPLETE
            if len(rest) > length:
                self.persistent = False
            handler.answered(head, [rest[:length]] if length else [], done=True)
        else:
            self.reading = _LENGTH
            self._left = head.length - len(rest)
            handler.answered(head, [rest] if rest else [], done=False)
            if self._left > LONG and self.handler is handler and handler.onto is not None:
                open_splice(self, self.transport, handler.onto, self._left)

    def _read_body(self, handler: ResponseHandler, data: bytes) -> None:
        if self.reading is _CHUNKED and self._decoder is not None:
            pieces = self._decoder.feed(data)
            handler.more(pieces, done=self._chunks_ended(self._decoder))
        elif self.reading is _UNTIL_CLOSE:
            handler.more([data], done=False)
        elif self.reading is not _LENGTH:
            self.persistent = False
        elif len(data) < self._left:
            self._left -= len(data)
            handler.more([data], done=False)
        else:
            left = self._left
            self._completed(data[left:])
            handler.more([data[:left]], done=True)

    def _chunks_ended(self, decoder: ChunkedDecoder) -> bool:
        if decoder.done:
            self.trailers = decoder.trailers
            self._decoder = None
            self._completed(decoder.rest)
        return decoder.done

    def _completed(self, rest: bytes) -> None:
        """The answer's end. Octets behind it were not asked for: they must not meet the next request."""
        self.reading = _COMPLETE
        if rest:
            self.persistent = False

    def _fail(self, error: ProxyError) -> None:
        self._tell(error)
        self.abandon()

    def _tell(self, error: ProxyError) -> None:
        handler, self.handler = self.handler, None
        if handler is not None:
            handler.broken(error)  # which asks whether anything was `heard`
